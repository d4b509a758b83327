"""Registers to numbers: a plan per layout of reads, applied to all polls of it at once.

A plan gathers the bytes of all fields of one type into big-endian order in one index operation and
reads them through a view of that type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.errors import MalformedRecord
from models.modbus import ModbusField, ModbusTemplate
from models.records.raw import ModbusPoll, ModbusRead
from models.records.values import EXACT, Typed
from models.time import MAX_NS, MIN_NS, NS_PER_MS, NS_PER_S

#: Each read of a poll as (table, address, count, exception).
Layout = tuple[tuple[str, int, int, int], ...]

_VIEWS = {
    "int8": "i1", "uint8": "u1", "int16": ">i2", "uint16": ">u2", "int32": ">i4", "uint32": ">u4",
    "int64": ">i8", "uint64": ">u8", "float16": ">f2", "float32": ">f4", "float64": ">f8",
}  # fmt: skip
_TIME_UNITS = {"time_ns": 1, "time_ms": NS_PER_MS, "time_s": NS_PER_S}
#: Code that also stands for a unit that did not answer ("gateway target device failed").
NO_ANSWER = 11


def layout_of(poll: ModbusPoll) -> Layout:
    """What was read in a poll, without the values."""
    return tuple((read.table, read.address, read.count, read.exception) for read in poll.reads)


def byte_order(count: int, order: str) -> list[int]:
    """Where the bytes of a value, most significant first, are among ``count`` bytes as sent."""
    words = [[place, place + 1] for place in range(0, count, 2)]
    if order in ("DCBA", "CDAB"):
        words.reverse()
    if order in ("DCBA", "BADC"):
        words = [word[::-1] for word in words]
    return [place for word in words for place in word]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Fields of one type: their columns, and where their bytes are, shape (fields, bytes)."""

    columns: NDArray[np.intp]
    places: NDArray[np.intp]
    view: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How the polls of one layout become samples. ``tags`` are the fields that give one each."""

    tags: tuple[str, ...]
    #: Flags and exception codes of a poll's samples, shape (tags,).
    q: NDArray[np.uint8]
    code: NDArray[np.uint32]
    numbers: tuple[_Numbers, ...]
    #: Bits: column, place of the register, and mask (0xFFFF: any bit).
    bits: tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint16]]
    #: Text: column and places of its bytes.
    texts: tuple[tuple[int, list[int]], ...]
    #: Columns of integers that float64 may not hold, where they are not scaled.
    wide: frozenset[int]
    scale: NDArray[np.float64] | None
    offset: NDArray[np.float64] | None
    #: Name, field and byte places of the field that gives the time.
    time: tuple[str, ModbusField, NDArray[np.intp]] | None

    def times(self, polls: Sequence[ModbusPoll], registers: NDArray[np.uint16]) -> list[int]:
        """Event time of each poll, ns: the time field's where it was read, else when polled."""
        if self.time is None:
            return [poll.t for poll in polls]
        name, field, places = self.time
        raw = _bytes(registers).take(places, axis=1).view(_VIEWS[field.type])[:, 0]
        return [_time(value, name, field) for value in raw.tolist()]

    def samples(
        self, registers: NDArray[np.uint16]
    ) -> tuple[NDArray[np.float64], list[tuple[int, int, str, Any]]]:
        """Values of shape (polls, tags), and typed ones as (poll, column, kind, value)."""
        polls = len(registers)
        v = np.full((polls, len(self.tags)), np.nan)
        typed: list[tuple[int, int, str, Any]] = []
        raw = _bytes(registers)
        for part in self.numbers:
            found = raw.take(part.places, axis=1).view(part.view)[..., 0]
            v[:, part.columns] = found
            if part.view in (">i8", ">u8"):
                typed += self._exact(part, found)
        columns, places, masks = self.bits
        if columns.size:
            v[:, columns] = (registers[:, places] & masks) != 0
        if self.scale is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                v *= self.scale
                v += self.offset
        for column, text in self.texts:
            for poll, characters in enumerate(raw[:, text]):
                typed.append((poll, column, "s", _text(characters.tobytes())))
        for poll, column in np.argwhere(~np.isfinite(v)).tolist():
            if self.q[column] == quality.GOOD and column not in dict(self.texts):
                typed.append((poll, column, "f", str(float(v[poll, column]))))
        return v, typed

    def _exact(self, part: _Numbers, found: NDArray[Any]) -> list[tuple[int, int, str, Any]]:
        big = found > EXACT
        if part.view == ">i8":
            big |= found < -EXACT
        return [
            (poll, int(part.columns[at]), "i", str(int(found[poll, at])))
            for poll, at in np.argwhere(big).tolist()
            if int(part.columns[at]) in self.wide
        ]


