"""Finds connectors: every module of ``connectors/`` that holds one is a kind. No list is edited.

The module's name is its kind, so that a process loads the libraries of its own protocol only.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import connectors
from connectors.base import Connector
from models.errors import ConfigError, DeclarationError

AnyConnector = type[Connector[Any]]

#: Modules of the room that are no connectors.
_OTHERS = frozenset({"base", "discover", "simulators"})


def kinds() -> tuple[str, ...]:
    """The kinds there are, in order."""
    names = (module.name for module in pkgutil.iter_modules(connectors.__path__))
    return tuple(sorted(name for name in names if name not in _OTHERS and name[0] != "_"))


def find(kind: str) -> AnyConnector:
    """The connector class of a kind.

    Raises ConfigError naming the kinds there are, or DeclarationError where its module is wrong.
    """
    if kind not in kinds():
        raise ConfigError(
            f"unknown kind of connector; known are {', '.join(kinds())}", field="kind", value=kind
        )
    return _connector_of(importlib.import_module(f"connectors.{kind}"), kind)


def find_all() -> dict[str, AnyConnector]:
    """All connector classes by kind (loads every protocol's module)."""
    return {kind: find(kind) for kind in kinds()}


def _connector_of(module: ModuleType, kind: str) -> AnyConnector:
    found = [
        member
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Connector)
        and not inspect.isabstract(member)
        and (member.__module__ + ".").startswith(module.__name__ + ".")
    ]
    if len(found) != 1:
        raise DeclarationError(
            f"{module.__name__} holds {len(found)} connectors, expected one"
            " (a class derived from connectors.base.Connector)"
        )
    if found[0].kind != kind:
        raise DeclarationError(
            f"{module.__name__}.{found[0].__name__} is of kind {found[0].kind!r}:"
            f" its module has to have that name, or the class kind = {kind!r}"
        )
    return found[0]
