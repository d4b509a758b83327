"""Modbus: every type and byte order, exceptions, missing reads and time fields."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from models.errors import MalformedRecord
from models.quality import FAIL, GOOD, MISSING
from models.records.raw import ModbusPoll, ModbusRead
from tests.topologies.steps.decode.reading import T0, modbus, rows

FORMATS = {
    "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "uint64": ">Q",
    "float16": ">e", "float32": ">f", "float64": ">d",
}  # fmt: skip


def holding(registers: list[int], address: int = 0, t: int = T0) -> ModbusPoll:
    return ModbusPoll(t, (ModbusRead("holding", address, registers, 0, len(registers)),))


def registers_of(packed: bytes, order: str) -> list[int]:
    """By the definition of the orders: the bytes of ABCD as they lie on the wire."""
    letters = list(range(len(packed)))
    pairs = [letters[n : n + 2] for n in range(0, len(letters), 2)]
    wire = {
        "ABCD": letters,
        "DCBA": letters[::-1],
        "BADC": [place for pair in pairs for place in pair[::-1]],
        "CDAB": [place for pair in pairs[::-1] for place in pair],
    }[order]
    sent = bytes(packed[place] for place in wire)
    return list(struct.unpack(f">{len(sent) // 2}H", sent))


@given(
    st.data(), st.sampled_from(sorted(FORMATS)), st.sampled_from(["ABCD", "DCBA", "BADC", "CDAB"])
)
def test_every_type_in_every_order(data: st.DataObject, kind: str, order: str) -> None:
    size = struct.calcsize(FORMATS[kind])
    packed = data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=4))
    polls = [holding([7, *registers_of(one, order)], 99, T0 + n) for n, one in enumerate(packed)]
    block = modbus({"x": {"address": 100, "type": kind, "order": order}}, *polls)
    for got, one in zip(block.exact(), packed, strict=True):
        expected = struct.unpack(FORMATS[kind], one)[0]
        assert got == expected or (math.isnan(got) and math.isnan(expected))
        assert type(got) is type(expected) or got == int(got)


@pytest.mark.parametrize("kind", ["int32", "uint32", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize(("order", "words"), [("ABCD", "big"), ("CDAB", "little")])
def test_as_pymodbus_reads_it(kind: str, order: str, words: Any) -> None:
    mixin = ModbusClientMixin
    registers = [16457, 4059, 300, 77][: struct.calcsize(FORMATS[kind]) // 2]
    expected = mixin.convert_from_registers(
        registers, getattr(mixin.DATATYPE, kind.upper()), word_order=words
    )
    block = modbus({"x": {"address": 0, "type": kind, "order": order}}, holding(registers))
    assert block.exact() == [expected]


def test_bytes_bits_text_and_scaling() -> None:
    text = list(struct.unpack(">4H", b"M\xc3\xbc11\0\0\0"))
    block = modbus(
        {
            "low": {"address": 0, "type": "uint8"},
            "signed": {"address": 0, "type": "int8", "order": "BADC"},
            "bit0": {"address": 1, "type": "bool", "bit": 0},
            "bit9": {"address": 1, "type": "bool", "bit": 9},
            "any": {"address": 1, "type": "bool"},
            "name": {"address": 2, "type": "string", "length": 4},
            "scaled": {"address": 0, "type": "uint16", "scale": 0.5, "offset": -10},
            "coil": {"table": "coil", "address": 3, "type": "bool"},
        },
        ModbusPoll(
            T0,
            (
                ModbusRead("coil", 3, [1], 0, 1),
                ModbusRead("holding", 0, [0xF105, 0x0200, *text], 0, 6),
            ),
        ),
    )
    assert dict(zip(block.tags, block.exact(), strict=True)) == {
        "low": 5, "signed": -15, "bit0": 0, "bit9": 1, "any": 1, "name": "Mü11",
        "scaled": 0xF105 * 0.5 - 10, "coil": 1,
    }  # fmt: skip
    assert block.q.tolist() == [GOOD] * 8


def test_a_refused_read_fails_its_fields_and_no_others() -> None:
    fields = {"a": {"address": 0}, "b": {"address": 10}, "c": {"address": 20}, "d": {"address": 30}}
    block = modbus(
        fields,
        ModbusPoll(
            T0,
            (
                ModbusRead("holding", 0, [5], 0, 1),
                ModbusRead("holding", 10, [], 2, 1),
                ModbusRead("holding", 20, [], 11, 1),
            ),
        ),
    )
    assert rows(block) == [("a", T0, 5, GOOD), ("b", T0, None, FAIL), ("c", T0, None, MISSING)]
    assert block.code.tolist() == [0, 2, 11]


def test_polls_of_several_layouts_keep_their_order() -> None:
    fields = {"a": {"address": 0}, "n": {"address": 1, "type": "uint64"}}
    whole = ModbusRead("holding", 0, [1, 65535, 65535, 65535, 65534], 0, 5)
    block = modbus(
        fields,
        ModbusPoll(T0, (whole,)),
        ModbusPoll(T0 + 1, (ModbusRead("holding", 0, [], 4, 5),)),
        ModbusPoll(T0 + 2, (whole,)),
        ModbusPoll(T0 + 3, ()),
        ModbusPoll(T0 + 4, (ModbusRead("holding", 0, [9], 0, 1),)),
    )
    most = 2**64 - 2
    assert rows(block) == [
        ("a", T0, 1, GOOD), ("n", T0, most, GOOD),
        ("a", T0 + 1, None, FAIL), ("n", T0 + 1, None, FAIL),
        ("a", T0 + 2, 1, GOOD), ("n", T0 + 2, most, GOOD),
        ("a", T0 + 4, 9, GOOD),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("role", "kind", "value", "t"),
    [
        ("time_ns", "int64", T0 + 123_456_789, T0 + 123_456_789),
        ("time_ms", "uint64", 1_700_000_000_123, 1_700_000_000_123_000_000),
        ("time_s", "uint32", 1_700_000_000, 1_700_000_000_000_000_000),
        ("time_s", "float64", 1_700_000_000.5, 1_700_000_000_500_000_000),
    ],
)
def test_a_time_field_gives_the_time_of_the_poll(role: str, kind: str, value: Any, t: int) -> None:
    registers = registers_of(struct.pack(FORMATS[kind], value), "ABCD")
    fields = {"when": {"address": 1, "type": kind, "role": role}, "x": {"address": 0}}
    assert rows(modbus(fields, holding([3, *registers]))) == [("x", t, 3, GOOD)]


def test_without_its_time_field_a_poll_has_the_time_it_was_made() -> None:
    fields = {"when": {"address": 9, "type": "uint32", "role": "time_s"}, "x": {"address": 0}}
    refused = ModbusRead("holding", 9, [], 2, 2)
    poll = ModbusPoll(T0, (ModbusRead("holding", 0, [3], 0, 1), refused))
    assert rows(modbus(fields, poll)) == [("x", T0, 3, GOOD)]


def test_a_time_out_of_range_is_refused_with_the_fields_name() -> None:
    fields = {"when": {"address": 0, "type": "uint64", "role": "time_s"}, "x": {"address": 4}}
    with pytest.raises(MalformedRecord, match="'when' is out of range"):
        modbus(fields, holding([65535] * 5))


def test_a_bad_float_is_missing() -> None:
    nan, inf = struct.pack(">f", math.nan), struct.pack(">f", math.inf)
    registers = [*registers_of(nan, "ABCD"), *registers_of(inf, "ABCD")]
    fields = {"a": {"address": 0, "type": "float32"}, "b": {"address": 2, "type": "float32"}}
    block = modbus(fields, holding(registers))
    assert block.q.tolist()[0] == MISSING
    assert math.isnan(block.exact()[0])
    assert block.exact()[1] == math.inf
