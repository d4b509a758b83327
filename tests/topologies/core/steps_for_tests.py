"""Small steps that do one thing each, to test the language itself."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from pydantic import Field

from models.records import raw
from models.records.block import Block
from models.records.events import Alarm
from topologies.core.flow import Flow
from topologies.core.record import Record
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Bound, BoundDecoder, Context, Decoder, Step


class Plain(Decoder):
    """OPC UA records as they are."""

    kind: ClassVar[str] = "plain"

    def bind(self, context: Context) -> BoundDecoder:
        def decode(record: Record, asset: str) -> Block:
            got = raw.decode_opcua(record.value)
            good = np.ones(len(got.t), np.uint8)
            return Block(
                asset, got.tags, got.tag, got.t, got.v, good, typed=got.typed, received=got.received
            )

        return decode


class Total(Step):
    """Replaces each value by the running total of its tag."""

    kind: ClassVar[str] = "total"
    state_version: ClassVar[int] = 1

    def bind(self, context: Context) -> Bound:
        columns = Columns(1, total=Column(np.float64))

        def total(flow: Flow, memory: Memory) -> None:
            block = flow.block
            table = memory.table(columns)
            rows = table.rows(block.tags)
            v = block.v.copy()
            for place in range(len(block)):
                row = rows[block.tag[place]]
                table["total"][row] += v[place]
                v[place] = table["total"][row]
            flow.block = dataclasses.replace(block, v=v)
            table.save()

        return total


class FailOver(Step):
    """Fails on a value over its limit, after having written state of its own."""

    kind: ClassVar[str] = "fail_over"
    limit: float = Field(100.0, description="Values above it fail")

    def bind(self, context: Context) -> Bound:
        def fail_over(flow: Flow, memory: Memory) -> None:
            memory.put(b"\x01" + b"seen")
            if (flow.block.v > self.limit).any():
                raise RuntimeError(f"a value is over {self.limit:g}")

        return fail_over


class Shout(Step):
    """Emits an alarm with a sentence as long as asked for."""

    kind: ClassVar[str] = "shout"
    makes: ClassVar[str] = "alarms"
    length: int = Field(1, description="Characters of the sentence per unit of the value")

    def bind(self, context: Context) -> Bound:
        def shout(flow: Flow, memory: Memory) -> None:
            memory.put(b"\x01" + b"shouted")
            for place, v in enumerate(flow.block.v.tolist()):
                t = int(flow.block.t[place])
                flow.alarms.append(
                    Alarm(
                        f"{self.name}/{flow.asset}/{place}/{t}", 0, flow.topology, self.name,
                        flow.asset, flow.block.tags[flow.block.tag[place]], "raised", "low", t, t,
                        None, v, None, None, "none", "!" * int(self.length * v),
                    )
                )

        return shout
