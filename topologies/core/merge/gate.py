"""Who contributes to a key, and up to which time all of them are complete."""

from __future__ import annotations

import struct

import numpy as np

from models.records.between import Between
from models.records.features import ABSENT
from models.time import MAX_NS, NEVER
from topologies.core.state import Column, Columns, Memory

#: Whether a contributor holds others back: it does; it is a table; it never said anything and its
#: connector has been disconnected for longer than the horizon.
_HOLDS, _TABLE, _MUTE = 0, 1, 2
#: ``time``: every later row is at or after it. ``gone``, ``back``: between these event times it
#: was disconnected, and nobody waited for it.
_COLUMNS = Columns(
    1,
    time=Column(np.int64, NEVER),
    gone=Column(np.int64, NEVER),
    back=Column(np.int64, NEVER),
    role=Column(np.uint8, _HOLDS),
)
#: Format, whether all that were expected have been heard; what is released.
_PROGRESS = struct.Struct("<BBxxxxxxq")
_FORMAT = 1
_SEPARATOR = "\x1f"


class Gate:
    """Contributors of one key. A contributor is one lane of one asset of one input."""

    def __init__(
        self, memory: Memory, lanes: tuple[str, ...], expected: tuple[tuple[str, str], ...]
    ) -> None:
        self._memory = memory
        self._table = memory.part("contributors").table(_COLUMNS)
        data = memory.get("progress")
        #: All up to this event time has been released, ns.
        self.released = NEVER
        self._complete = not expected
        if data is not None:
            _, complete, self.released = _PROGRESS.unpack(data)
            self._complete = self._complete or bool(complete)
        self._saved = data
        self._lanes, self._expected = lanes, expected

    def hear(self, between: Between) -> tuple[bool, bool]:
        """What a record says of its contributor: whether it is a new one, and its time moved."""
        table = self._table
        name = _SEPARATOR.join((between.source, between.lane, between.asset))
        known = len(table)
        (row,) = table.rows((name,)).tolist()
        new = len(table) > known
        if between.table:
            table["role"][row] = _TABLE
            return new, False
        before = int(table["time"][row])
        if between.absent:
            # Since its newest row nobody waits for it, and its time goes on by heartbeats.
            if table["back"][row] < table["time"][row] or between.time == NEVER:
                table["gone"][row] = table["time"][row]
            table["back"][row] = MAX_NS if between.time == NEVER else between.time
            table["role"][row] = _MUTE if between.time == NEVER else _HOLDS
        elif table["role"][row] == _MUTE:
            table["role"][row], table["back"][row] = _HOLDS, between.time
        table["time"][row] = max(before, between.time)
        if not self._complete:
            self._complete = self._all_heard()
        return new, between.time > before

    def frontier(self) -> int:
        """All rows before this event time are here; NEVER where somebody is still to be heard."""
        holds = self._table["role"] == _HOLDS
        if not self._complete or not holds.any():
            return NEVER
        return int(np.min(self._table["time"], where=holds, initial=MAX_NS))

    def absent(self, cut: int) -> int:
        """The mark of results at an event time: whether somebody was disconnected then."""
        table = self._table
        gone = (table["gone"] <= cut) & (cut < table["back"])
        return ABSENT if gone.any() else 0

    def save(self) -> None:
        """Keep it."""
        self._table.save()
        data = _PROGRESS.pack(_FORMAT, self._complete, self.released)
        if data != self._saved:
            self._memory.put(data, "progress")

    def _all_heard(self) -> bool:
        heard = [name.split(_SEPARATOR) for name in self._table.tags]
        return all(
            any(lane == at and source in ("*", of) and asset in ("*", who) for of, at, who in heard)
            for source, asset in self._expected
            for lane in self._lanes
        )
