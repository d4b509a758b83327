"""Outputs of two topologies that would share a collection of the store."""

from __future__ import annotations

from app.settings.settings import Settings
from models.errors import ConfigError
from models.topics import collection


def collisions(settings: Settings, topology: str = "") -> list[ConfigError]:
    """An error for every collection that two outputs would share; of one topology, or of all.

    Names are joined by ``_``, which may also be part of one: output ``c`` of topology ``a_b`` and
    output ``b_c`` of topology ``a``.
    """
    taken: dict[str, tuple[str, str]] = {}
    errors = []
    for name, each in settings.topologies.items():
        for output in each.outputs:
            shared = collection(name, output.name)
            other = taken.setdefault(shared, (name, output.name))
            if other != (name, output.name) and topology in ("", name, other[0]):
                errors.append(
                    ConfigError(
                        f"output {output.name!r} of topology {name!r} and output {other[1]!r} of"
                        f" topology {other[0]!r} would both be stored in collection {shared!r}:"
                        " rename one of them"
                    )
                )
    return errors
