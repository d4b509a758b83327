"""Finding topologies and steps: a file in the folder is enough, no list is edited."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

import topologies
import topologies.steps
from models.errors import ConfigError, DeclarationError
from topologies.core.step import Decoder, Step
from topologies.core.topology import Topology

Load = Callable[[], ModuleType]


@dataclass(frozen=True, slots=True)
class Broken:
    """A topology file that cannot be used, and why."""

    file: str
    error: str

    def __str__(self) -> str:
        return f"{self.file}: {self.error}"


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in the folders of topologies, by name."""

    topologies: dict[str, Topology]
    #: By the name it declares, where that can be read, else by the file's.
    broken: dict[str, Broken]


def survey(paths: Iterable[Path] = ()) -> Survey:
    """All topology files: the modules of this package, and of the folders given.

    A file that is broken takes away no other topology. Of a name that two files declare neither
    is taken: which one was meant cannot be known.
    """
    found: dict[str, tuple[Topology, str]] = {}
    broken: dict[str, Broken] = {}
    for file, load in (*_own(), *_foreign(paths)):
        try:
            declared = getattr(load(), "topology", None)
        except (Exception, SystemExit) as error:
            broken[_declared_name(file)] = Broken(str(file), _what(error, file))
            continue
        if not isinstance(declared, Topology):
            why = "a topology file ends in `topology = Topology(...)`"
            broken[_declared_name(file)] = Broken(str(file), why)
        elif declared.name in found or declared.name in broken:
            first = found.pop(declared.name, (None, ""))[1] or broken[declared.name].file
            why = f"{declared.name!r} is declared already, in {first}"
            broken[declared.name] = Broken(str(file), why)
        else:
            found[declared.name] = (declared, str(file))
    good = {name: one for name, (one, _) in sorted(found.items()) if name not in broken}
    return Survey(good, dict(sorted(broken.items())))


def find(paths: Iterable[Path] = ()) -> dict[str, Topology]:
    """All topologies by name. Raises DeclarationError where a file is broken."""
    found = survey(paths)
    if found.broken:
        raise DeclarationError("\n".join(map(str, found.broken.values())))
    return found.topologies


def get(name: str, paths: Iterable[Path] = ()) -> Topology:
    """The topology of a name; raises ConfigError that lists those that exist."""
    found = survey(paths)
    if name in found.broken:
        raise DeclarationError(str(found.broken[name]))
    if name not in found.topologies:
        known = ", ".join(found.topologies)
        raise ConfigError(f"no such topology; there are {known}", value=name)
    return found.topologies[name]


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


def _own() -> Iterator[tuple[Path, Load]]:
    for info in pkgutil.iter_modules(topologies.__path__):
        if not info.ispkg:
            file = Path(topologies.__path__[0]) / f"{info.name}.py"
            yield file, partial(importlib.import_module, f"topologies.{info.name}")


def _foreign(paths: Iterable[Path]) -> Iterator[tuple[Path, Load]]:
    for folder in paths:
        files = [folder] if folder.is_file() else sorted(folder.glob("*.py"))
        for file in files:
            if not file.name.startswith("_"):
                yield file, partial(_load, file.resolve())


@lru_cache(maxsize=256)
def _load(file: Path) -> ModuleType:
    name = f"plantstream_site_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _declared_name(file: Path) -> str:
    """The name a file declares, read without running it; the file's own where none can be read."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return file.stem
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Topology"):
            for given in node.keywords:
                if given.arg == "name" and isinstance(given.value, ast.Constant):
                    return str(given.value.value)
    return file.stem


def _what(error: BaseException, file: Path) -> str:
    """An error of a topology file in one line, with the line of the file where it came up."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).name == file.name
    ]
    where = f"line {lines[-1]}: " if lines else ""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        text = first["msg"].removeprefix("Value error, ")
        return f"{where}{error.title}{f' {field}' if field else ''}: {text}"
    return f"{where}{type(error).__name__}: {' '.join(str(error).split())}"
