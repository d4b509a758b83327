"""Sliding windows: what came before each sample, per tag."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.time import MAX_NS, MIN_NS, NEVER, Duration, format_duration
from topologies.core.flow import Flow
from topologies.core.jit import kernel
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Bound, Context
from topologies.steps import chunks
from topologies.steps.extract import rows
from topologies.steps.extract.base import Windowed, bounded, rows_of, too_late
from topologies.steps.extract.partials import WIDTH, Floats, Ints, add
from topologies.steps.extract.rows import tell
from topologies.steps.patterns import Matcher

Flags = NDArray[np.uint8]

_HELD = "held"
#: Of a tag: samples held; the newest of their times whose window closed, and of those told of; the
#: newest sample that was let go though windows may still want it.
_COLUMNS = Columns(
    1,
    held=Column(np.int64),
    passed=Column(np.int64, NEVER),
    told=Column(np.int64, NEVER),
    lost=Column(np.int64, NEVER),
)


class Sliding(Windowed):
    """Statistics of each tag's samples from ``size`` before a sample to the sample, both included.

    One row for each time at which there is a sample; with ``every``, for the first in each span of
    that length. A window closes when the key's time is past its end + grace, by data or by
    heartbeat. Rows are ordered by (end, tag). A sample whose own window is closed has no row, and
    counts in those that are not closed; it is counted (``late``) and told of in an output of kind
    ``late`` with that window. One of bad quality is left out and counted in the row (``bad``); one
    from the future, or from before 1820, is left out and counted (``future``, ``too_old``).

    A row takes the time of a walk through its window: of long ones want fewer rows. Of each tag
    the newest ``most_samples`` are held; a window that lacks some is marked partial and counted
    (``early``).
    """

    kind: ClassVar[str] = "sliding"
    state_version: ClassVar[int] = 1
    state_parameters: ClassVar[tuple[str, ...]] = ("size",)
    loses: ClassVar[str] = "windows lack the samples that came before"

    size: Duration = Field(gt=0, description="How far a window reaches back")
    every: Duration = Field(0, ge=0, description="At most one row of a tag in each such span")
    grace: Duration = Field(0, ge=0, description="How long a window waits for older samples")
    most_samples: int = Field(10_000, ge=1, le=1_000_000, description="Most samples held of a tag")

    @property
    def summary(self) -> str:
        text = f"last {format_duration(self.size)}"
        if self.every:
            text += f", every {format_duration(self.every)}"
        return f"{text}, grace {format_duration(self.grace)}" if self.grace else text

    def bind(self, context: Context) -> Bound:
        name, skew, grace = self.name, context.max_future_skew, self.grace
        wanted = Matcher(self.tags)

        def sliding(flow: Flow, memory: Memory) -> None:
            block, now = flow.block, max(flow.time.now, MIN_NS + grace + self.size + 1)
            flow.lane_time[name] = now - grace - 1
            table = memory.table(_COLUMNS)
            row = np.empty(0, np.intp)
            if len(block):
                row = rows_of(table, block.tags, wanted)
            elif not len(table) or flow.time.now == flow.before.now:
                return
            before = table["held"].copy()
            room = before + np.bincount(row[block.tag][row[block.tag] >= 0], minlength=before.size)
            held = _spread(_load(memory), before, room)
            told = rows.room(held[0].size)
            assert block.clock is not None
            filled, late, future = _slide(
                row,
                block.tag,
                block.t,
                block.v,
                block.q,
                block.clock,
                max(flow.before.now, MIN_NS + grace + self.size),
                now,
                min(flow.received + skew, MAX_NS),
                self.size,
                self.every,
                grace,
                self.most_samples,
                np.cumsum(room) - room,
                table["held"],
                table["passed"],
                table["told"],
                table["lost"],
                *held,
                *told,
            )
            flow.count("future", future)
            too_late(flow, name, late, block.t[late] - self.size, block.t[late])
            rows.put(flow, name, table.tags, told, filled, self.statistics)
            _save(memory, held, table["held"], room)
            table.save()

        return bounded(sliding)


def _load(memory: Memory) -> tuple[Ints, Floats, Flags]:
    """Times, values and flags of the samples held, tag by tag, each in order of time."""
    data = chunks.get(memory, _HELD) or b""
    size = len(data) // 17
    t, v = np.frombuffer(data, np.int64, size), np.frombuffer(data, np.float64, size, 8 * size)
    return t, v, np.frombuffer(data, np.uint8, size, 16 * size)


def _save(memory: Memory, held: tuple[Ints, Floats, Flags], size: Ints, room: Ints) -> None:
    kept = _places(size, room)
    chunks.put(memory, _HELD, b"".join(column[kept].tobytes() for column in held))


def _spread(held: tuple[Ints, Floats, Flags], size: Ints, room: Ints) -> tuple[Ints, Floats, Flags]:
    """The same, each tag's at the beginning of so much room."""
    most, places = int(room.sum()), _places(size, room)
    t, v, q = np.empty(most, np.int64), np.empty(most), np.empty(most, np.uint8)
    t[places], v[places], q[places] = held
    return t, v, q