def make_plan(template: ModbusTemplate, layout: Layout) -> Plan:
    """The plan for a layout of reads. Fields that no read covers give no samples."""
    tags: list[str] = []
    codes: list[int] = []
    numbers: dict[str, list[tuple[int, list[int]]]] = {}
    bits: list[tuple[int, int, int]] = []
    texts: list[tuple[int, list[int]]] = []
    wide: set[int] = set()
    fields: list[ModbusField] = []
    time = None
    for name, field in template.fields.items():
        found = _find(field, layout)
        if found is None:
            continue
        place, exception = found
        if field.role != "value":
            if not exception:
                time = (name, field, np.array(_places(field, place), dtype=np.intp))
            continue
        column = len(tags)
        tags.append(name)
        fields.append(field)
        codes.append(exception)
        if exception:
            continue
        if field.type == "bool":
            bits.append((column, place, 0xFFFF if field.bit is None else 1 << field.bit))
        elif field.type == "string":
            texts.append((column, _places(field, place)))
        else:
            numbers.setdefault(field.type, []).append((column, _places(field, place)))
            if field.scale == 1 and field.offset == 0:
                wide.add(column)
    code = np.array(codes, dtype=np.uint32)
    q = np.where(
        code == 0, quality.GOOD, np.where(code == NO_ANSWER, quality.MISSING, quality.FAIL)
    )
    scaled = any(field.scale != 1 or field.offset != 0 for field in fields)
    return Plan(
        tuple(tags),
        q.astype(np.uint8),
        code,
        tuple(
            _Numbers(
                np.array([column for column, _ in entries], dtype=np.intp),
                np.array([places for _, places in entries], dtype=np.intp),
                _VIEWS[kind],
            )
            for kind, entries in numbers.items()
        ),
        (
            np.array([bit[0] for bit in bits], dtype=np.intp),
            np.array([bit[1] for bit in bits], dtype=np.intp),
            np.array([bit[2] for bit in bits], dtype=np.uint16),
        ),
        tuple(texts),
        frozenset(wide),
        np.array([field.scale for field in fields]) if scaled else None,
        np.array([field.offset for field in fields]) if scaled else None,
        time,
    )


def _find(field: ModbusField, layout: Layout) -> tuple[int, int] | None:
    """Place of a field among all registers of a poll, and 0; or 0 and the exception; or None."""
    failed: int | None = None
    base = 0
    for table, address, count, exception in layout:
        covered = (
            table == field.table
            and address <= field.address
            and field.address + field.registers <= address + count
        )
        if covered and not exception:
            return base + field.address - address, 0
        if covered and failed is None:
            failed = exception
        if not exception:
            base += count
    return None if failed is None else (0, failed)


def _places(field: ModbusField, place: int) -> list[int]:
    order = byte_order(2 * field.registers, field.order)
    places = [2 * place + byte for byte in order]
    return places[-1:] if field.type in ("int8", "uint8") else places


def stack(polls: Sequence[ModbusPoll]) -> NDArray[np.uint16]:
    """All registers of polls of one layout, shape (polls, registers)."""
    rows = [_row(poll.reads) for poll in polls]
    return np.array(rows, dtype=np.uint16).reshape(len(polls), -1)


def _row(reads: Sequence[ModbusRead]) -> Sequence[int]:
    if len(reads) == 1 and not reads[0].exception:
        return reads[0].registers
    return [value for read in reads if not read.exception for value in read.registers]


def _bytes(registers: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Bytes as they were sent, shape (polls, 2 × registers)."""
    return registers.astype(">u2").view(np.uint8)


def _time(value: float, name: str, field: ModbusField) -> int:
    unit = _TIME_UNITS[field.role]
    try:
        if field.scale != 1 or field.offset != 0 or isinstance(value, float):
            ns = round((value * field.scale + field.offset) * unit)
        else:
            ns = value * unit
    except (OverflowError, ValueError):
        ns = MAX_NS + 1
    if not MIN_NS <= ns <= MAX_NS:
        raise MalformedRecord(f"raw-modbus: time field {name!r} is out of range (got {value!r})")
    return ns


def _text(characters: bytes) -> str:
    return characters.split(b"\0", 1)[0].decode("utf-8", "replace").rstrip()


def typed_of(entries: list[tuple[int, int, str, Any]], width: int) -> list[Typed]:
    """Typed values at their place in samples of ``width`` a poll."""
    return [(poll * width + column, kind, value) for poll, column, kind, value in entries]
