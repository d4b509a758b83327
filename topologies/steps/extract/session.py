"""Sessions: windows of samples with no long gap between them, per tag."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.time import MAX_NS, MIN_NS, Duration, format_duration
from topologies.core.flow import Flow
from topologies.core.jit import kernel
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Bound, Context
from topologies.steps.extract import rows
from topologies.steps.extract.base import Windowed, bounded, rows_of, too_late
from topologies.steps.extract.partials import BAD, WIDTH, Floats, Ints, N, add, merge
from topologies.steps.extract.rows import tell
from topologies.steps.patterns import Matcher

#: Times of a session: of its first sample to come, the oldest, the newest.
_ORIGIN, _FIRST, _LAST = range(3)


class Session(Windowed):
    """Statistics of each tag's sessions: samples less than a gap apart, for a limited time.

    ``start`` is the time of the oldest sample, ``end`` that of the newest + gap, at most start +
    longest; a sample from there on begins another session. A session closes when the key's time
    reaches its end + grace, by data or by heartbeat; until then a sample between two sessions may
    join them. Rows are ordered by (end, tag). A sample for which no session is open, and whose own
    would be closed, is left out, counted (``late``) and told of in an output of kind ``late`` with
    that window; one of bad quality is left out and counted in the row (``bad``), but belongs to the
    session; one from the future, or from before 1820, is left out and counted (``future``,
    ``too_old``).

    At most ``most_open`` sessions of a tag are open. Of more, the oldest closes before its time:
    its row is marked partial and counted (``early``).
    """

    kind: ClassVar[str] = "session"
    state_version: ClassVar[int] = 1
    state_parameters: ClassVar[tuple[str, ...]] = ("most_open",)
    loses: ClassVar[str] = "sessions that are open begin anew"

    gap: Duration = Field(gt=0, description="A silence of this length ends a session")
    longest: Duration = Field(
        3_600_000_000_000, gt=0, description="Sessions are cut at this length"
    )
    grace: Duration = Field(0, ge=0, description="How long a session stays open after its end")
    most_open: int = Field(4, ge=1, le=256, description="Most open sessions of a tag")

    @model_validator(mode="after")
    def _sensible(self) -> Session:
        if self.longest < self.gap:
            raise ValueError(
                f"longest ({format_duration(self.longest)}) is less than the gap"
                f" ({format_duration(self.gap)})"
            )
        return self

    @property
    def summary(self) -> str:
        text = f"gap {format_duration(self.gap)}, at most {format_duration(self.longest)}"
        return f"{text}, grace {format_duration(self.grace)}" if self.grace else text

    def bind(self, context: Context) -> Bound:
        name, skew, most = self.name, context.max_future_skew, self.most_open
        spans = (self.gap, self.longest, self.grace)
        wanted = Matcher(self.tags)

        def session(flow: Flow, memory: Memory) -> None:
            block, now = flow.block, max(flow.time.now, MIN_NS + self.grace)
            flow.lane_time[name] = now - self.grace
            table = memory.table(_columns(most))
            late, row = np.empty((0, 3), np.int64), np.empty(0, np.intp)
            if len(block):
                row = rows_of(table, block.tags, wanted)
            times = table["times"].reshape(-1, most, 3)
            parts = table["parts"].reshape(-1, most, WIDTH)
            told = rows.room(len(block) + len(times) * most)
            filled = 0
            if len(block):
                assert block.clock is not None
                filled, late, future = _take(
                    row,
                    block.tag,
                    block.t,
                    block.v,
                    block.q,
                    block.clock,
                    max(flow.before.now, MIN_NS + self.grace),
                    min(flow.received + skew, MAX_NS),
                    *spans,
                    times,
                    parts,
                    *told,
                )
                flow.count("future", future)
                too_late(flow, name, late[:, 0], late[:, 1], late[:, 2])
            if len(times):
                filled = _close_all(now, *spans, times, parts, *told, filled)
                rows.put(flow, name, table.tags, told, filled, self.statistics)
                table.save()

        return bounded(session)


@lru_cache(maxsize=64)
def _columns(most: int) -> Columns:
    """So many places for open sessions; one without samples is free."""
    return Columns(
        1, times=Column(np.int64, 0, most * 3), parts=Column(np.float64, 0, most * WIDTH)
    )


@kernel
def _take(
    row: NDArray[np.intp],
    tag: NDArray[np.int32],
    t: Ints,
    v: Floats,
    q: NDArray[np.uint8],
    clock: Ints,
    lowest: int,
    horizon: int,
    gap: int,
    longest: int,
    grace: int,
    times: Ints,
    parts: Floats,
    ints: Ints,
    said: Floats,
) -> tuple[int, Ints, int]:
    """Take samples, and tell of sessions that had closed before one came.

    ``times`` and ``parts``: (rows, most, ·). How many were told of; late samples, (l, 3): which,
    and the window it missed; and how many samples were from the future.
    """
    late = np.empty((t.size, 3), np.int64)
    filled = lates = future = 0
    for i in range(t.size):
        at = row[tag[i]]
        if at < 0:
            continue
        if t[i] > horizon:
            future += 1
            continue
        time, part = times[at], parts[at]
        now = max(clock[i], lowest)
        filled = _close(now, gap, longest, grace, time, part, at, ints, said, filled)
        place = _joins(t[i], t[i], gap, longest, time, part, -1)
        if place < 0:
            if t[i] + gap <= now - grace:
                late[lates, 0], late[lates, 1], late[lates, 2] = i, t[i], t[i] + gap
                lates += 1
                continue
            place = _free(part)
            if place < 0:
                place = _oldest(time, part)
                end = _end(time[place], gap, longest)
                tell(ints, said, filled, at, time[place, _FIRST], end, part[place], True)
                filled += 1
                part[place] = 0.0
            time[place] = t[i]
        one = time[place]
        one[_FIRST], one[_LAST] = min(one[_FIRST], t[i]), max(one[_LAST], t[i])
        add(part[place], t[i] - one[_ORIGIN], v[i], q[i])
        other = _joins(one[_FIRST], one[_LAST], gap, longest, time, part, place)
        if other >= 0:
            one[_FIRST] = min(one[_FIRST], time[other, _FIRST])
            one[_LAST] = max(one[_LAST], time[other, _LAST])
            merge(part[place], part[other], time[other, _ORIGIN] - one[_ORIGIN])
            part[other] = 0.0
    return filled, late[:lates], future


@kernel
def _joins(
    first: int, last: int, gap: int, longest: int, times: Ints, parts: Floats, but: int
) -> int:
    """The oldest open session that samples from ``first`` to ``last`` belong to; −1: none."""
    found = -1
    for place in range(len(parts)):
        if place == but or parts[place, N] + parts[place, BAD] == 0:
            continue
        start, end = times[place, _FIRST], times[place, _LAST]
        near = first - end < gap and start - last < gap
        short = max(last, end) - min(first, start) < longest
        if near and short and (found < 0 or start < times[found, _FIRST]):
            found = place
    return found


@kernel
def _free(parts: Floats) -> int:
    """A place without a session; −1: there is none."""
    for place in range(len(parts)):
        if parts[place, N] + parts[place, BAD] == 0:
            return place
    return -1


@kernel
def _oldest(times: Ints, parts: Floats) -> int:
    """The open session that began first; −1: none is open."""
    found = -1
    for place in range(len(parts)):
        older = found < 0 or times[place, _FIRST] < times[found, _FIRST]
        if parts[place, N] + parts[place, BAD] > 0 and older:
            found = place
    return found


@kernel
def _end(time: Ints, gap: int, longest: int) -> int:
    end: int = min(time[_LAST] + gap, time[_FIRST] + longest)
    return end


@kernel
def _close(
    now: int,
    gap: int,
    longest: int,
    grace: int,
    times: Ints,
    parts: Floats,
    row: int,
    ints: Ints,
    said: Floats,
    filled: int,
) -> int:
    """Tell of a tag's sessions that are over at ``now``; how many rows there are then."""
    for place in range(len(parts)):
        if parts[place, N] + parts[place, BAD] > 0:
            end = _end(times[place], gap, longest)
            if end <= now - grace:
                start = times[place, _FIRST]
                tell(ints, said, filled, row, start, end, parts[place], False)
                parts[place] = 0.0
                filled += 1
    return filled


@kernel
def _close_all(
    now: int,
    gap: int,
    longest: int,
    grace: int,
    times: Ints,
    parts: Floats,
    ints: Ints,
    said: Floats,
    filled: int,
) -> int:
    """Tell of the sessions of all tags that are over at ``now``; how many rows there are then."""
    for row in range(len(times)):
        filled = _close(now, gap, longest, grace, times[row], parts[row], row, ints, said, filled)
    return filled
