"""Modbus polls to blocks."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from models.errors import MalformedRecord
from models.records import block as blocks
from models.records import headers, raw
from models.records.block import Block
from models.records.raw import ModbusPoll
from models.records.values import Typed
from topologies.core.record import Record
from topologies.core.step import BoundDecoder, Context, Decoder
from topologies.steps.decode.common import check_times, expect, flag_absent
from topologies.steps.decode.registers import Layout, Plan, layout_of, make_plan, stack, typed_of


class Modbus(Decoder):
    """``raw-modbus/1``, read by the register map (template) that the record names.

    Each poll gives one sample a field, in the template's order. A field whose read the device
    refused is FAIL with the Modbus exception as its code (11, and units that do not answer:
    MISSING); one that was not read gives no sample. Bits are 0 and 1, integers that float64
    cannot hold travel typed unless scaled, text ends at a NUL. Records that name an unknown
    template, or whose time field is out of range, are malformed.
    """

    kind: ClassVar[str] = "modbus"

    def bind(self, context: Context) -> BoundDecoder:
        schema, header = headers.RAW_MODBUS, headers.RAW_MODBUS.header
        templates = context.knowledge.modbus_templates

        @lru_cache(maxsize=1024)
        def plan_of(template: str, layout: Layout) -> Plan:
            return make_plan(templates[template], layout)

        def decode(record: Record, asset: str) -> Block:
            expect(record, schema, header)
            got = raw.decode_modbus(record.value)
            if got.template not in templates:
                known = ", ".join(sorted(templates)) or "none"
                raise MalformedRecord(
                    f"raw-modbus: no template {got.template!r:.80}; known are {known:.400}"
                )
            alike: dict[Layout, list[int]] = {}
            for place, poll in enumerate(got.polls):
                alike.setdefault(layout_of(poll), []).append(place)
            parts = [
                _part(asset, plan_of(got.template, layout), [got.polls[i] for i in places])
                for layout, places in alike.items()
            ]
            block = _merge(asset, parts, list(alike.values()), got.received)
            check_times(block.t, "raw-modbus: 't'")
            return block

        return decode


def _part(asset: str, plan: Plan, polls: list[ModbusPoll]) -> Block:
    """The samples of polls of one layout, poll by poll."""
    width, count = len(plan.tags), len(polls)
    registers = stack(polls)
    v, entries = plan.samples(registers)
    values = v.reshape(-1)
    typed: tuple[Typed, ...] = tuple(sorted(typed_of(entries, width)))
    t = np.array(plan.times(polls, registers), dtype=np.int64)
    return Block(
        asset,
        plan.tags,
        np.tile(np.arange(width, dtype=np.int32), count),
        np.repeat(t, width),
        values,
        flag_absent(np.tile(plan.q, count), values, typed),
        np.tile(plan.code, count) if plan.code.any() else plan.code[:0],
        typed=typed,
    )


def _merge(asset: str, parts: list[Block], places: list[list[int]], received: int) -> Block:
    """The samples of all layouts in the order in which they were polled."""
    if not parts:
        return blocks.empty(asset, received)
    tags: dict[str, int] = {}
    for part in parts:
        for tag in part.tags:
            tags.setdefault(tag, len(tags))
    typed: list[Typed] = []
    base = 0
    columns = []
    for part, polls in zip(parts, places, strict=True):
        index = np.array([tags[tag] for tag in part.tags], dtype=np.int32)
        code = part.code if part.code.size else np.zeros(len(part), np.uint32)
        poll = np.repeat(np.array(polls, dtype=np.int64), len(part.tags))
        columns.append((index[part.tag], part.t, part.v, part.q, code, poll))
        typed += [(base + place, kind, value) for place, kind, value in part.typed]
        base += len(part)
    column, t, v, q, codes, poll = (np.concatenate(c) for c in zip(*columns, strict=True))
    block = Block(
        asset,
        tuple(tags),
        column,
        t,
        v,
        q,
        codes if codes.any() else codes[:0],
        typed=tuple(typed),
        received=received,
    )
    return block if len(parts) == 1 else block.take(poll.argsort(kind="stable"))
