"""Flat line: a value that has stayed within a tolerance for too long.

A sample is flat for as long as the run behind it lasts: the longest run of samples up to it whose
values are all within the tolerance. Where a run begins follows from *breaks*: pairs of samples
that are further apart than the tolerance. Only samples that may still make a break with a later
one are remembered: those that no later sample exceeds, above or below.

To bound what is remembered, times of breaks are kept in cells of 1/256 of the longest duration
tested. With up to 256 samples in it the result is exact; with more, a run may begin one cell late.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.catalogue import FlatLine
from models.errors import StepError
from models.quality import FAIL, GOOD, SUSPECT
from models.time import MAX_NS, NEVER

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Cells in the longest duration.
CELLS = 256
#: Samples compared with each other at once.
_PIECE = 64
_HEAD = struct.Struct("<B7xqqqq")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a tag's run. Arrays of shape (points,), in order of time."""

    #: Length of a cell, ns.
    width: int
    #: Cell of the newest break, and when the run after it began (MAX_NS: no sample yet).
    broken: int
    since: int
    #: Remembered samples: cell, value, and time of the first sample in a later cell.
    cell: Ints
    value: Floats
    after: Ints

    def same(self, other: Run) -> bool:
        """Whether all later samples would be judged alike after both."""
        pending = self.since == MAX_NS and self.broken != other.broken
        return (
            self.since == other.since
            and not pending
            and np.array_equal(self.cell, other.cell)
            and np.array_equal(self.value, other.value)
            and np.array_equal(self.after, other.after)
        )

    def pack(self) -> bytes:
        """As state."""
        head = _HEAD.pack(_FORMAT, self.width, self.broken, self.since, self.cell.size)
        return head + self.cell.tobytes() + self.value.tobytes() + self.after.tobytes()


def unpack(data: bytes, limit: FlatLine) -> Run:
    """The inverse of :meth:`Run.pack`; a run kept for other durations begins anew."""
    form, width, broken, since, size = _HEAD.unpack_from(data)
    if form != _FORMAT or len(data) != _HEAD.size + 24 * size:
        raise StepError("state of the flat line test is of another layout")
    if width != _cell(limit):
        return nothing(limit)
    place = _HEAD.size
    cell = np.frombuffer(data, np.int64, size, place)
    value = np.frombuffer(data, np.float64, size, place + 8 * size)
    after = np.frombuffer(data, np.int64, size, place + 16 * size)
    return Run(width, broken, since, cell, value, after)


def nothing(limit: FlatLine) -> Run:
    """Before the first sample."""
    none = np.empty(0, np.int64)
    return Run(_cell(limit), NEVER, MAX_NS, none, np.empty(0), none)


def only(t: int, v: float, before: int, limit: FlatLine) -> Run:
    """After a sample that is apart from the one at ``before``."""
    width = _cell(limit)
    cell, broken = t // width, before // width
    known = cell > broken
    return Run(
        width,
        broken,
        t if known else MAX_NS,
        np.array([cell] if known else [], dtype=np.int64),
        np.array([v] if known else [], dtype=np.float64),
        np.array([MAX_NS] if known else [], dtype=np.int64),
    )


def _cell(limit: FlatLine) -> int:
    return max(1, max(limit.suspect, limit.fail or 0) // CELLS)


def flat_line(t: Ints, v: Floats, limit: FlatLine, run: Run) -> tuple[NDArray[np.uint8], Run]:
    """Flags of samples in order of time (shape (n,), no NaN), and the run after them.

    SUSPECT where the run is at least ``limit.suspect`` long, FAIL at ``limit.fail``. As in
    ``ioos_qc`` values are flat while their range is *below* the tolerance, and a tolerance of 0,
    with which ``ioos_qc`` never flags, means equal values. On an evenly spaced series without
    missing values, and durations that are multiples of its interval, flags are those of
    ``ioos_qc``; a missing value makes no break.
    """
    flags = np.full(t.shape, GOOD, np.uint8)
    for begin in range(0, t.size, _PIECE):
        piece = slice(begin, begin + _PIECE)
        since, run = _extend(t[piece], v[piece], limit, run)
        lasted = t[piece] - since
        lasted[since > t[piece]] = -1
        flags[piece][lasted >= limit.suspect] = SUSPECT
        if limit.fail is not None:
            flags[piece][lasted >= limit.fail] = FAIL
    return flags, run


def _extend(t: Ints, v: Floats, limit: FlatLine, run: Run) -> tuple[Ints, Run]:
    """When the run behind each sample began, and the run after the last."""
    cell = t // run.width
    first_later = np.searchsorted(cell, cell, side="right")
    times = np.append(t, MAX_NS)
    cells = np.concatenate((run.cell, cell))
    values = np.concatenate((run.value, v))
    after = np.concatenate((run.after, times[first_later]))
    open_ends = after == MAX_NS
    after[open_ends] = times[np.searchsorted(cell, cells[open_ends], side="right")]
    since = run.since
    if since == MAX_NS:
        since = int(times[np.searchsorted(cell, run.broken, side="right")])

    with np.errstate(over="ignore"):
        apart = np.abs(values[:, None] - v[None, :])
    breaks = apart >= limit.tolerance if limit.tolerance > 0 else apart > 0
    known = run.cell.size
    breaks &= np.arange(values.size)[:, None] < known + np.arange(v.size)[None, :]
    newest = np.where(breaks, cells[:, None], run.broken).max(axis=0)
    broken = np.maximum.accumulate(np.maximum(newest, run.broken))
    places = np.searchsorted(cells, broken, side="left")
    found = after[np.minimum(places, cells.size - 1)]
    begun: Ints = np.where(broken == run.broken, since, found)

    last = int(broken[-1])
    keep = _records(cells, values) & (cells > last)
    oldest = int(t[-1]) - max(limit.suspect, limit.fail or 0)
    keep &= after > oldest
    return begun, Run(run.width, last, int(begun[-1]), cells[keep], values[keep], after[keep])


def _records(cells: Ints, values: Floats) -> NDArray[np.bool_]:
    """Which samples no later one exceeds, above or below: one of each kind a cell."""
    keep = np.zeros(values.size, dtype=bool)
    for sign in (1.0, -1.0):
        signed = sign * values
        best = np.maximum.accumulate(signed[::-1])[::-1]
        record = np.ones(values.size, dtype=bool)
        record[:-1] = signed[:-1] > best[1:]
        places = np.flatnonzero(record)
        first = np.ones(places.size, dtype=bool)
        first[1:] = cells[places][1:] != cells[places][:-1]
        keep[places[first]] = True
    return keep
