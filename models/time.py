"""Time is int64 nanoseconds since 1970-01-01 UTC, everywhere. Durations are int nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

#: The earliest and latest int64 nanosecond times: 1677-09-21 and 2262-04-11.
MIN_NS, MAX_NS = -(2**63) + 1, 2**63 - 1
#: "No time yet" in state and blocks: older than any sample.
NEVER = -(2**63)

_UNITS = {
    "ns": 1,
    "us": NS_PER_US,
    "µs": NS_PER_US,
    "ms": NS_PER_MS,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "min": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
    "d": 86400 * NS_PER_S,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|µs|ms|min|s|m|h|d)")


def parse_duration(value: object) -> int:
    """Nanoseconds of ``"500ms"``, ``"10s"``, ``"1h30m"``, ``"2d"``, a timedelta, or an int (ns).

    Raises ValueError that says what is allowed.
    """
    if isinstance(value, bool):
        raise ValueError("a duration is text such as '500ms', '10s', '5m', '2h' or '1d'")
    if isinstance(value, int):
        return value
    if isinstance(value, timedelta):
        return round(value.total_seconds() * NS_PER_S)
    if isinstance(value, str):
        text = value.strip()
        if text == "0":
            return 0
        parts = _PART.findall(text)
        if parts and "".join(_PART.sub("", text).split()) == "":
            return sum(round(float(number) * _UNITS[unit]) for number, unit in parts)
    raise ValueError(
        "a duration is text such as '500ms', '10s', '5m', '2h' or '1d'"
        f" (units ns, us, ms, s, m, h, d), not {value!r}"
    )


def format_duration(ns: int) -> str:
    """The text that :func:`parse_duration` reads back: ``90_000_000_000`` is ``"1m30s"``."""
    if ns == 0:
        return "0s"
    sign, rest, text = ("-", -ns, "") if ns < 0 else ("", ns, "")
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            text += f"{count}{unit}"
    return sign + text


#: A Pydantic field type: text in configuration, int nanoseconds in code.
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["500ms", "10s", "5m"]}),
]


def from_datetime(moment: datetime) -> int:
    """Exact nanoseconds of a datetime; a naive one counts as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * NS_PER_S + delta.microseconds * NS_PER_US


def to_datetime(ns: int) -> datetime:
    """UTC datetime of a time in ns, cut to microseconds (which is all a datetime holds)."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // NS_PER_US)


def iso(ns: int) -> str:
    """ISO 8601 text of a time in ns, to the nanosecond where it matters."""
    if ns == NEVER:
        return "never"
    seconds, fraction = divmod(ns, NS_PER_S)
    base = to_datetime(seconds * NS_PER_S).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:09d}".rstrip("0").rstrip(".") if fraction else ""
    return f"{base}{digits}Z"


def in_range(ns: np.ndarray[Any, Any]) -> bool:
    """Whether every time of an int64 array is a real one (not the :data:`NEVER` mark)."""
    return bool(ns.size == 0 or ns.min() > NEVER)
