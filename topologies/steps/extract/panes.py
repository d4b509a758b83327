"""Open panes: what a window step remembers between records.

Time is cut into panes of one hop each, pane p covering [p·hop, (p+1)·hop). Window e ends at e·hop
and holds panes e−k … e−1 (k = size/hop). Each open pane is a table of its own, one partial a tag,
so a record reads and writes only the panes its samples lie in, and a pane's table is forgotten
whole when its last window has closed.

A pane counts in the windows after its ``since``, which is its own number; samples that came too
late for the first windows of their pane, but in time for the others, are kept in a pane beside it
with a later one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.time import NEVER
from topologies.core.jit import kernel
from topologies.core.state import Column, Columns, Memory, Table
from topologies.steps import chunks
from topologies.steps.extract.partials import BAD, TOLD, WIDTH, Ints, N

#: A table's row: the partial of a tag, its origin the start of the pane.
_COLUMNS = Columns(2, parts=Column(np.float64, 0, WIDTH))
_OPEN = "open"
_FLOOR = "floor"

#: Columns of what :func:`assign` fills: the place of a sample in the list of panes met, −1 where it
#: is left out. That list: number, since, the first of its samples and one past the last. The list
#: of late samples: which, and the newest window that had closed.
PLACE, NUMBER, SINCE, FIRST, STOP, WHICH, CLOSED = range(7)


class Pane(NamedTuple):
    """Which samples: those of a pane that count in the windows after ``since``."""

    number: int
    since: int

    @property
    def name(self) -> str:
        """Of its table."""
        late = self.since - self.number
        return f"{self.number}+{late}" if late else str(self.number)


class Panes:
    """The open panes of one key. Changes are kept by :meth:`save`."""

    __slots__ = ("_changed", "_memory", "_open", "_tables")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._open: set[Pane] | None = None
        self._tables: dict[Pane, Table] = {}
        self._changed = False

    @property
    def open(self) -> set[Pane]:
        """All of them."""
        if self._open is None:
            data = chunks.get(self._memory, _OPEN) or b""
            pairs = np.frombuffer(data, np.int64).reshape(-1, 2).tolist()
            self._open = {Pane(number, since) for number, since in pairs}
        return self._open

    @property
    def floor(self) -> int:
        """The newest window that closed before its time; NEVER where that is long ago."""
        data = chunks.get(self._memory, _FLOOR)
        return NEVER if data is None else int.from_bytes(data, "little", signed=True)

    def set_floor(self, window: int) -> None:
        """Remember a window that closes before its time; NEVER: none does."""
        data = b"" if window == NEVER else window.to_bytes(8, "little", signed=True)
        chunks.put(self._memory, _FLOOR, data)

    def crowd(self, most: int) -> list[Pane]:
        """The oldest panes, as many as there are more than ``most``."""
        # Only what is opened can be too many: most records open nothing.
        if not self._changed or len(self.open) <= most:
            return []
        return sorted(self.open)[: len(self.open) - most]

    def told(self) -> None:
        """All that is in the panes was told of."""
        for pane in self.open:
            parts = self.table(pane)["parts"]
            parts[:, TOLD] = parts[:, N] + parts[:, BAD]

    def table(self, pane: Pane) -> Table:
        """The partials of a pane; it is open from now on."""
        table = self._tables.get(pane)
        if table is None:
            table = self._tables[pane] = self._memory.part(pane.name).table(_COLUMNS)
            if not len(table):
                self.open.add(pane)
                self._changed = True
        return table

    def forget(self, pane: Pane) -> None:
        """A pane whose last window has closed."""
        self.table(pane).drop()
        del self._tables[pane]
        self.open.discard(pane)
        self._changed = True

    def save(self) -> None:
        """Keep what changed."""
        for table in self._tables.values():
            table.save()
        if self._changed:
            pairs = np.array(sorted(self.open), np.int64)
            chunks.put(self._memory, _OPEN, pairs.tobytes())


@kernel
def assign(
    t: Ints,
    clock: Ints,
    tag: NDArray[np.int32],
    wanted: NDArray[np.bool_],
    lowest: int,
    since_clock: int,
    until_clock: int,
    horizon: int,
    hop: int,
    grace: int,
    count: int,
    floor: int,
    work: Ints,
) -> tuple[int, int, int]:
    """To which pane each sample goes.

    ``wanted`` says which tags are taken; nobody's clock is less than ``lowest``, and samples are
    taken whose clock is from ``since_clock`` to ``until_clock``; what is past ``horizon`` is of the
    future; windows hold ``count`` panes of ``hop``, and those up to ``floor`` have closed.

    Fills ``work``, (n, 7). Gives how many panes were met, how many samples were too late for some
    window, and how many were from the future.
    """
    found = last = late = future = 0
    number, low, high = 0, 0, 0
    for i in range(t.size):
        work[i, PLACE] = -1
        now = max(clock[i], lowest)
        if not wanted[tag[i]] or now < since_clock or now > until_clock:
            continue
        if t[i] > horizon:
            future += 1
            continue
        if not low <= t[i] < high:
            number = t[i] // hop
            low, high = number * hop, (number + 1) * hop
        since = max(number, floor)
        if now - grace >= high:
            since = max(since, (now - grace) // hop)
        if since > number:
            work[late, WHICH], work[late, CLOSED] = i, since
            late += 1
            if since >= number + count:
                continue
        # Most samples are of the pane of the one before, or of the next.
        for _ in range(found):
            if work[last, NUMBER] == number and work[last, SINCE] == since:
                break
            last = last + 1 if last + 1 < found else 0
        else:
            last = found
            found += 1
            work[last, NUMBER], work[last, SINCE], work[last, FIRST] = number, since, i
        work[last, STOP] = i + 1
        work[i, PLACE] = last
    return found, late, future
