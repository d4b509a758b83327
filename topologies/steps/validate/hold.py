"""Samples that wait for the next one of their tag, around the spike test (:mod:`spike`).

A sample goes on without a verdict when the key's time is ``hold`` past it, or when a heartbeat has
moved the key's time past it. A heartbeat that moves no time, as one of a link that has just broken,
lets nothing go.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.quality import all_good
from models.records.block import Block
from models.records.values import Typed
from models.time import NEVER
from topologies.core.flow import Flow
from topologies.core.layout import group
from topologies.core.state import Memory, Table
from topologies.steps.validate import spike
from topologies.steps.validate.limits import Limits
from topologies.steps.validate.remembered import COLUMNS

Floats = NDArray[np.float64]


@lru_cache(maxsize=4096)
def zeros(size: int, dtype: type[Any]) -> NDArray[Any]:
    """Read-only zeros, one array a size and type."""
    array = np.zeros(size, dtype)
    array.flags.writeable = False
    return array


def pass_through(
    flow: Flow,
    memory: Memory,
    table: Table,
    rows: NDArray[np.intp],
    limits: Limits,
    near: Floats,
    horizon: int,
    hold: int,
) -> None:
    """Put a block through the line; ``near`` as :func:`spike.pass_on` wants it."""
    block = flow.block
    assert block.clock is not None
    assert block.arrival is not None
    size = len(block)
    typed = zeros(size, np.bool_)
    if block.typed:
        typed = typed.copy()
        typed[[place for place, *_ in block.typed]] = True
    # Each sample that goes on stands in the place of one that came.
    source, tag, arrival = (np.empty(size, np.int32) for _ in range(3))
    t, clock = np.empty(size, np.int64), np.empty(size, np.int64)
    code, why = np.empty(size, np.uint32), np.empty(size, np.uint32)
    v, q = np.empty(size), np.empty(size, np.uint8)
    count, said = spike.pass_on(
        block.tag, block.t, block.v, block.q,
        block.code if block.code.size else zeros(size, np.uint32),
        block.why if block.why.size else zeros(size, np.uint32),
        near, typed, block.clock, block.arrival,
        rows, limits.rows, table["waiting"], horizon, hold,
        source, tag, t, v, q, code, why, clock, arrival,
    )  # fmt: skip
    out = slice(0, count)
    flow.block = Block(
        block.asset,
        block.tags,
        tag[out],
        t[out],
        v[out],
        q[out] if said & spike.NOT_GOOD else all_good(count),
        code[out] if said & spike.CODES else zeros(0, np.uint32),
        why[out] if said & spike.WHY else zeros(0, np.uint32),
        _typed(memory, table, block, source[out], limits) if said & spike.TYPED else (),
        block.received,
        clock[out],
        arrival[out],
    )


def _typed(
    memory: Memory, table: Table, block: Block, source: NDArray[np.int32], limits: Limits
) -> tuple[Typed, ...]:
    """Typed values of the samples that go on; those of the samples that wait now are kept."""
    given: dict[int, list[list[Any]]] = {}
    for place, kind, value in block.typed:
        given.setdefault(place, []).append([kind, value])
    found = [
        (place, kind, value)
        for place, index in enumerate(source.tolist())
        for kind, value in (
            given.get(index, ()) if index >= 0 else _recall(memory, table.tags[-1 - index])
        )
    ]
    runs = group(block.tag)
    for place, stop in zip(runs.tag.tolist(), runs.stop.tolist(), strict=True):
        if limits.rows[place]["has_spike"]:
            name, entries = f"typed/{block.tags[place]}", given.get(stop - 1)
            if entries is not None:
                memory.put(b"\x01 " + orjson.dumps(entries).ljust(8), name)
            else:
                memory.drop(name)
    return tuple(found)


def _recall(memory: Memory, tag: str) -> list[list[Any]]:
    """Typed values of the sample of a tag that waits."""
    kept = memory.get(f"typed/{tag}")
    return [] if kept is None else list(orjson.loads(kept[1:]))


def release(flow: Flow, memory: Memory) -> None:
    """On a heartbeat that moves time: the samples that it has passed go on, without a verdict."""
    if flow.time.now <= flow.before.now:
        return
    table = memory.table(COLUMNS)
    rows = _due(table, flow.time.now)
    if not rows.size:
        return
    clock = np.full(rows.size, flow.before.now, np.int64)
    arrival = np.arange(rows.size, dtype=np.int32)
    flow.block = _let_go(table, memory, rows, flow.asset, flow.received, clock, arrival)
    table.save()


def expire(flow: Flow, memory: Memory, table: Table, hold: int, arrived: int) -> None:
    """Let go what waited too long, behind the ``arrived`` samples of the record."""
    limit = max(flow.time.now - hold, NEVER)
    if not spike.due(table["waiting"], limit):
        return
    block, rows = flow.block, _due(table, limit)
    clock = table["waiting"]["base"][rows] + hold
    arrival = np.arange(arrived, arrived + rows.size, dtype=np.int32)
    gone = _let_go(table, memory, rows, block.asset, block.received, clock, arrival)
    both = _joined(block, gone)
    flow.block = both.take(both.tag.argsort(kind="stable"))


def _due(table: Table, limit: int) -> NDArray[np.intp]:
    """Rows of the samples that wait whose base is before ``limit``."""
    waiting = table["waiting"]
    found: NDArray[np.intp] = np.flatnonzero((waiting["waits"] != 0) & (waiting["base"] < limit))
    return found


def _let_go(
    table: Table,
    memory: Memory,
    rows: NDArray[np.intp],
    asset: str,
    received: int,
    clock: NDArray[np.int64],
    arrival: NDArray[np.int32],
) -> Block:
    """The samples of some rows, which wait no more; tag n is that of the n-th row."""
    samples = table["waiting"][rows]
    table["waiting"]["waits"][rows] = 0
    tags = tuple(table.tags[row] for row in rows.tolist())
    typed = tuple(
        (place, kind, value)
        for place in np.flatnonzero(samples["typed"]).tolist()
        for kind, value in _recall(memory, tags[place])
    )
    t, v, q, code, why = (samples[name].copy() for name in ("t", "v", "q", "code", "why"))
    tag = np.arange(rows.size, dtype=np.int32)
    return Block(asset, tags, tag, t, v, q, code, why, typed, received, clock, arrival)


def _joined(first: Block, second: Block) -> Block:
    """Both blocks' samples, one after the other."""
    tags = tuple(dict.fromkeys((*first.tags, *second.tags)))
    places = np.array([tags.index(tag) for tag in second.tags], np.int32)
    size = len(first)

    def both(name: str) -> NDArray[Any]:
        mine = getattr(first, name)
        mine = mine if mine.size else zeros(size, np.uint32)
        return np.concatenate((mine, getattr(second, name)))

    assert first.clock is not None
    assert second.clock is not None
    assert first.arrival is not None
    assert second.arrival is not None
    return Block(
        first.asset,
        tags,
        np.concatenate((first.tag, places[second.tag])),
        np.concatenate((first.t, second.t)),
        np.concatenate((first.v, second.v)),
        np.concatenate((first.q, second.q)),
        both("code"),
        both("why"),
        first.typed + tuple((place + size, kind, value) for place, kind, value in second.typed),
        first.received,
        np.concatenate((first.clock, second.clock)),
        np.concatenate((first.arrival, second.arrival)),
    )
