"""The delay line of the spike test: a sample waits for the next one of its tag.

Every sample of a tag with a spike limit leaves in the place of the sample that follows it, with
that one's ``clock`` and ``arrival``: whether it is late is judged when it goes on, which does not
depend on how samples were split into records. It goes on without a verdict when the key's time is
``hold`` past it, or when a heartbeat has moved the key's time past it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import orjson
from numpy.typing import NDArray

from models.catalogue import Thresholds
from models.quality import FAIL, GOOD, SUSPECT
from models.records.block import Block
from models.records.values import Typed
from models.time import MAX_NS, NEVER
from topologies.core.flow import Flow
from topologies.core.state import Column, Columns, Memory, Table
from topologies.steps.validate.spike import spike
from topologies.steps.validate.why import TESTS

Floats = NDArray[np.float64]

#: ``neighbour`` and ``before``: values of this and the previous sample, NaN where they are bad.
#: ``base``: the time from which waiting counts.
COLUMNS = Columns(
    1,
    t=Column(np.int64, NEVER),
    v=Column(np.float64, np.nan),
    neighbour=Column(np.float64, np.nan),
    before=Column(np.float64, np.nan),
    base=Column(np.int64, NEVER),
    code=Column(np.uint32),
    why=Column(np.uint32),
    q=Column(np.uint8),
    waiting=Column(np.uint8),
    typed=Column(np.uint8),
)
PART = "spike"


class Line:
    """The samples that wait, of one key."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory.part(PART)
        self.table: Table = self._memory.table(COLUMNS)

    def save(self) -> None:
        """Keep it."""
        self.table.save()

    def due(self, now: int, after: int) -> NDArray[np.intp]:
        """Rows that wait and whose base is more than ``after`` ns before ``now``."""
        limit = max(now - after, NEVER)
        found: NDArray[np.intp] = np.flatnonzero(
            (self.table["waiting"] != 0) & (self.table["base"] < limit)
        )
        return found

    def samples(self, rows: NDArray[np.intp], asset: str, received: int) -> Block:
        """The samples of some rows; tag n is that of the n-th row."""
        table = self.table
        tags = tuple(table.tags[row] for row in rows.tolist())
        typed: list[Typed] = []
        for place, row in enumerate(rows.tolist()):
            if table["typed"][row]:
                kept = self._memory.get(f"typed/{table.tags[row]}") or b""
                typed += [(place, kind, value) for kind, value in orjson.loads(kept[1:])]
        return Block(
            asset,
            tags,
            np.arange(rows.size, dtype=np.int32),
            table["t"][rows],
            table["v"][rows],
            table["q"][rows],
            table["code"][rows],
            table["why"][rows],
            tuple(typed),
            received,
            np.full(rows.size, NEVER, np.int64),
            np.zeros(rows.size, np.int32),
        )

    def put(self, row: int, sample: Block, neighbour: float, before: float, base: int) -> None:
        """Let a sample (a block of one) wait."""
        table, tag = self.table, self.table.tags[row]
        table["t"][row] = sample.t[0]
        table["v"][row] = sample.v[0]
        table["q"][row] = sample.q[0]
        table["code"][row] = sample.code[0] if sample.code.size else 0
        table["why"][row] = sample.why[0] if sample.why.size else 0
        table["neighbour"][row], table["before"][row] = neighbour, before
        table["base"][row], table["waiting"][row] = base, 1
        had = table["typed"][row]
        table["typed"][row] = bool(sample.typed)
        if sample.typed:
            entries = [[kind, value] for _, kind, value in sample.typed]
            self._memory.put(b"\x01 " + orjson.dumps(entries).ljust(8), f"typed/{tag}")
        elif had:
            self._memory.drop(f"typed/{tag}")


def release(flow: Flow, memory: Memory) -> None:
    """On a heartbeat: the samples that the key's time has passed go on, without a verdict."""
    line = Line(memory)
    rows = line.due(flow.time.now, 0)
    if not rows.size:
        return
    block = line.samples(rows, flow.asset, flow.received)
    line.table["waiting"][rows] = 0
    line.save()
    flow.block = replace(
        block,
        clock=np.full(rows.size, flow.before.now, np.int64),
        arrival=np.arange(rows.size, dtype=np.int32),
    )


