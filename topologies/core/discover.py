"""Finding topologies and steps: a file in the folder is enough, no list is edited."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import topologies
import topologies.steps
from models.errors import ConfigError, DeclarationError
from topologies.core.step import Decoder, Step
from topologies.core.topology import Topology


def find(paths: Iterable[Path] = ()) -> dict[str, Topology]:
    """All topologies by name: the modules of this package, and of the folders given.

    Raises DeclarationError for a module that declares none, or a name declared twice.
    """
    found: dict[str, Topology] = {}
    for module in (*_own(), *_foreign(paths)):
        declared = getattr(module, "topology", None)
        if not isinstance(declared, Topology):
            raise DeclarationError(
                f"{module.__file__}: a topology module ends in `topology = Topology(...)`"
            )
        if declared.name in found:
            raise DeclarationError(f"{module.__file__}: {declared.name!r} is declared already")
        found[declared.name] = declared
    return dict(sorted(found.items()))


def get(name: str, paths: Iterable[Path] = ()) -> Topology:
    """The topology of a name; raises ConfigError that lists those that exist."""
    found = find(paths)
    if name not in found:
        raise ConfigError(f"no such topology; there are {', '.join(found)}", value=name)
    return found[name]


def step_kinds() -> dict[str, type[Step] | type[Decoder]]:
    """Every step and decoder class by ``<verb>.<kind>``, found by scanning ``topologies.steps``."""
    kinds: dict[str, type[Step] | type[Decoder]] = {}
    for info in pkgutil.walk_packages(topologies.steps.__path__, "topologies.steps."):
        module = importlib.import_module(info.name)
        verb = info.name.split(".")[2]
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Step | Decoder)
                and value.__module__ == module.__name__
                and value.kind
            ):
                kinds[f"{verb}.{value.kind}"] = value
    return dict(sorted(kinds.items()))


def _own() -> Iterator[ModuleType]:
    for info in pkgutil.iter_modules(topologies.__path__):
        if not info.ispkg:
            yield importlib.import_module(f"topologies.{info.name}")


def _foreign(paths: Iterable[Path]) -> Iterator[ModuleType]:
    for folder in paths:
        files = [folder] if folder.is_file() else sorted(folder.glob("*.py"))
        for file in files:
            if not file.name.startswith("_"):
                yield _load(file.resolve())


@lru_cache(maxsize=256)
def _load(file: Path) -> ModuleType:
    name = f"plantstream_site_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
