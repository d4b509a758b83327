"""State of one key: compact bytes under each step's own name, written once a record.

Shells give a :class:`State`; a record works on an :class:`Overlay` of it that is applied whole or
thrown away; each step sees a :class:`Memory`, which is the part of it under the step's name; most
steps keep a :class:`Table` in it, which holds numbers per tag.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.errors import RecordTooLarge, StepError
from topologies.core.layout import Groups

#: Selects rows of a table.
Rows = NDArray[np.intp] | slice
_EVERY = slice(None)

#: Largest state value, bytes: changelog records stay far below Kafka's 1 MB.
CHUNK = 256 * 1024


class State(Protocol):
    """What a shell keeps for one key. Values are never empty and never 8 bytes long."""

    def get(self, key: str) -> bytes | None:
        """The value, or None."""

    def set(self, key: str, value: bytes) -> None:
        """Keep a value."""

    def delete(self, key: str) -> None:
        """Forget a value."""

    def names(self, step: str) -> Iterable[str]:
        """The keys of all values of a step, those that begin with ``<step>/``."""


class DictState:
    """A state in a dict: for the driver, replays and tests."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, bytes] | None = None) -> None:
        self.values = {} if values is None else values

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def set(self, key: str, value: bytes) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    def names(self, step: str) -> list[str]:
        return [key for key in self.values if key.startswith(f"{step}/")]


class Overlay:
    """Writes of one record, held back until the record has succeeded in every step."""

    __slots__ = ("_state", "_writes")

    def __init__(self, state: State) -> None:
        self._state = state
        self._writes: dict[str, bytes | None] = {}

    def get(self, key: str) -> bytes | None:
        """The value as this record sees it."""
        if key in self._writes:
            return self._writes[key]
        return self._state.get(key)

    def set(self, key: str, value: bytes) -> None:
        """Write a value; raises RecordTooLarge where Kafka could not take it."""
        if len(value) > CHUNK:
            raise RecordTooLarge(f"state {key!r} would be {len(value)} bytes, at most {CHUNK}")
        self._writes[key] = value

    def delete(self, key: str) -> None:
        """Forget a value."""
        self._writes[key] = None

    def names(self, step: str) -> list[str]:
        """The keys of all values of a step, as this record sees them."""
        written = [key for key in self._writes if key.startswith(f"{step}/")]
        keys = dict.fromkeys((*self._state.names(step), *written))
        return [key for key in keys if self._writes.get(key, b"") is not None]

    def apply(self) -> None:
        """Make the writes real."""
        for key, value in self._writes.items():
            if value is None:
                self._state.delete(key)
            else:
                self._state.set(key, value)

    def close(self) -> None:
        """The record is done: whoever still holds this, such as a table that is kept, holds no
        state and no writes by it."""
        self._state, self._writes = _NO_STATE, {}


_NO_STATE = DictState()


class Memory:
    """What one step remembers of one key, under its own name."""

    __slots__ = ("_overlay", "_step")

    def __init__(self, overlay: Overlay, step: str) -> None:
        self._overlay, self._step = overlay, step

    def get(self, name: str = "") -> bytes | None:
        """Bytes kept under a name of the step's own."""
        return self._overlay.get(f"{self._step}/{name}")

    def put(self, value: bytes, name: str = "") -> None:
        """Keep bytes. They begin with a format byte and are not 8 bytes long (see State)."""
        self._overlay.set(f"{self._step}/{name}", value)

    def drop(self, name: str = "") -> None:
        """Forget bytes."""
        self._overlay.delete(f"{self._step}/{name}")

    def clear(self) -> int:
        """Forget everything; how many values that was."""
        names = self._overlay.names(self._step)
        for name in names:
            self._overlay.delete(name)
        return len(names)

    def part(self, name: str) -> Memory:
        """A memory within this one, for a second table of the same step."""
        return Memory(self._overlay, f"{self._step}/{name}")

    def table(self, columns: Columns) -> Table:
        """The step's table as it was saved last; empty at first."""
        if self._step not in columns.users:
            columns.users.add(self._step.partition("/")[0])
        return Table.load(self, columns)


@dataclass(frozen=True, slots=True)
class Column:
    """One number (or ``width`` numbers) per tag, and what a new tag starts with."""

    dtype: DTypeLike
    initial: float | int = 0
    width: int = 0