def pass_through(
    flow: Flow,
    memory: Memory,
    neighbours: Floats,
    limits: Mapping[int, Thresholds],
    hold: int,
    skew: int,
) -> None:
    """Put the samples of tags with a spike limit through the line.

    ``neighbours`` are the block's values, NaN where a sample is none to compare with; ``limits``
    by place of the tag.
    """
    block, line = flow.block, Line(memory)
    table = line.table
    mine = [place for place in np.unique(block.tag).tolist() if place in limits]
    rows = table.rows(tuple(block.tags[place] for place in mine))
    waiting = rows[table["waiting"][rows] != 0]
    pool = _joined(line.samples(waiting, block.asset, block.received), block)
    held = int(waiting.size)
    assert pool.clock is not None
    assert pool.arrival is not None
    clock, arrival, q, why = pool.clock, pool.arrival, pool.q.copy(), pool.why.copy()
    chosen = [np.flatnonzero(~np.isin(block.tag, mine)) + held]
    slots = [clock[chosen[0]]]
    arrivals = [arrival[chosen[0]]]
    horizon = block.received + skew
    for place, row in zip(mine, rows.tolist(), strict=True):
        own = np.flatnonzero(block.tag == place) + held
        earlier = np.flatnonzero(waiting == row)
        items = np.concatenate((earlier, own))
        near = neighbours[own - held]
        if earlier.size:
            near = np.concatenate((table["neighbour"][[row]], near))
            near = np.concatenate((table["before"][[row]], near))
        else:
            near = np.concatenate((table["neighbour"][[row]], near))
        # Bases of the items, and when each would go on by time alone.
        since = np.maximum(np.minimum(block.t[own - held], horizon), clock[own])
        base = np.concatenate((table["base"][[row]], since)) if earlier.size else since
        expiry = np.minimum(base, MAX_NS - hold) + hold
        slot = clock[own][-(items.size - 1) :] if items.size > 1 else clock[:0]
        expired = slot > expiry[:-1]
        after = np.where(expired, np.nan, near[2:])
        limit = limits[place]
        flags = spike(near[:-2], near[1:-1], after, *_levels(limit, after.size))
        out = items[:-1]
        bad = np.where((flags == SUSPECT) | (flags == FAIL), flags, np.uint8(GOOD))
        q[out] = _worse(q[out], bad)
        why[out] |= np.where(bad != GOOD, np.uint32(TESTS["spike"]), np.uint32(0))
        chosen.append(out)
        slots.append(np.where(expired, expiry[:-1], slot))
        arrivals.append(arrival[own][-(items.size - 1) :] if items.size > 1 else arrival[:0])
        last = pool.take(items[-1:])
        line.put(row, last, float(near[-1]), float(near[-2]), int(base[-1]))
    index = np.concatenate(chosen)
    result = replace(
        replace(pool, q=q, why=why).take(index),
        clock=np.concatenate(slots),
        arrival=np.concatenate(arrivals),
    )
    result = _with_expired(result, line, flow.time.now, hold, len(block))
    line.save()
    flow.block = result.take(result.tag.argsort(kind="stable"))


def expire(flow: Flow, memory: Memory, hold: int) -> None:
    """Let go what waited too long, on a block without samples of tags that wait."""
    line = Line(memory)
    if not len(line.table) or not line.due(flow.time.now, hold).size:
        return
    result = _with_expired(flow.block, line, flow.time.now, hold, len(flow.block))
    line.save()
    flow.block = result.take(result.tag.argsort(kind="stable"))


def _with_expired(block: Block, line: Line, now: int, hold: int, arrival: int) -> Block:
    rows = line.due(now, hold)
    if not rows.size:
        return block
    gone = line.samples(rows, block.asset, block.received)
    line.table["waiting"][rows] = 0
    gone = replace(
        gone,
        clock=line.table["base"][rows] + hold,
        arrival=np.arange(arrival, arrival + rows.size, dtype=np.int32),
    )
    return _joined(block, gone)


def _levels(limit: Thresholds, size: int) -> tuple[Floats, Floats]:
    suspect = np.inf if limit.suspect is None else limit.suspect
    fail = np.inf if limit.fail is None else limit.fail
    return np.full(size, suspect), np.full(size, fail)


def _worse(q: NDArray[np.uint8], flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The worse of both; a sample that is MISSING stays so."""
    result: NDArray[np.uint8] = np.maximum(q, flags)
    return result


def _joined(first: Block, second: Block) -> Block:
    """Both blocks' samples, one after the other, with all columns present."""
    tags = dict.fromkeys((*second.tags, *first.tags))
    index = {tag: place for place, tag in enumerate(tags)}
    size = len(first)

    def both(name: str) -> NDArray[np.uint32]:
        parts = [getattr(block, name) for block in (first, second)]
        return np.concatenate(
            [
                part if part.size else np.zeros(len(block), np.uint32)
                for part, block in zip(parts, (first, second), strict=True)
            ]
        )

    def renamed(block: Block) -> NDArray[np.int32]:
        places = np.array([index[tag] for tag in block.tags], dtype=np.int32)
        found: NDArray[np.int32] = places[block.tag]
        return found

    assert first.clock is not None
    assert second.clock is not None
    assert first.arrival is not None
    assert second.arrival is not None
    return Block(
        first.asset,
        tuple(tags),
        np.concatenate((renamed(first), renamed(second))),
        np.concatenate((first.t, second.t)),
        np.concatenate((first.v, second.v)),
        np.concatenate((first.q, second.q)),
        both("code"),
        both("why"),
        first.typed + tuple((place + size, kind, value) for place, kind, value in second.typed),
        max(first.received, second.received),
        np.concatenate((first.clock, second.clock)),
        np.concatenate((first.arrival, second.arrival)),
    )
