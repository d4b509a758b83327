"""Durations and times of the simulators: int nanoseconds, written as text in configuration.

The simulators share no code with the rest of the project, so that what they say they sent is
evidence that does not depend on what is being checked.
"""

from __future__ import annotations

import re
import time
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "min": 60 * SECOND,
    "h": 3600 * SECOND,
    "d": 86400 * SECOND,
}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|min|s|m|h|d)")


def nanoseconds(value: object) -> int:
    """``"200ms"``, ``"1h30m"`` or ``"0"`` in nanoseconds; an int is taken as nanoseconds.

    Raises ValueError for anything else, and for negative numbers.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        text = value.strip()
        if text == "0":
            return 0
        parts = _TEXT.findall(text)
        if parts and not _TEXT.sub("", text).strip():
            return sum(round(float(number) * _UNITS[unit]) for number, unit in parts)
    raise ValueError(
        f"a duration is text such as '200ms', '10s', '5m', '2h' or '1d', not {value!r}"
    )


def text_of(ns: int) -> str:
    """The text of a duration that :func:`nanoseconds` reads back: 1_500_000_000 is "1500ms"."""
    for unit in ("d", "h", "m", "s", "ms", "us"):
        if ns and ns % _UNITS[unit] == 0:
            return f"{ns // _UNITS[unit]}{unit}"
    return f"{ns}ns"


Duration = Annotated[
    int,
    BeforeValidator(nanoseconds),
    PlainSerializer(text_of, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["200ms", "10s", "5m"]}),
]


def now() -> int:
    """Nanoseconds since 1970-01-01 UTC by the clock of this machine."""
    return time.time_ns()
