"""Event times in JSON payloads, best effort, for the timestamp of the Kafka record only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson

from models.time import MAX_NS, MIN_NS, from_datetime

_FACTORS = {"unix_s": 1_000_000_000, "unix_ms": 1_000_000, "unix_us": 1_000, "unix_ns": 1}
FORMATS = (*_FACTORS, "iso8601")


def event_time(payload: bytes, path: tuple[str, ...], format_: str) -> int | None:
    """ns of the value at ``path`` (keys, or numbers of list entries; -1 the last); else None."""
    try:
        value: Any = orjson.loads(payload)
        for step in path:
            value = value[int(step)] if isinstance(value, list) else value[step]
        ns = _ns(value, format_)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return ns if MIN_NS <= ns <= MAX_NS else None


def _ns(value: Any, format_: str) -> int:
    if format_ == "iso8601":
        return from_datetime(datetime.fromisoformat(value))
    if isinstance(value, bool):
        raise TypeError("a truth value is no time")
    factor = _FACTORS[format_]
    if isinstance(value, str):
        value = float(value) if "." in value else int(value)
    if isinstance(value, int):
        return value * factor
    # a float of seconds holds microseconds today, and would show its own noise in ns
    number = float(value)
    return round(number * (factor // 1000)) * 1000 if factor >= 1000 else round(number * factor)
