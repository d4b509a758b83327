"""Where configuration comes from: the file, then ``.env``, the environment and flags over it."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from app.settings.problems import SettingsError, unknown
from app.settings.schema import Path as Keys
from models.errors import ConfigError

PREFIX = "PLANTSTREAM__"
#: The environment variable that names the file.
FILE_VARIABLE = "PLANTSTREAM_CONFIG"
DEFAULT_FILE = "plantstream.toml"
_MONGODB = "MONGODB_URI"


@dataclass(slots=True)
class Layer:
    """Values from one place."""

    origin: str
    values: dict[str, Any]


@dataclass(slots=True)
class Layers:
    """All places, the weakest first: the file is the first."""

    #: As it was named; relative paths in it start in its folder.
    file: Path
    layers: list[Layer] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return self.file.absolute().parent

    def merged(self) -> dict[str, Any]:
        """All values, the stronger over the weaker; tables are merged, all else is replaced."""
        merged: dict[str, Any] = {}
        for layer in self.layers:
            merged = merge(merged, layer.values)
        return merged

    def origin(self, path: Keys) -> str:
        """Who said what is at ``path``, or said most of the way to it."""
        best, length = str(self.file), 0
        for layer in self.layers:
            depth = _depth(layer.values, path)
            if depth and depth >= length:
                best, length = layer.origin, depth
        return best


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def read(
    file: Path | None = None,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Layers:
    """All layers. Raises SettingsError: a file that is absent or unreadable, a wrong variable.

    Without a file named (here or by PLANTSTREAM_CONFIG), ``plantstream.toml`` of this folder is
    read if there is one.
    """
    environment = os.environ if environment is None else environment
    named = file or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    layers = Layers(named or Path(DEFAULT_FILE))
    if named is not None or layers.file.exists():
        layers.layers.append(Layer(str(layers.file), read_file(layers.file)))
    dotenv = layers.folder / ".env"
    if dotenv.is_file():
        layers.layers += _variables(_read_dotenv(dotenv), f"{dotenv.name}: ")
    layers.layers += _variables(environment, "environment: ")
    for text in overrides:
        origin = f"--set {text.partition('=')[0].strip()}"
        layers.layers.append(Layer(origin, _flag(text)))
    return layers


def read_file(file: Path) -> dict[str, Any]:
    """A TOML file, or JSON by its extension. Raises SettingsError naming line and column."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _wrong("there is no such file", str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise _wrong(f"cannot be read: {reason}", str(file)) from None
    if file.suffix.lower() == ".json":
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            where = f"{file}:{error.lineno}:{error.colno}"
            raise _wrong(f"is not JSON: {error.msg}", where) from None
    else:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"^(.*?) \(at (?:line (\d+), column (\d+)|(.*))\)$", str(error), re.S)
            line, column = _end(text)
            message = str(error)
            if found:
                message = found[1]
                line, column = (int(found[2]), int(found[3])) if found[2] else (line, column)
            raise _wrong(f"is not TOML: {message}", f"{file}:{line}:{column}") from None
    if not isinstance(data, dict):
        raise _wrong("must hold an object of sections", str(file))
    return data


def _end(text: str) -> tuple[int, int]:
    lines = text.split("\n")
    return len(lines), len(lines[-1]) + 1


def _wrong(message: str, file: str, field: str = "", value: object = "") -> SettingsError:
    return SettingsError([ConfigError(message, file=file, field=field, value=value)])


def _read_dotenv(file: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(file).items() if value is not None}


def _variables(environment: Mapping[str, str], origin: str) -> list[Layer]:
    """A layer a variable, so that an error can name it."""
    layers = []
    if uri := environment.get(_MONGODB):
        layers.append(Layer(origin + _MONGODB, {"store": {"uri": uri}}))
    ours = sorted(name for name in environment if name.upper().startswith(PREFIX))
    layers += [Layer(origin + name, _variable(name, environment[name], origin)) for name in ours]
    return layers


def _variable(name: str, text: str, origin: str) -> dict[str, Any]:
    """The nested values of a variable, as pydantic-settings reads it."""
    from pydantic_settings import EnvSettingsSource
    from pydantic_settings import SettingsError as NotParsed

    from app.settings.environment import Environment

    source = EnvSettingsSource(
        Environment, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter="__"
    )
    source.env_vars = {name.lower(): text}
    try:
        values = source()
    except NotParsed:
        raise _wrong("must be JSON", origin + name, value=text) from None
    if not values:
        section = name[len(PREFIX) :].split("__")[0].lower()
        raise _wrong(unknown(section, Environment.model_fields, "section"), origin + name)
    return values


def _flag(text: str) -> dict[str, Any]:
    """``kafka.bootstrap=host:9092``: a dotted key as in TOML, and a value as in TOML or text."""
    key, equals, value = (part.strip() for part in text.partition("="))
    try:
        if not equals or not key:
            raise ValueError
        return _plain_dates(tomllib.loads(f"{key} = {value}"), value)
    except ValueError:
        pass
    try:
        if not equals:
            raise ValueError
        return tomllib.loads(f"{key} = {json.dumps(value)}")
    except ValueError:
        raise _wrong(
            "must be KEY=VALUE, the key dotted as in the file", "--set", value=text
        ) from None


def _plain_dates(values: dict[str, Any], text: str) -> dict[str, Any]:
    """What TOML takes for a date is text here: the schema decides what it is."""
    for key, value in values.items():
        if isinstance(value, dict):
            _plain_dates(value, text)
        elif isinstance(value, date | datetime | time):
            values[key] = text.strip()
    return values


def _depth(values: Any, path: Keys) -> int:
    """How far into the values a path leads."""
    for depth, key in enumerate(path):
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(path)
