"""Options that every command takes, wherever they stand on the line."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from app.settings import Part, Settings

_WITH_VALUE = ("--config", "-c", "--set", "--data-dir")
_ALONE = ("--debug",)


@dataclass(frozen=True, slots=True)
class Common:
    """What was said for all commands."""

    file: Path | None = None
    overrides: tuple[str, ...] = ()
    debug: bool = False

    def settings(self, *check: Part) -> Settings:
        """The site's configuration. Raises SettingsError."""
        from app.settings import load

        return load(self.file, self.overrides, check=check)

    @property
    def arguments(self) -> list[str]:
        """The same options again, for a command started by this one."""
        file = [] if self.file is None else ["--config", str(self.file.absolute())]
        return [*file, *(part for text in self.overrides for part in ("--set", text))]


def common(context: typer.Context) -> Common:
    """What was said for all commands."""
    found = context.find_object(Common)
    return found if found is not None else Common()


def hoisted(arguments: list[str]) -> list[str]:
    """The arguments with the options of all commands in front, so that they may stand anywhere."""
    front: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if word == "--":
            rest += [word, *waiting]
            break
        name = word.partition("=")[0]
        if name in _ALONE or (name in _WITH_VALUE and name.startswith("--") and "=" in word):
            front.append(word)
        elif word in _WITH_VALUE and waiting:
            front += [word, waiting.pop(0)]
        else:
            rest.append(word)
    return front + rest


def known_only(name: str, known: Collection[str], what: str) -> str:
    """The name, or a BadParameter that lists what there is."""
    if name not in known:
        raise typer.BadParameter(f"no such {what}; there are {', '.join(known)}")
    return name