def _places(size: Ints, room: Ints) -> NDArray[np.bool_]:
    """Where the samples are, so many of each tag at the beginning of its room."""
    start = np.repeat(np.cumsum(room) - room, room)
    mask: NDArray[np.bool_] = np.arange(start.size) - start < np.repeat(size, room)
    return mask


@kernel
def _slide(
    row: NDArray[np.intp],
    tag: NDArray[np.int32],
    t: Ints,
    v: Floats,
    q: Flags,
    clock: Ints,
    lowest: int,
    now: int,
    horizon: int,
    size: int,
    every: int,
    grace: int,
    most: int,
    first: Ints,
    held: Ints,
    passed: Ints,
    told: Ints,
    lost: Ints,
    held_t: Ints,
    held_v: Floats,
    held_q: Flags,
    ints: Ints,
    said: Floats,
) -> tuple[int, Ints, int]:
    """Take samples, and tell of the windows that have closed, before each and at ``now``.

    ``first``, ``held`` … ``lost``: (rows,), where each tag's samples begin, and what is known of
    it. How many rows were told; the samples that were late, (l,); how many were from the future.
    """
    late = np.empty(t.size, np.int64)
    filled = lates = future = 0
    # Samples let go are passed over, and overwritten at the end: a move for each would be slow.
    gone = np.zeros(held.size, np.int64)
    for i in range(t.size):
        at = row[tag[i]]
        if at < 0:
            continue
        if t[i] > horizon:
            future += 1
            continue
        upto = max(clock[i], lowest) - grace
        low = first[at] + gone[at]
        one_t, one_v, one_q = held_t[low:], held_v[low:], held_q[low:]
        filled = _close(
            upto, size, every, most, at, held, passed, told, lost, one_t, one_v, one_q, ints, said,
            filled,
        )  # fmt: skip
        if t[i] < upto:
            late[lates] = i
            lates += 1
            if t[i] < upto - size:
                continue
            # Its own window is closed: it is told of as late, and never as a row.
            passed[at] = max(passed[at], t[i])
        # What is too many goes when a sample comes, never at a record's end: what windows hold does
        # not depend on how samples were split.
        old = _unwanted(upto - size, held[at], one_t)
        if held[at] - old > most:
            old = held[at] - most
            lost[at] = max(lost[at], one_t[old - 1])
        gone[at] += old
        held[at] -= old
        one_t, one_v, one_q = one_t[old:], one_v[old:], one_q[old:]
        # Into its place: behind those of the same time.
        place = held[at]
        while place > 0 and one_t[place - 1] > t[i]:
            one_t[place], one_v[place] = one_t[place - 1], one_v[place - 1]
            one_q[place] = one_q[place - 1]
            place -= 1
        one_t[place], one_v[place], one_q[place] = t[i], v[i], q[i]
        held[at] += 1
    for at in range(held.size):
        low = first[at] + gone[at]
        one_t, one_v, one_q = held_t[low:], held_v[low:], held_q[low:]
        filled = _close(
            now - grace, size, every, most, at, held, passed, told, lost, one_t, one_v, one_q, ints,
            said, filled,
        )  # fmt: skip
        old = _unwanted(now - grace - size, held[at], one_t)
        gone[at] += old
        held[at] -= old
        if gone[at] > 0:
            for to in range(first[at], first[at] + held[at]):
                held_t[to], held_v[to] = held_t[to + gone[at]], held_v[to + gone[at]]
                held_q[to] = held_q[to + gone[at]]
    return filled, late[:lates], future


@kernel
def _close(
    upto: int,
    size: int,
    every: int,
    most: int,
    at: int,
    held: Ints,
    passed: Ints,
    told: Ints,
    lost: Ints,
    t: Ints,
    v: Floats,
    q: Flags,
    ints: Ints,
    said: Floats,
    filled: int,
) -> int:
    """Tell of a tag's windows that end before ``upto``; how many rows there are then."""
    part = np.empty(WIDTH)
    known = t[: held[at]]
    for last in range(np.searchsorted(known, passed[at], "right"), held[at]):
        end = t[last]
        if end >= upto:
            break
        if last + 1 < held[at] and t[last + 1] == end:
            continue
        passed[at] = end
        if every > 0 and told[at] != NEVER and end // every == told[at] // every:
            continue
        told[at] = end
        part[:] = 0.0
        first = np.searchsorted(known, end - size)
        early = lost[at] >= end - size or last + 1 - first > most
        for i in range(max(first, last + 1 - most), last + 1):
            add(part, t[i] - end, v[i], q[i])
        tell(ints, said, filled, at, end - size, end, part, early)
        filled += 1
    return filled


@kernel
def _unwanted(oldest: int, held: int, t: Ints) -> int:
    """How many of a tag's samples are older than ``oldest``: no window wants them."""
    old = 0
    while old < held and t[old] < oldest:
        old += 1
    return old
