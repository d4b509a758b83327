"""Reading and checking of the JSON columns that several records share."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.errors import MalformedRecord

Ints = NDArray[np.int64]

JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def loads(payload: bytes | None, what: str) -> dict[str, Any]:
    """A JSON object; raises MalformedRecord where the bytes are none."""
    if payload is None:
        raise MalformedRecord(f"{what}: no value (a tombstone)")
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedRecord(f"{what}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedRecord(f"{what}: a JSON object is expected, not {type(value).__name__}")
    return value


def dumps(value: Any) -> bytes:
    """Compact JSON; numpy arrays as lists, non-finite numbers as null."""
    return orjson.dumps(value, option=JSON_OPTIONS)


def field(record: dict[str, Any], name: str, kind: type, what: str) -> Any:
    """A required field of one exact type (a bool is no int)."""
    value = record.get(name)
    if type(value) is not kind:
        raise MalformedRecord(f"{what}: {name!r} is not {kind.__name__} (got {value!r:.80})")
    return value


def optional_int(record: dict[str, Any], name: str, what: str) -> int | None:
    """An integer field that may be absent or null."""
    value = record.get(name)
    if value is not None and type(value) is not int:
        raise MalformedRecord(f"{what}: {name!r} is not an integer (got {value!r:.80})")
    return value


def strings(value: Any, what: str) -> tuple[str, ...]:
    """A list of distinct texts."""
    if not isinstance(value, list) or not all(type(item) is str for item in value):
        raise MalformedRecord(f"{what} is not a list of texts")
    if len(set(value)) != len(value):
        raise MalformedRecord(f"{what} names one tag twice")
    if any(not item or "\0" in item for item in value):
        raise MalformedRecord(f"{what} holds an empty text or one with a NUL character")
    return tuple(value)


def integers(value: Any, what: str, low: int = -(2**63) + 1, high: int = 2**63 - 1) -> Ints:
    """An int64 column of a JSON list, each in ``low..high``."""
    if not isinstance(value, list):
        raise MalformedRecord(f"{what} is not a list")
    kinds = set(map(type, value))
    if not kinds <= {int}:
        raise MalformedRecord(f"{what} holds something that is no integer")
    try:
        array = np.array(value, dtype=np.int64)
    except OverflowError as error:
        raise MalformedRecord(f"{what} holds an integer beyond 64 bits") from error
    if array.size and (array.min() < low or array.max() > high):
        raise MalformedRecord(f"{what} holds a value outside {low}..{high}")
    return array


def same_length(size: int, what: str, **columns: NDArray[Any] | None) -> None:
    """Raise MalformedRecord where a column is not of ``size``."""
    for name, column in columns.items():
        if column is not None and column.shape != (size,):
            raise MalformedRecord(f"{what}: {name!r} has {column.size} entries, expected {size}")
