"""Reading and checking of the JSON columns that several records share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import DTypeLike, NDArray

from models.errors import MalformedRecord

Ints = NDArray[np.int64]

LAST_NS = 2**63 - 1
_INT = {int}

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
    return orjson.dumps(value, default=_list, option=JSON_OPTIONS)


def _list(value: Any) -> Any:
    """What orjson cannot take as it is: arrays that are views with gaps."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def field(record: dict[str, Any], name: str, kind: type, what: str) -> Any:
    """A required field of one exact type (a bool is no int)."""
    value = record.get(name)
    if type(value) is not kind:
        raise MalformedRecord(f"{what}: {name!r} is not {kind.__name__} (got {shown(value)})")
    return value


def time(record: dict[str, Any], name: str, what: str) -> int:
    """A required time in ns that fits into int64."""
    value = field(record, name, int, what)
    if not -LAST_NS <= value <= LAST_NS:
        raise MalformedRecord(f"{what}: {name!r} is beyond 64 bits (got {shown(value)})")
    return int(value)


def shown(value: Any) -> str:
    """A value as an error shows it: never long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def strings(value: Any, what: str) -> tuple[str, ...]:
    """A list of distinct texts, none empty."""
    if type(value) is not list:
        raise MalformedRecord(f"{what} is not a list of texts")
    try:
        names = tuple(value)
        fault = _fault(names) if len(names) <= _REPEATED else _fault.__wrapped__(names)
    except TypeError:  # something in it cannot be hashed, so it is no text
        fault = "is not a list of texts"
    if fault:
        raise MalformedRecord(f"{what} {fault}")
    return tuple(value)


#: Longer lists of names are hardly repeated, and would fill the memory of those that are.
_REPEATED = 256


@lru_cache(maxsize=4096)
def _fault(names: tuple[Any, ...]) -> str:
    """What is wrong with a list of names; the same few lists come again and again."""
    if not all(type(name) is str for name in names):
        return "is not a list of texts"
    if len(set(names)) != len(names):
        return "names one tag twice"
    if any(not name or "\0" in name for name in names):
        return "holds an empty text or one with a NUL character"
    return ""


def integers(value: Any, what: str) -> Ints:
    """An int64 column of a JSON list."""
    try:
        return np.array(_all_integers(value, what), dtype=np.int64)
    except OverflowError as error:
        raise MalformedRecord(f"{what} holds an integer beyond 64 bits") from error


def bounded(value: Any, what: str, low: int, high: int, dtype: DTypeLike) -> NDArray[Any]:
    """A column of a JSON list of integers in ``low..high``, which ``dtype`` holds."""
    numbers = _all_integers(value, what)
    # On lists of this size Python's min and max cost half of numpy's.
    if numbers and (min(numbers) < low or max(numbers) > high):
        raise MalformedRecord(f"{what} holds a value outside {low}..{high}")
    return np.array(numbers, dtype=dtype)


def indexes(value: Any, what: str, size: int) -> NDArray[np.int32]:
    """A column of indexes into a list of ``size`` entries."""
    if value and not size:
        raise MalformedRecord(f"{what} refers to an empty list")
    last = max(size - 1, 0)
    if type(value) is list and len(value) > 1024:  # not worth remembering
        return bounded(value, what, 0, last, np.int32)
    try:
        # Devices repeat their column of tags: looked up as bytes it costs a third.
        column, most = _indexes(bytes(_all_integers(value, what)))
    except ValueError:  # beyond 0..255
        return bounded(value, what, 0, last, np.int32)
    if most > last:
        raise MalformedRecord(f"{what} holds a value outside 0..{last}")
    return column


@lru_cache(maxsize=4096)
def _indexes(given: bytes) -> tuple[NDArray[np.int32], int]:
    column = np.frombuffer(given, np.uint8).astype(np.int32)
    column.flags.writeable = False
    return column, max(given, default=0)


def _all_integers(value: Any, what: str) -> list[int]:
    if type(value) is not list:
        raise MalformedRecord(f"{what} is not a list")
    kinds = set(map(type, value))
    if not kinds <= _INT:
        raise MalformedRecord(f"{what} holds something that is no integer")
    return value


def same_length(size: int, what: str, **columns: NDArray[Any] | None) -> None:
    """Raise MalformedRecord where a column is not of ``size``."""
    for name, column in columns.items():
        if column is not None and column.shape != (size,):
            raise MalformedRecord(f"{what}: {name!r} has {column.size} entries, expected {size}")
