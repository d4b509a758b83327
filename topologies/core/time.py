"""What a key knows of time, and how samples enter it.

The time of a key is the newest event time it has seen, or been told by a heartbeat. It only moves
forward, and no sample from the future moves it. Data of an outage that the source kept and sends
afterwards is not late: until its connector says that all has come, time stays a horizon behind,
and so it does while a source is gone; in the end its windows close without it.

Lateness is judged sample by sample in arrival order, so it does not depend on how samples were
split into records.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.records.block import Block
from models.records.heartbeat import Heartbeat, State
from models.time import MAX_NS, NEVER
from topologies.core.jit import kernel
from topologies.core.layout import Layout, layout_of
from topologies.core.state import Memory

_LAYOUT = struct.Struct("<BBxxxxxxqqqq")
_FORMAT = 1
_STATES = tuple(State)


@dataclass(frozen=True, slots=True)
class KeyTime:
    """The time of one key in one input. All in ns; NEVER where nothing was seen yet."""

    #: Time of the key: newest event time, or what a heartbeat moved it to.
    now: int = NEVER
    #: Newest event time of data alone.
    data: int = NEVER
    #: Receive time of the newest data.
    heard: int = NEVER
    #: Receive time since when the connector has been in ``state``.
    since: int = NEVER
    state: State = State.ALIVE

    @classmethod
    def load(cls, memory: Memory) -> KeyTime:
        """As it was saved last."""
        data = memory.get()
        if data is None:
            return cls()
        _, state, now, newest, heard, since = _LAYOUT.unpack(data)
        return cls(now, newest, heard, since, _STATES[state])

    def save(self, memory: Memory) -> None:
        """Keep it."""
        memory.put(
            _LAYOUT.pack(
                _FORMAT, _STATES.index(self.state), self.now, self.data, self.heard, self.since
            )
        )

    def beat(self, heartbeat: Heartbeat, skew: int, horizon: int) -> KeyTime:
        """After a heartbeat: time moves on by as long as the source has been silent.

        The silence is added to the newest data's own event time, because only the data says what
        time it is at the source (a replayed recording is years back). While the way to the source
        is broken or it sends what it kept, time stays ``horizon`` ns behind that.
        """
        state = heartbeat.state
        since = self.since if state == self.state else heartbeat.received
        now = self.now
        if self.data != NEVER:
            silence = heartbeat.elapsed
            if silence is None and state is not State.ALIVE:
                silence = heartbeat.received - self.heard  # the watchdog's, which heard nothing
            reached = self.data
            if silence is not None and silence > 0:
                limit = max(self.data, heartbeat.received + skew)
                reached = min(self.data + silence, limit, MAX_NS)
            now = max(now, _behind(reached, 0 if state is State.ALIVE else horizon))
        return replace(self, now=now, since=since, state=state)


def enter(block: Block, time: KeyTime, skew: int, horizon: int) -> tuple[Block, KeyTime]:
    """A decoded block, in arrival order, as stages work on it; and the key's time after it.

    Samples are grouped by tag, in arrival order within each; ``clock`` is the key's time just
    before each sample, ``arrival`` its place in arrival order. A sample more than ``skew`` ns
    ahead of its receive time moves nothing (``validate`` flags it). While the source sends what it
    kept during an outage, time stays ``horizon`` ns behind its newest sample, so that samples of
    the outage and new ones may come mixed.
    """
    if len(block) == 0:
        return block, replace(time, heard=max(time.heard, block.received))
    layout = layout_of(block.tag)
    order = layout.arrival
    state = time.state
    if state is State.DISCONNECTED or block.received - time.since > horizon:
        state = State.ALIVE  # also where a connector never says that its backfill is done
    behind = horizon if state is State.BACKFILLING else 0
    latest = min(block.received + skew, MAX_NS)
    clock, newest = _clock(block.t, order, time.now, latest, behind)
    block = _grouped(block, layout, clock)
    newest = int(newest)
    moved = KeyTime(
        max(time.now, _behind(newest, behind)),
        max(time.data, newest),
        max(time.heard, block.received),
        time.since,
        state,
    )
    return block, moved


@kernel
def _behind(t: int, distance: int) -> int:
    """``t`` less a distance; NEVER where there is no such time."""
    return t - distance if t > NEVER + distance else NEVER


@kernel
def _clock(
    t: NDArray[np.int64], order: NDArray[np.int32], now: int, skew: int, behind: int
) -> tuple[NDArray[np.int64], Any]:
    """The key's time before each sample, put in ``order``; and the newest time up to ``skew``."""
    arriving = np.empty(t.size, np.int64)
    newest, latest = NEVER, now
    for i in range(t.size):
        arriving[i] = latest
        if t[i] <= skew:
            newest = max(newest, t[i])
            latest = max(latest, _behind(t[i], behind))
    clock = np.empty(t.size, np.int64)
    for i in range(t.size):
        clock[i] = arriving[order[i]]
    return clock, newest


def _grouped(block: Block, layout: Layout, clock: NDArray[np.int64]) -> Block:
    order, size = layout.order, len(block)
    if order is None:
        return replace(block, tag=layout.tag, clock=clock, arrival=layout.arrival)
    if block.typed:
        return replace(block.take(order), clock=clock, arrival=layout.arrival)
    # One construction instead of take and replace: this runs for every record.
    return Block(
        block.asset,
        block.tags,
        layout.tag,
        block.t.take(order),
        block.v.take(order),
        block.q if block.q is quality.all_good(size) else block.q.take(order),
        block.code.take(order) if block.code.size else block.code,
        block.why.take(order) if block.why.size else block.why,
        (),
        block.received,
        clock,
        layout.arrival,
    )