class Columns:
    """The columns of a table, with the version of their layout."""

    __slots__ = ("__weakref__", "_kept", "items", "row", "users", "version")

    def __init__(self, version: int, **columns: Column) -> None:
        self.version = version
        self.items = tuple(
            (name, np.dtype(column.dtype), column.initial, column.width)
            for name, column in columns.items()
        )
        #: Bytes of a row without its tag's name.
        self.row = sum(dtype.itemsize * max(width, 1) for _, dtype, _, width in self.items)
        self._kept: dict[int, Table] = {}
        #: The steps that keep tables of these columns: only for those who look in from outside.
        self.users: set[str] = set()
        _ALL.add(self)

    def keep(self, table: Table, data: bytes) -> None:
        """Keep a table that was saved as ``data``, for whoever loads those very bytes next."""
        if len(data) <= _KEPT_BYTES:
            if len(self._kept) >= _KEPT_TABLES:
                self._kept.pop(next(iter(self._kept)), None)
            self._kept[id(data)] = table

    def kept(self, data: bytes) -> Table | None:
        """The table that was saved as ``data``: this object, not one that is equal to it.

        So a table says what the state says, whatever became of the record that saved it.
        """
        table = self._kept.pop(id(data), None)
        return table if table is not None and table.says(data) else None


#: Tables kept of each kind of column, and bytes of each at most.
_KEPT_TABLES = 2048
_KEPT_BYTES = 16 * 1024

_ALL: WeakSet[Columns] = WeakSet()


def columns_in_use(step: str) -> list[Columns]:
    """Columns a step's tables may have: those it was seen to use, then all others."""
    return sorted(_ALL, key=lambda columns: step not in columns.users)


#: Format, layout version, padding after the names, rows here, chunks in all, bytes of names.
_HEAD = struct.Struct("<BBHIII")
_FORMAT = 1


class Table:
    """Numbers per tag. Arrays are the table's own: steps write to them and call :meth:`save`.

    Stored in chunks of a range of rows, so that no value grows past :data:`CHUNK`; a chunk that
    did not change is not written. Rows are in the order in which their tags were first seen.
    """

    __slots__ = ("_buffer", "_columns", "_loaded", "_memory", "_names", "arrays")

    def __init__(
        self, memory: Memory, columns: Columns, names: bytes, arrays: dict[str, NDArray[Any]]
    ) -> None:
        self._memory, self._columns, self._names = memory, columns, names
        self.arrays = arrays
        #: What is saved, where the arrays are views of it: one chunk, and no new rows.
        self._buffer: bytearray | None = None
        self._loaded: list[bytes] = []

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each row."""
        return _names(self._names)[0]

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, column: str) -> NDArray[Any]:
        """The column's array, shape (rows,) or (rows, width); may be written to."""
        return self.arrays[column]

    @classmethod
    def load(cls, memory: Memory, columns: Columns) -> Table:
        """Read all chunks; raises StepError where they are of another layout."""
        data = memory.get("0")
        if data is None:
            arrays = {
                name: np.empty((0, width) if width else 0, dtype)
                for name, dtype, _, width in columns.items
            }
            return cls(memory, columns, b"", arrays)
        kept = columns.kept(data)
        if kept is not None:
            kept._memory = memory
            return kept
        count = _HEAD.unpack_from(data)[4]
        if count == 1:
            buffer = bytearray(data)
            table = cls(memory, columns, *_read(buffer, columns))
            table._loaded, table._buffer = [data], buffer
            return table
        chunks, names, parts = [data], [], []
        for number in range(1, count):
            more = memory.get(str(number))
            if more is None:
                raise StepError(f"state chunk {number} of {count} is missing")
            chunks.append(more)
        for chunk in chunks:
            name, arrays = _read(bytearray(chunk), columns)
            names.append(name)
            parts.append(arrays)
        arrays = {
            name: np.concatenate([part[name] for part in parts]) for name, *_ in columns.items
        }
        table = cls(memory, columns, b"\0".join(names), arrays)
        table._loaded = chunks
        return table

    def rows(self, tags: tuple[str, ...]) -> NDArray[np.intp]:
        """The row of each tag, shape (len(tags),); tags not seen before get new rows."""
        return self._rows(tags)[0]

    def rows_of(self, tags: tuple[str, ...], groups: Groups) -> Rows:
        """The row of each run of a series of these tags, as an index of the columns.

        Where the runs are just the rows, it is a slice: what it selects is a view, not a copy.
        """
        rows, in_order = self._rows(tags)
        if in_order and groups.tag.size == len(tags) and groups.counts_up:
            return _EVERY
        return rows[groups.tag]

    def _rows(self, tags: tuple[str, ...]) -> tuple[NDArray[np.intp], bool]:
        rows, missing, in_order = _lookup(self._names, tags)
        if missing:
            self._grow(missing)
            rows, _, in_order = _lookup(self._names, tags)
        return rows, in_order

    def _grow(self, tags: tuple[str, ...]) -> None:
        more = "\0".join(tags).encode()
        self._names = self._names + b"\0" + more if self._names else more
        self._buffer = None
        for name, dtype, initial, width in self._columns.items:
            new = np.full((len(tags), width) if width else len(tags), initial, dtype)
            self.arrays[name] = np.concatenate([self.arrays[name], new])

    def save(self) -> None:
        """Write the chunks that changed."""
        if self._buffer is not None:
            data = bytes(self._buffer)
            if data == self._loaded[0]:
                data = self._loaded[0]
            else:
                self._memory.put(data, "0")
                self._loaded[0] = data
            self._columns.keep(self, data)
            return
        columns, size = self._columns, len(self.tags)
        if not size:
            return
        bounds = _bounds(self._names, columns.row)
        count = len(bounds)
        for number, (low, high) in enumerate(bounds):
            if count == 1:
                names = self._names
                parts = [self.arrays[name].tobytes() for name, *_ in columns.items]
            else:
                names = "\0".join(self.tags[low:high]).encode()
                parts = [self.arrays[name][low:high].tobytes() for name, *_ in columns.items]
            pad = -(_HEAD.size + len(names)) % 8
            head = _HEAD.pack(_FORMAT, columns.version, pad, high - low, count, len(names))
            data = b"".join((head, names, bytes(pad), *parts))
            if number >= len(self._loaded) or self._loaded[number] != data:
                self._memory.put(data, str(number))

    def says(self, data: bytes) -> bool:
        """Whether it was saved as ``data``, and not written to since."""
        if self._buffer is None or self._loaded[0] is not data:
            return False
        return bytes(self._buffer) == data

    def drop(self) -> None:
        """Forget all rows, as they were saved last."""
        for number in range(len(self._loaded)):
            self._memory.drop(str(number))


