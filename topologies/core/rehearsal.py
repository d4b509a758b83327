"""Made-up records that have every kernel of a topology compiled before the first real one comes.

A kernel is compiled when it is first called with arrays of a kind, which takes up to a second; a
worker that did so in the middle of a transaction would lose it. What was compiled is kept on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.catalogue import (
    Asset,
    Catalogue,
    FlatLine,
    Knowledge,
    Limits,
    Linear,
    Range,
    Table,
    Tag,
    Thresholds,
)
from models.records import block as blocks
from models.records import headers, heartbeat
from models.records.block import Block
from models.records.heartbeat import Heartbeat, State
from models.time import NS_PER_MS, NS_PER_S
from topologies.core.compile import compile_topology
from topologies.core.record import Record
from topologies.core.state import DictState
from topologies.core.step import BoundDecoder, Context, Decoder
from topologies.core.topology import Input, Topology

#: The second has samples that wait for their neighbours, so that its columns are made anew.
_PLAIN, _SPIKY = "rehearsal/plain", "rehearsal/spiky"
_TAGS = ("x", "y", "z", "unknown")
Places = NDArray[np.intp]
_T0 = 1_600_000_000 * NS_PER_S
#: From one record to the next: longer than any silence that is told of.
_STEP = 11 * 86_400 * NS_PER_S


def rehearse(topology: Topology) -> dict[str, int]:
    """Put made-up records through all steps; nothing of it is kept. What was counted."""
    inputs = (Input(source="opcua", decode=_Made(), assets=("*",)),)
    compiled = compile_topology(topology.model_copy(update={"inputs": inputs}))
    stage, known = compiled.stages[0], _knowledge()
    counts: Counter[str] = Counter()
    for asset, tags in ((_PLAIN, _TAGS[:3]), (_PLAIN, _TAGS), (_SPIKY, _TAGS)):
        state = DictState()
        for record in _records(asset, tags):
            counts.update(stage(record, state, known).counts)
    return dict(counts)


class _Made(Decoder):
    """Columns of the kinds that decoders of real records make."""

    kind: ClassVar[str] = "made"

    def bind(self, context: Context) -> BoundDecoder:
        def decode(record: Record, asset: str) -> Block:
            block = blocks.decode(record.value)
            if (block.q == quality.GOOD).all():
                return block.changed(q=quality.all_good(len(block)))
            return block

        return decode


def _knowledge() -> Knowledge:
    """Something to do for every step that looks into the catalogue."""
    tag = Tag(
        unit="degC",
        source_unit="K",
        gross_range=Range(low=-1e3, high=1e3),
        suspect_range=Range(low=-500, high=500),
        rate_of_change=Thresholds(suspect=50, fail=500),
        flat_line=FlatLine(suspect=3 * NS_PER_S, fail=5 * NS_PER_S),
        max_gap=10 * NS_PER_S,
        limits=Limits(low_low=-400, low=-300, high=300, high_high=400, deadband=5),
    )
    tags = {
        "x": tag,
        "y": tag.model_copy(
            update={
                "calibration": Linear(gain=2.0, offset=1.0),
                "flat_line": FlatLine(tolerance=0.1, suspect=3 * NS_PER_S),
            }
        ),
        "z": tag.model_copy(update={"calibration": Table(points=((0.0, 0.0), (1e3, 1e3)))}),
    }
    spiky = {**tags, "x": tag.model_copy(update={"spike": Thresholds(suspect=5, fail=50)})}
    assets = {_PLAIN: Asset(tags=tags), _SPIKY: Asset(tags=spiky)}
    return Knowledge(catalogue=Catalogue(assets=assets))


def _records(asset: str, names: tuple[str, ...]) -> Iterator[Record]:
    turns, tags = np.arange(12), np.arange(len(names))
    in_turn = turns.repeat(tags.size), np.tile(tags, 12)
    by_tag = np.tile(turns, tags.size), tags.repeat(12)
    parts = [in_turn, by_tag, (turns[:1], tags[:1])]
    number = 0
    for hot in (0.0, 350.0, 0.0):
        for bad in (False, True):
            for turn, tag in parts:
                yield _block(asset, number, turn, tag, hot, bad)
                number += 1
        for silence in (60, 10 * 86_400):
            yield _beat(asset, number, silence * NS_PER_S)
            number += 1


def _block(asset: str, number: int, turn: Places, tag: Places, hot: float, bad: bool) -> Record:
    size = turn.size
    t = _T0 + number * _STEP + turn.astype(np.int64) * NS_PER_S
    v = 300.0 + hot + np.sin(turn * 1.7 + tag)
    q = np.full(size, quality.GOOD, np.uint8)
    code = np.empty(0, np.uint32)
    if bad:
        t[size // 2] -= 5 * NS_PER_S
        v[0], q[0], q[-1] = np.nan, quality.MISSING, quality.FAIL
        code = np.arange(size, dtype=np.uint32)
    received = int(t.max())
    block = Block(asset, _TAGS, tag.astype(np.int32), t, v, q, code, received=received)
    return _record(asset, number, headers.BLOCK, blocks.encode(block), received)


def _beat(asset: str, number: int, elapsed: int) -> Record:
    received = _T0 + number * _STEP + elapsed
    beat = Heartbeat(asset, State.ALIVE, received, received, elapsed)
    return _record(asset, number, headers.HEARTBEAT, heartbeat.encode(beat), received)


def _record(asset: str, number: int, schema: headers.Schema, value: bytes, received: int) -> Record:
    head = {headers.SCHEMA: schema.header}
    stamp = received // NS_PER_MS
    return Record("rehearsal", 0, number, stamp, asset.encode(), value, head)
