"""The verb that ends a stage: what was made so far goes on under another key."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.records.between import Between
from models.records.block import Block
from models.records.features import Features, take
from models.records.heartbeat import State
from models.time import MAX_NS, MIN_NS, NEVER
from topologies.core.boundary import Boundary
from topologies.core.flow import READINGS, Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, Context
from topologies.steps.patterns import Matcher

#: Rows a record in between holds at most: far below Kafka's limit, whatever the rows are.
_ROWS = 2000
#: Format, flags; the time told last.
_LAYOUT = struct.Struct("<BBxxxxxxq")
_FORMAT, _ABSENT = 1, 1


class Merge(Boundary):
    """Ends a stage: what goes on gets another key, and meets others of that key.

    Below it stands what the next stage does. There, readings come as if one asset, named by the
    key, had sent them all: tags are called ``<asset>:<tag>``, where the asset is the key itself
    just ``<tag>``; windows likewise. They are released in the order of (event time, input, asset),
    once every other contributor's time has passed them: by its data, or by its heartbeats.
    """

    kind: ClassVar[str] = "merge"

    def bind(self, context: Context) -> Bound:
        wanted, rules = Matcher(self.tags), self.rules
        skew = context.max_future_skew

        def merge(flow: Flow, memory: Memory) -> None:
            key = rules.of(flow.asset)
            if key is None:
                flow.count(f"unkeyed.{self.name}", 1)
                return
            for lane in self.of:
                told = _Told.load(memory, lane)
                news = self._news(flow, lane, told)
                if lane == READINGS:
                    rows: Block | Features | None = _readings(flow, told, wanted, self, skew)
                else:
                    rows = _windows(flow, lane, told, wanted, self)
                if flow.table:
                    news = replace(told, time=NEVER)
                elif rows is None and news == told:
                    continue
                self._send(flow, key, lane, rows, told, news)
                if news != told:
                    news.save(memory, lane)

        return merge

    def _news(self, flow: Flow, lane: str, told: _Told) -> _Told:
        """What is to be told of the lane's time after this record."""
        time = flow.time
        if time.state is State.DISCONNECTED and flow.received - time.since >= self.horizon:
            if time.data == NEVER:
                return _Told(told.time, True, True)
            # Its time goes on as if it were silent: what it missed is late when it is back.
            gone = time.data + max(flow.received - time.heard, 0)
            return _Told(max(told.time, _within(gone - self.grace)), True, True)
        if time.now == NEVER:
            return replace(told, known=told.known or time.state is State.DISCONNECTED)
        # While the source sends what it kept, the key's time stays behind by the horizon of that.
        if lane != READINGS:
            complete = flow.lane_time.get(lane, time.now) + 1
        else:
            complete = min(time.now, flow.lane_time.get(lane, time.now)) - self.grace
        return _Told(max(told.time, _within(complete)), False, True)

    def _send(
        self,
        flow: Flow,
        key: str,
        lane: str,
        rows: Block | Features | None,
        told: _Told,
        news: _Told,
    ) -> None:
        bare = Between(flow.origin, flow.asset, lane, flow.received, told.time, table=flow.table)
        size = 0 if rows is None else len(rows)
        for low in range(0, max(size, 1), _ROWS):
            part = bare
            if isinstance(rows, Block):
                some = rows if size <= _ROWS else rows.take(np.arange(low, min(low + _ROWS, size)))
                part = replace(part, block=some)
            elif rows is not None:
                part = replace(part, features=take(rows, slice(low, low + _ROWS)))
            if low + _ROWS >= size:  # only now everything of this record was told
                part = replace(part, time=news.time, absent=news.absent)
            flow.between.append((self.channel, key, part))


@dataclass(frozen=True, slots=True)
class _Told:
    """What the next stage was told of one lane last."""

    time: int = NEVER
    absent: bool = False
    known: bool = False

    @classmethod
    def load(cls, memory: Memory, lane: str) -> _Told:
        data = memory.get(lane)
        if data is None:
            return cls()
        _, flags, time = _LAYOUT.unpack(data)
        return cls(time, bool(flags & _ABSENT), True)

    def save(self, memory: Memory, lane: str) -> None:
        memory.put(_LAYOUT.pack(_FORMAT, _ABSENT if self.absent else 0, self.time), lane)


def _readings(flow: Flow, told: _Told, wanted: Matcher, step: Merge, skew: int) -> Block | None:
    """The readings that go on, by event time, in arrival order within one time."""
    block = flow.block
    size = len(block)
    if not size:
        return None
    keep = wanted(block.tags)[block.tag] & (block.t != NEVER)
    if not flow.table:
        future = keep & (block.t > min(flow.received + skew, MAX_NS))
        late = keep & (block.t < _floor(flow, block, told, step.grace))
        flow.count(f"future.{step.name}", int(np.count_nonzero(future)))
        flow.count(f"late.{step.name}", int(np.count_nonzero(late)))
        keep &= ~(future | late)
    arrival = np.arange(size) if block.arrival is None else block.arrival
    order = np.lexsort((arrival, block.t))
    order = order[keep[order]]
    if not order.size:
        return None
    rows = block.take(order)
    present, tag = np.unique(rows.tag, return_inverse=True)
    names = tuple(rows.tags[place] for place in present.tolist())
    return replace(rows, tags=names, tag=tag.astype(np.int32), clock=None, arrival=None)


def _floor(flow: Flow, block: Block, told: _Told, grace: int) -> NDArray[np.int64] | int:
    """The event time before which each sample is late: by the time when it arrived, so that it
    does not matter how samples were split into records."""
    if block.clock is None or READINGS in flow.lane_time:
        return told.time
    floor: NDArray[np.int64] = np.maximum(block.clock, MIN_NS + grace) - grace
    return np.maximum(floor, told.time)


def _windows(
    flow: Flow, lane: str, told: _Told, wanted: Matcher, step: Merge
) -> Features | None:
    """The closed windows that go on, by end."""
    rows = flow.features.get(lane)
    if rows is None or not len(rows):
        return None
    keep = wanted(rows.tags)[rows.tag]
    late = keep & (rows.end < told.time)
    flow.count(f"late.{step.name}", int(np.count_nonzero(late)))
    order = np.argsort(rows.end, kind="stable")
    order = order[(keep & ~late)[order]]
    return take(rows, order) if order.size else None


def _within(time: int) -> int:
    return min(max(time, MIN_NS), MAX_NS)
