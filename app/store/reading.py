"""Documents back to records: the inverse of `app.store.documents`, whichever layout they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import orjson
from bson import Decimal128
from numpy.typing import NDArray

from app.store.documents import COLUMNS
from models.records.block import Block
from models.records.events import Alarm, Anomaly, Event
from models.records.values import Typed


def read_block(document: Mapping[str, Any]) -> Block:
    """The block of a readings document, every value as it was on the topic."""
    size = int(document["n"])
    typed = tuple(_typed(entry) for entry in document.get("typed", ()))
    v = read_column(document, "v")
    for index, kind, value in typed:
        if kind == "f":
            v[index] = float(value)
    return Block(
        asset=document["asset"],
        tags=tuple(document["tags"]),
        tag=read_column(document, "tag", size),
        t=read_column(document, "t"),
        v=v,
        q=read_column(document, "q", size),
        code=read_column(document, "code", size),
        why=read_column(document, "why", size),
        typed=typed,
        received=int(document["received_ns"]),
    )


def read_event(kind: type[Event], document: Mapping[str, Any]) -> Event:
    """The newest revision of an anomaly or alarm, as it was on its topic."""
    names = [field.name for field in fields(kind)]
    return kind(**{name: document.get(f"{name}_ns", document[name]) for name in names})


def read_anomaly(document: Mapping[str, Any]) -> Anomaly:
    """See `read_event`."""
    return read_event(Anomaly, document)


def read_alarm(document: Mapping[str, Any]) -> Alarm:
    """See `read_event`."""
    return read_event(Alarm, document)


def read_column(document: Mapping[str, Any], name: str, size: int = 0) -> NDArray[Any]:
    """A column of a readings document as an array of its type in `COLUMNS`.

    One number stands for ``size`` equal ones; a column that is absent is empty.
    """
    stored: Any = document.get(name)
    dtype = np.dtype(COLUMNS[name]).newbyteorder("=")
    if stored is None:
        return np.empty(0, dtype)
    if isinstance(stored, bytes):
        return np.frombuffer(stored, COLUMNS[name]).astype(dtype)
    if isinstance(stored, list):
        return np.array(stored, dtype=dtype)  # null becomes NaN
    return np.full(size, stored, dtype=dtype)


def _typed(entry: Mapping[str, Any]) -> Typed:
    index, kind, value = int(entry["i"]), str(entry["kind"]), entry["value"]
    if kind == "i":
        value = str(value.to_decimal() if isinstance(value, Decimal128) else value)
    elif kind == "j":
        value = orjson.loads(value)
    return index, kind, value