def _read(data: bytearray, columns: Columns) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """The names and columns of a chunk; the arrays are views of it."""
    form, version, pad, rows, _, length = _HEAD.unpack_from(data)
    if form != _FORMAT or version != columns.version:
        raise StepError(
            f"state has layout {form}.{version}, this code reads {_FORMAT}.{columns.version}"
        )
    place = _HEAD.size
    names = bytes(data[place : place + length])
    place += length + pad
    arrays = {}
    for name, dtype, _, width in columns.items:
        end = place + rows * (width or 1) * dtype.itemsize
        if end > len(data):
            break
        arrays[name] = np.ndarray((rows, width) if width else (rows,), dtype, data, place)
        place = end
    if place != len(data) or len(arrays) != len(columns.items):
        raise StepError(f"state of {rows} rows has {len(data)} bytes, not what its layout says")
    return names, arrays


@lru_cache(maxsize=256)
def _bounds(names: bytes, row: int) -> tuple[tuple[int, int], ...]:
    """First row and end of each chunk; rows are only ever added, so chunks do not shift."""
    room = CHUNK - _HEAD.size - 8
    found, low, used = [], 0, 0
    tags = _names(names)[0]
    for place, tag in enumerate(tags):
        size = len(tag.encode()) + 1 + row
        if used + size > room and place > low:
            found.append((low, place))
            low, used = place, 0
        used += size
    return (*found, (low, len(tags)))


@lru_cache(maxsize=256)
def _names(names: bytes) -> tuple[tuple[str, ...], Mapping[str, int]]:
    tags = tuple(names.decode().split("\0")) if names else ()
    return tags, {tag: row for row, tag in enumerate(tags)}


def _lookup(
    names: bytes, tags: tuple[str, ...]
) -> tuple[NDArray[np.intp], tuple[str, ...], bool]:
    """The row of each tag, the tags that have none, and whether they are all rows in order."""
    if len(tags) > _REMEMBERED_TAGS:
        return _look_up(names, tags)
    return _remembered(names, tags)


def _look_up(
    names: bytes, tags: tuple[str, ...]
) -> tuple[NDArray[np.intp], tuple[str, ...], bool]:
    known, index = _names(names)
    missing = tuple(tag for tag in tags if tag not in index)
    rows = np.array([index.get(tag, -1) for tag in tags], dtype=np.intp)
    rows.flags.writeable = False
    return rows, missing, known == tags


#: Devices repeat short lists of tags; long ones are hardly repeated and would fill the memory.
_REMEMBERED_TAGS = 256
_remembered = lru_cache(maxsize=8192)(_look_up)
