"""The verb that ends a stage: what was made so far goes on under another key."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models.records import columns
from models.records.between import Between
from models.records.block import Block
from models.records.features import Features, occurring, take
from models.records.heartbeat import State
from models.time import MAX_NS, MIN_NS, NEVER
from topologies.core.boundary import Boundary
from topologies.core.flow import READINGS, Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, Context
from topologies.steps.combine.present import only_present
from topologies.steps.patterns import Matcher

#: Rows a record in between holds at most: far below Kafka's limit, whatever the rows are.
_ROWS = 2000
#: Most bytes of a number in JSON, with its comma: int64, float64, 32 bits.
_INTEGER, _FLOAT, _SMALL = 21, 25, 11
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
        skew, room = context.max_future_skew, _room(context.max_record_bytes)

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
                self._send(flow, key, lane, rows, told, news, room)
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
        room: int,
    ) -> None:
        bare = Between(flow.origin, flow.asset, lane, flow.received, told.time, table=flow.table)
        found = [bare]
        if isinstance(rows, Block):
            found = [replace(bare, block=some) for some in _blocks(rows, room)]
        elif rows is not None:
            found = [replace(bare, features=some) for some in _features(rows, room)]
        # Only with the last one everything of this record was told.
        found[-1] = replace(found[-1], time=news.time, absent=news.absent)
        flow.between += [(self.channel, key, part) for part in found]


def _room(limit: int) -> int:
    """Bytes that rows may have in a record of at most ``limit``, beside key, names and headers."""
    return max(limit - 8192, limit // 2)


def _blocks(rows: Block, room: int) -> list[Block]:
    """The readings in parts of at most ``_ROWS`` and ``room`` bytes; a single one is never cut."""
    size = len(rows)
    if size <= _ROWS and (size < 2 or _bytes_of_block(rows) <= room):
        return [rows]
    return [
        some
        for low, high in _cuts(size)
        for some in _blocks(only_present(rows.take(np.arange(low, high))), room)
    ]


def _features(rows: Features, room: int) -> list[Features]:
    """Likewise of windows."""
    size = len(rows)
    if size <= _ROWS and (size < 2 or _bytes_of_features(rows) <= room):
        return [rows]
    return [
        some
        for low, high in _cuts(size)
        for some in _features(occurring(take(rows, slice(low, high))), room)
    ]


def _cuts(size: int) -> list[tuple[int, int]]:
    step = min(_ROWS, -(-size // 2))
    return [(low, min(low + step, size)) for low in range(0, size, step)]


def _bytes_of_block(rows: Block) -> int:
    """At most so many bytes as JSON."""
    text = len(columns.dumps(rows.tags)) + (len(columns.dumps(rows.typed)) if rows.typed else 0)
    return text + len(rows) * (_INTEGER + _FLOAT + 4 * _SMALL)


def _bytes_of_features(rows: Features) -> int:
    """At most so many bytes as JSON."""
    text = len(columns.dumps((rows.tags, tuple(rows.stats))))
    return text + len(rows) * (5 * _INTEGER + len(rows.stats) * _FLOAT + 2 * _SMALL)


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
    return replace(only_present(rows), clock=None, arrival=None)


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
    return occurring(take(rows, order)) if order.size else None


def _within(time: int) -> int:
    return min(max(time, MIN_NS), MAX_NS)
