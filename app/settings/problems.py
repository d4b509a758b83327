"""Every error of validation as one line: file, field, value, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import SecretStr, ValidationError

from app.observe.logging import redact
from app.settings.schema import Path, Place, allowed, locate, mentions
from models.errors import ConfigError

_BARE = re.compile(r"^[A-Za-z0-9_-]+$")
_SHOWN = 80


class SettingsError(ConfigError):
    """All that is wrong with a configuration; its text is one line an error."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        first = errors[0]
        super().__init__(first.message, file=first.file, field=first.field, value=first.value)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def dotted(path: Path) -> str:
    """A path as it is written in TOML and in --set: ``catalogue."glass/furnace".tags``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.match(part) else f'"{part}"')
    return text


def explain(
    error: ValidationError,
    root: Any,
    origin: Callable[[Path], str],
    prefix: Path = (),
) -> list[ConfigError]:
    """The lines for a validation error of ``root``; ``prefix`` is where its data stands."""
    lines: dict[str, ConfigError] = {}
    for found in error.errors():
        place = locate(root, found["loc"])
        path = (*prefix, *place.path)
        line = ConfigError(
            _message(found, place),
            file=origin(path),
            field=dotted(path),
            value=_value(found, place),
        )
        lines.setdefault(str(line), line)
    return list(lines.values())


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """``no such field; did you mean 'x'? allowed are …``."""
    known = list(known)
    close = get_close_matches(name, known, 1, 0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"no such {what}{hint} there are {', '.join(sorted(known)) or 'none'}"


def _message(found: Any, place: Place) -> str:
    kind, context = found["type"], found.get("ctx", {})
    last = str(place.path[-1]) if place.path else ""
    if kind == "extra_forbidden" and place.owner is not None:
        return unknown(last, allowed(place.owner), "field")
    if kind == "missing":
        about = place.field.description if place.field and place.field.description else ""
        return "is required" + (f": {about}" if about else "")
    if kind == "union_tag_not_found":
        return "needs a field 'kind' that says what it is"
    if kind == "union_tag_invalid":
        given = str(context.get("tag", ""))
        return f"kind {given!r} is unknown; known are {context.get('expected_tags', '')}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a table of fields"
    if kind == "string_pattern_mismatch" and place.field and place.field.description:
        return f"is not of the form {context.get('pattern')} ({place.field.description})"
    message = re.sub(r"^(Value error|Assertion failed), ", "", str(found["msg"]))
    return message.replace("Input should be", "must be")


def _value(found: Any, place: Place) -> object:
    value = found.get("input", "")
    if found["type"] in ("missing", "extra_forbidden", "union_tag_not_found", "union_tag_invalid"):
        return ""
    if place.field is not None and mentions(place.field.annotation, SecretStr):
        return "***"
    if isinstance(value, dict):
        return ""
    value = redact(value, str(place.path[-1]) if place.path else "")
    return _Short(value) if len(repr(value)) > _SHOWN else value


class _Short:
    """A value too long to be shown whole."""

    def __init__(self, value: object) -> None:
        self._text = repr(value)[: _SHOWN - 3] + "..."

    def __repr__(self) -> str:
        return self._text
