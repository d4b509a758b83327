"""Readings of another topology, as input."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from models.errors import MalformedRecord
from models.records import block as blocks
from models.records import headers
from models.records.block import Block
from topologies.core.flow import group
from topologies.core.record import Record
from topologies.core.step import BoundDecoder, Context, Decoder
from topologies.steps.decode.common import check_times, expect


class Blocks(Decoder):
    """``block/1``: the readings that another topology wrote, with their flags.

    They were written grouped by tag. They enter in the order of time again, as far as the order
    within each tag allows: a sample that was late behind its own tag's stays behind it.
    """

    kind: ClassVar[str] = "blocks"

    def bind(self, context: Context) -> BoundDecoder:
        schema, header = headers.BLOCK, headers.BLOCK.header

        def decode(record: Record, asset: str) -> Block:
            expect(record, schema, header)
            block = blocks.decode(record.value)
            if block.asset != asset:
                raise MalformedRecord(f"block of {block.asset!r:.80} under the key {asset!r:.80}")
            check_times(block.t, "block: 't'")
            return _in_order_of_time(block)

        return decode


def _in_order_of_time(block: Block) -> Block:
    t = block.t
    if t.size < 2 or bool((t[1:] >= t[:-1]).all()):
        return block
    order = block.tag.argsort(kind="stable")
    newest = t[order]
    groups = group(block.tag[order])
    for start, stop in zip(groups.start.tolist(), groups.stop.tolist(), strict=True):
        np.maximum.accumulate(newest[start:stop], out=newest[start:stop])
    return block.take(order[newest.argsort(kind="stable")])
