"""A tiny real topology for tests of the worker: every loss and every repeat shows in its output."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import ClassVar

import numpy as np

from models.errors import StepError
from models.records import block as blocks
from models.records.block import Block
from topologies.core import Input, Output, Record, Topology
from topologies.core.flow import Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, BoundDecoder, Context, Decoder, Step

_SUM = struct.Struct("<Bqd")


class Blocks(Decoder):
    """Raw records that are blocks already."""

    kind: ClassVar[str] = "blocks"

    def bind(self, context: Context) -> BoundDecoder:
        def decode(record: Record, asset: str) -> Block:
            return blocks.decode(record.value)

        return decode


class Running(Step):
    """Replaces values by the asset's running sum: a chain through all records of a key.

    A value below zero fails; a block whose first value is 1e6 becomes too large for Kafka.
    """

    kind: ClassVar[str] = "running"

    def bind(self, context: Context) -> Bound:
        def run(flow: Flow, memory: Memory) -> None:
            block = flow.block
            if not len(block):
                return
            kept = memory.get()
            _, seen, total = _SUM.unpack(kept) if kept else (1, 0, 0.0)
            if (block.v < 0).any():
                raise StepError("a value below zero")
            sums = total + np.cumsum(block.v)
            memory.put(_SUM.pack(1, seen + len(block), float(sums[-1])))
            flow.block = replace(block, v=sums)
            if block.v[0] == 1e6:
                flow.block = flow.block.take(np.zeros(50_000, dtype=np.intp))

        return run


def tally(inputs: tuple[str, ...] = ("opcua",), policy: str = "dead-letter") -> Topology:
    """The topology ``tally`` over these raw topics."""
    return Topology(
        name="tally",
        inputs=tuple(Input(source=name, decode=Blocks()) for name in inputs),
        steps=(Running(on_error=policy),),
        outputs=(Output(kind="readings"),),
    )
