"""OPC UA data changes to blocks."""

from __future__ import annotations

from typing import ClassVar

from models import quality
from models.records import headers, raw
from models.records.block import Block
from topologies.core.record import Record
from topologies.core.step import BoundDecoder, Context, Decoder
from topologies.steps.decode.common import check_times, expect, flag_absent


class OpcUa(Decoder):
    """``raw-opcua/1``: flags by the StatusCode's severity, the code itself kept beside.

    A Bad status is FAIL with whatever value came with it; a good one without a value is MISSING.
    Truth values count as 0 and 1; text and structures travel typed.
    """

    kind: ClassVar[str] = "opcua"

    def bind(self, context: Context) -> BoundDecoder:
        schema, header = headers.RAW_OPCUA, headers.RAW_OPCUA.header

        def decode(record: Record, asset: str) -> Block:
            expect(record, schema, header)
            got = raw.decode_opcua(record.value)
            check_times(got.t, "raw-opcua: 't'")
            status = got.status
            q = quality.from_opcua(status) if status.size else quality.all_good(got.t.size)
            q = flag_absent(q, got.v, got.typed)
            return Block(
                asset,
                got.tags,
                got.tag,
                got.t,
                got.v,
                q,
                status,
                typed=got.typed,
                received=got.received,
            )

        return decode
