"""What steps remember of a key, for people: bytes of state as tables, times and counts.

Nothing here is needed to run: a value that nobody knows how to read is shown by its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.time import MAX_NS, iso
from topologies.core.state import Columns, DictState, Memory, Overlay, Table, columns_in_use
from topologies.core.time import KeyTime

#: Times in tables and JSON are shown as such: those of the years 1990 to 2150.
_TIMES = range(631_152_000 * 10**9, 5_680_281_600 * 10**9)


def shown(values: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """The state of one key, by step: its bytes, and its tables as lists of rows.

    ``values`` by their names in the state (``<step>/<name>``), as a worker's store has them.
    """
    steps: dict[str, dict[str, bytes]] = {}
    for name, value in values.items():
        step, _, rest = name.partition("/")
        steps.setdefault(step, {})[rest] = value
    return {step: _step(step, kept) for step, kept in sorted(steps.items())}


def _step(step: str, kept: Mapping[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = {"bytes": sum(map(len, kept.values()))}
    if step == "time":
        return {**found, **_time(kept)}
    tables, others = {}, {}
    state = DictState({f"{step}/{name}": value for name, value in kept.items()})
    for name, value in sorted(kept.items()):
        place, _, chunk = name.rpartition("/")
        if chunk == "0" and (rows := _table(state, step, place, value)) is not None:
            tables[place or "tags"] = rows
        elif not (chunk.isdigit() and (place or "tags") in tables):
            others[name] = _other(value)
    if tables:
        found["tables"] = tables
    if others:
        found["values"] = others
    return found


def _time(kept: Mapping[str, bytes]) -> dict[str, Any]:
    state = DictState({f"time/{name}": value for name, value in kept.items()})
    try:
        time = KeyTime.load(Memory(Overlay(state), "time"))
    except Exception:
        return {}
    return {
        "now": iso(time.now),
        "newest_data": iso(time.data),
        "heard": iso(time.heard),
        "connector": time.state.value,
    }


def _table(state: DictState, step: str, place: str, chunk: bytes) -> list[dict[str, Any]] | None:
    memory = Memory(Overlay(state), f"{step}/{place}" if place else step)
    for columns in _fitting(chunk, columns_in_use(step)):
        try:
            table = Table.load(memory, columns)
        except Exception:  # of another layout: the next may fit
            continue
        arrays = _flat({name: table[name] for name, *_ in columns.items})
        return [
            {"tag": tag, **{name: _number(column[row].tolist()) for name, column in arrays.items()}}
            for row, tag in enumerate(table.tags)
        ]
    return None


def _fitting(chunk: bytes, known: Iterable[Columns]) -> list[Columns]:
    return [columns for columns in known if len(chunk) >= columns.row]


def _flat(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Columns of records as one column a field: ``newest.t``."""
    found: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if array.dtype.names is None:
            found[name] = array
        else:
            found |= _flat({f"{name}.{field}": array[field] for field in array.dtype.names})
    return found


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(each) for each in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, int) and value in _TIMES:
        return iso(value)
    return "never" if isinstance(value, int) and value <= -MAX_NS else value


def _other(value: bytes) -> Any:
    """JSON behind a head of 16 bytes (see ``topologies.steps.chunks``), or how many bytes."""
    try:
        content = orjson.loads(value[16:])
    except orjson.JSONDecodeError:
        content = None
    return content if isinstance(content, dict | list) else f"{len(value)} bytes"
