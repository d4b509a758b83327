"""Numbers as float64 columns, and what float64 cannot hold exactly, typed beside them.

A *typed value* is ``(index, kind, value)``: ``i`` an integer beyond ±2**53 (JSON text, since not
every reader of JSON keeps 64 bits), ``f`` a non-finite number (``"nan"``, ``"inf"``, ``"-inf"``),
``s`` text, ``b`` a truth value, ``j`` any other JSON value (arrays, structures).
In the float column an ``i`` keeps its nearest float, a ``b`` 0.0 or 1.0, ``f`` itself; others NaN.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MalformedRecord

Typed = tuple[int, str, Any]
Floats = NDArray[np.float64]

#: Integers up to this size are exact in float64.
EXACT = 2**53

KINDS = frozenset("ifsbj")
_INTEGER = re.compile(r"-?[0-9]{1,400}")


def split(values: Sequence[Any]) -> tuple[Floats, tuple[Typed, ...]]:
    """A float64 column and the typed values of any mixture of Python values.

    The common case, all plain numbers, costs one numpy call.
    """
    kinds = set(map(type, values))
    if kinds <= {float, int}:
        try:
            floats: Floats = np.array(values, dtype=np.float64)
        except OverflowError:
            return _split_slowly(values)
        # A large integer must not lose its last digits: 2**53 + 1 is 2**53 as a float.
        exact = int not in kinds or not (np.abs(floats) >= EXACT).any()
        if exact and bool(np.isfinite(floats).all()):
            return floats, ()
    return _split_slowly(values)


def _split_slowly(values: Sequence[Any]) -> tuple[Floats, tuple[Typed, ...]]:
    floats = np.empty(len(values), dtype=np.float64)
    typed: list[Typed] = []
    for index, value in enumerate(values):
        if isinstance(value, bool):
            floats[index] = float(value)
            typed.append((index, "b", value))
        elif isinstance(value, int):
            floats[index] = _nearest(value)
            if abs(value) > EXACT:
                typed.append((index, "i", str(value)))
        elif isinstance(value, float):
            floats[index] = value
            if not math.isfinite(value):
                typed.append((index, "f", str(value)))
        else:
            floats[index] = math.nan
            if isinstance(value, str):
                typed.append((index, "s", value))
            elif value is not None:
                typed.append((index, "j", value))
    return floats, tuple(typed)


def _nearest(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def exact(floats: Floats, typed: Sequence[Typed]) -> list[Any]:
    """The Python values that :func:`split` was given (a missing value comes back as None)."""
    values: list[Any] = [None if math.isnan(value) else value for value in floats.tolist()]
    for index, kind, value in typed:
        values[index] = int(value) if kind == "i" else float(value) if kind == "f" else value
    return values


_NUMBERS = {float, int, type(None)}


def read_floats(values: Any, typed: Sequence[Typed], size: int, what: str) -> Floats:
    """The float64 column of a JSON list (null for NaN), with non-finite values put back.

    Raises MalformedRecord where the list is not of ``size`` or holds more than numbers and nulls.
    """
    if type(values) is not list:
        raise MalformedRecord(f"{what} is not a list")
    if len(values) != size:
        raise MalformedRecord(f"{what} has {len(values)} entries, expected {size}")
    if not set(map(type, values)) <= _NUMBERS:
        raise MalformedRecord(f"{what} holds something that is no number")
    try:
        floats: Floats = np.array(values, dtype=np.float64)
    except OverflowError as error:
        raise MalformedRecord(f"{what} holds a number beyond float64") from error
    for index, kind, value in typed:
        if kind == "f":
            floats[index] = float(value)
    return floats


def read_typed(entries: Any, size: int) -> tuple[Typed, ...]:
    """The typed values of a record of ``size`` samples; raises MalformedRecord."""
    if not entries:
        return ()
    if not isinstance(entries, list):
        raise MalformedRecord("'typed' is not a list")
    result: list[Typed] = []
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 3):
            raise MalformedRecord("a typed value is not [index, kind, value]")
        index, kind, value = entry
        if type(index) is not int or not 0 <= index < size:
            raise MalformedRecord(f"a typed value has index {index!r}, of {size} samples")
        if type(kind) is not str or kind not in KINDS:
            raise MalformedRecord(f"a typed value is of kind {kind!r}, not one of i, f, s, b, j")
        if kind == "f" and value not in ("nan", "inf", "-inf"):
            raise MalformedRecord(f"a typed float is {value!r}, not 'nan', 'inf' or '-inf'")
        if kind == "i" and not (isinstance(value, str) and _INTEGER.fullmatch(value)):
            raise MalformedRecord(f"a typed integer is {value!r:.40}, not text of digits")
        result.append((index, kind, value))
    return tuple(result)
