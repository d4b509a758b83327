"""Open panes: what a window step remembers between records.

Time is cut into panes of one hop each, pane p covering [p·hop, (p+1)·hop). Window e ends at e·hop
and holds panes e−k … e−1 (k = size/hop). Per tag, the newest pane is in a table, one row a tag;
older panes that are still open are in a sparse store beside it, which most records never read.

A partial counts in the windows after FROM: a sample that came too late for the first windows of
its pane, but in time for the others, is kept as a partial of its own with a larger FROM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.core.state import Column, Columns, Memory, Table
from topologies.steps import chunks
from topologies.steps.extract import partials
from topologies.steps.extract.partials import BAD, FROM, PANE, Floats, Index, Ints, N

#: A row without samples (N and BAD both 0) has no open pane.
COLUMNS = Columns(1, ints=Column(np.int64, 0, 5), floats=Column(np.float64, 0, 8))

_STORE = "panes"
_WORDS = 1 + 5 + 8


class Panes(NamedTuple):
    """Partials of tags and panes: arrays of m rows, ``row`` being the tag's in the table."""

    row: Ints
    ints: Ints
    floats: Floats

    @property
    def size(self) -> int:
        """How many."""
        return int(self.row.size)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Panes:
        """Some of them."""
        return Panes(self.row[index], self.ints[index], self.floats[index])

    def fold(self, start: Index) -> Panes:
        """Segments merged into one each; row and pane of each segment's first."""
        if start.size == self.size:
            return self
        return Panes(self.row[start], *partials.fold(self.ints, self.floats, start))


def joined(first: Panes, second: Panes) -> Panes:
    """Both, one partial for each (row, PANE, FROM), in that order, which both already have."""
    if not second.size:
        return first
    if not first.size:
        return second
    every = Panes(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))
    # Stable: of equal ones the older comes first, and the merged one is relative to it.
    every = every.take(np.lexsort((every.ints[:, FROM], every.ints[:, PANE], every.row)))
    return every.fold(starts(every.row, every.ints[:, PANE], every.ints[:, FROM]))


def starts(*keys: NDArray[np.int64]) -> Index:
    """Where a new combination of keys begins, in arrays of one length (at least 1)."""
    new = np.ones(keys[0].size, dtype=bool)
    inner = new[1:]
    np.not_equal(keys[0][1:], keys[0][:-1], out=inner)
    for key in keys[1:]:
        inner |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def load(memory: Memory, table: Table) -> Panes:
    """All open panes, ordered by (row, PANE, FROM)."""
    ints = table["ints"]
    row = (ints[:, N] | ints[:, BAD]).nonzero()[0]
    newest = Panes(row, ints[row], table["floats"][row])
    data = chunks.get(memory, _STORE)
    if data is None:
        return newest
    size = len(data) // (8 * _WORDS)
    numbers = np.frombuffer(data, np.int64)
    older = Panes(
        numbers[:size],
        numbers[size : 6 * size].reshape(size, 5),
        numbers[6 * size :].view(np.float64).reshape(size, 8),
    )
    return joined(older, newest)


def close_rows(memory: Memory, table: Table, close: Callable[[Panes], Panes]) -> bool:
    """Put the table's panes through ``close``, which gives back those that stay open.

    False, and nothing is done, where older panes are kept beside the table.
    """
    if memory.get(_STORE) is not None:
        return False
    held = load(memory, table)
    if held.size:
        rest = close(held)
        if rest.size < held.size:
            table["ints"].fill(0)
            table["floats"].fill(0.0)
            table["ints"][rest.row], table["floats"][rest.row] = rest.ints, rest.floats
    return True


def save(memory: Memory, table: Table, panes: Panes) -> None:
    """Keep panes that are ordered by (row, PANE, FROM): each row's last one in the table."""
    ints, floats = table["ints"], table["floats"]
    ints[:] = 0
    floats[:] = 0.0
    older = panes.row[1:] == panes.row[:-1]
    crowded = bool(older.any())
    newest = panes.take(np.append(~older, True)) if crowded else panes
    ints[newest.row] = newest.ints
    floats[newest.row] = newest.floats
    table.save()
    if crowded:
        rest = panes.take(np.append(older, False))
        chunks.put(memory, _STORE, b"".join(column.tobytes() for column in rest))
    elif memory.get(_STORE) is not None:
        chunks.put(memory, _STORE, b"")
