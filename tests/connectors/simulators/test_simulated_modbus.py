"""The Modbus simulator, seen by pymodbus' client and decoded here with struct."""

from __future__ import annotations

import math
import struct
import time
from typing import Any

import pytest
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusIOException

from tests.connectors.simulators.conftest import TRACE_SAMPLES

FORMATS = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d",
}  # fmt: skip


def connect(process: Any) -> ModbusTcpClient:
    client = ModbusTcpClient("127.0.0.1", port=process.port, timeout=2, retries=0)
    assert client.connect()
    return client


def decode(registers: list[int], kind: str, order: str = "ABCD") -> Any:
    """Written from the meaning of the letters: A is the most significant byte, as transmitted."""
    wire = b"".join(struct.pack(">H", register) for register in registers)
    if order == "BADC":
        wire = b"".join(wire[at : at + 2][::-1] for at in range(0, len(wire), 2))
    elif order == "DCBA":
        wire = wire[::-1]
    elif order == "CDAB":
        wire = b"".join(wire[at : at + 2] for at in range(len(wire) - 2, -2, -2))
    return struct.unpack(">" + FORMATS[kind], wire)[0]


def trace_config(path: Any, **fields: Any) -> dict[str, Any]:
    trace = {"path": str(path), "asset": "rig", "speed": "max", **fields}
    return {"kind": "modbus", "trace": trace, "exit_at_end": True}


def poll_trace(process: Any, tags: list[str], rows: int) -> list[tuple[str, int, float]]:
    """Poll as a connector would, telling rows apart by the row register."""
    client, last, found = connect(process), 0, []
    deadline = time.monotonic() + 60
    while last < rows:
        assert time.monotonic() < deadline
        answer = client.read_holding_registers(0, count=6 + 4 * len(tags), device_id=1)
        if answer.isError():
            continue
        row = decode(answer.registers[0:2], "uint32")
        if row == last:
            continue
        assert row == last + 1
        last = row
        t = decode(answer.registers[2:6], "int64")
        for index, tag in enumerate(tags):
            value = decode(answer.registers[6 + 4 * index : 10 + 4 * index], "float64")
            if not math.isnan(value):  # NaN stands for a missing cell
                found.append((tag, t, value))
    client.close()
    return sorted(found)


def as_seen(journal: list[dict[str, Any]]) -> list[tuple[str, int, float]]:
    return sorted((line["tag"], line["t"], line["v"]) for line in journal)


def test_a_trace_at_full_speed_waits_for_the_poller(simulate: Any, trace_file: Any) -> None:
    process = simulate(trace_config(trace_file))
    seen = poll_trace(process, ["Pressure", "Flow Rate"], rows=5)
    assert process.finished()["overrun"] == 0
    assert seen == TRACE_SAMPLES == as_seen(process.journal())


def test_a_recorded_data_set_is_played_whole(simulate: Any, skab_file: Any) -> None:
    process = simulate(trace_config(skab_file, rows=150))
    lines = [row.split(";") for row in skab_file.read_text().splitlines()]
    seen = poll_trace(process, lines[0][1:9], rows=150)
    assert process.finished()["overrun"] == 0
    assert sorted(value for _, _, value in seen) == sorted(
        float(cell) for row in lines[1:151] for cell in row[1:9]
    )
    assert seen == as_seen(process.journal())


def test_a_paced_trace_counts_rows_nobody_read(simulate: Any, trace_file: Any) -> None:
    process = simulate(trace_config(trace_file, speed=1, rows_per_second=200, patience="200ms"))
    client = connect(process)
    while client.read_holding_registers(0, count=14, device_id=1).isError():
        pass
    assert process.finished()["overrun"] >= 3
    assert len(process.journal()) == len(TRACE_SAMPLES)
    client.close()


def test_a_trace_waits_for_the_first_client_beyond_its_patience(
    simulate: Any, trace_file: Any
) -> None:
    process = simulate(trace_config(trace_file, patience="50ms"))
    time.sleep(0.5)  # nobody is there: nothing may happen
    assert process.command(do="status")["rows"] == 1
    process.command(do="pause")  # the second row alone is on its way
    client = connect(process)
    while client.read_holding_registers(0, count=14, device_id=1).registers[1] != 2:
        pass
    process.command(do="resume")
    client.close()
    process.stop()


#: A value per type that has a different byte in every place, and reaches both ends of its range.
VALUES = [
    ("int16", -32000), ("uint16", 65000), ("int32", -2_000_000_001), ("uint32", 4_000_000_001),
    ("int64", -(2**61) - 2**10), ("uint64", 2**62 + 2**11), ("float32", 1550.125),
    ("float64", -0.1234567890123),
]  # fmt: skip


def test_every_type_and_byte_order_is_carried(simulate: Any) -> None:
    fields, tags, address = {}, {}, 10
    for kind, value in VALUES:
        for order in ("ABCD", "DCBA", "BADC", "CDAB"):
            for table in ("holding", "input"):
                tag = f"{kind}-{order}-{table}"
                fields[tag] = {"table": table, "address": address, "type": kind, "order": order}
                tags[tag] = {"kind": "level", "at": value}
            address += 5
    fields["scaled"] = {"address": 500, "type": "int16", "scale": 0.1}
    tags["scaled"] = {"kind": "level", "at": -12.34}
    for name, at, first in (("on", 3, True), ("off", 4, False)):
        tags[name] = {"kind": "switch", "first": first, "on": "1d", "off": "1d"}
        fields[name] = {"table": "coil" if first else "discrete", "address": at, "type": "bool"}
    asset = {"name": "all", "unit": 9, "interval": "50ms", "tags": tags, "fields": fields}
    process = simulate({"kind": "modbus", "assets": [asset]})
    client = connect(process)
    while client.read_coils(3, count=1, device_id=9).isError():
        pass
    for tag, field in fields.items():
        if tag in ("on", "off", "scaled"):
            continue
        width = struct.calcsize(FORMATS[field["type"]]) // 2
        read = (
            client.read_holding_registers
            if field["table"] == "holding"
            else client.read_input_registers
        )
        registers = read(field["address"], count=width, device_id=9).registers
        assert decode(registers, field["type"], field["order"]) == tags[tag]["at"], tag
    assert client.read_coils(3, count=1, device_id=9).bits[0] is True
    assert client.read_discrete_inputs(4, count=1, device_id=9).bits[0] is False
    assert decode(client.read_holding_registers(500, count=1, device_id=9).registers, "int16") == (
        -123
    )
    hole = client.read_holding_registers(10, count=6, device_id=9)
    assert hole.isError()
    assert hole.exception_code == 2  # an address between fields is illegal
    client.close()
    process.stop()
    by_tag = {line["tag"]: line["v"] for line in process.journal()}
    assert by_tag["scaled"] == pytest.approx(-12.3)
    assert by_tag["on"] is True
    assert by_tag["off"] is False


def test_no_read_sees_half_a_row(simulate: Any) -> None:
    """Thousand rows a second of two tags that are always equal, in one request."""
    tags: dict[str, Any] = {"a": {"kind": "counter", "rate": 1000}, "b": {"kind": "follow"}}
    tags["b"]["of"] = "a"
    fields = {
        "row": {"address": 0, "type": "uint32", "source": "row"},
        "a": {"address": 2, "type": "float64"},
        "time": {"address": 6, "type": "uint64", "source": "time_ms"},
        "b": {"address": 10, "type": "float64"},
    }
    asset = {"name": "two", "unit": 1, "interval": "1ms", "tags": tags, "fields": fields}
    process = simulate({"kind": "modbus", "assets": [asset]})
    client, seen = connect(process), {}
    deadline = time.monotonic() + 60
    while len(seen) < 100:
        assert time.monotonic() < deadline
        answer = client.read_holding_registers(0, count=14, device_id=1)
        if answer.isError():
            continue
        a, b = (decode(answer.registers[at : at + 4], "float64") for at in (2, 10))
        assert a == b
        seen[decode(answer.registers[:2], "uint32")] = decode(answer.registers[6:10], "uint64"), a
    client.close()
    process.stop()
    sent = {line["n"]: (line["t"] // 10**6, line["v"]) for line in process.journal()}
    assert seen.items() <= sent.items()


def test_bad_values_and_silent_units(simulate: Any) -> None:
    def unit(number: int) -> dict[str, Any]:
        tags = {"x": {"kind": "level", "at": 5}, "y": {"kind": "level", "at": 6}}
        fields = {"x": {"address": 0}, "y": {"address": 2}}
        name = f"unit-{number}"
        return {"name": name, "unit": number, "interval": "20ms", "tags": tags, "fields": fields}

    process = simulate({"kind": "modbus", "assets": [unit(1), unit(2)]})
    client = connect(process)
    while any(client.read_holding_registers(0, count=4, device_id=n).isError() for n in (1, 2)):
        pass

    def until(condition: Any) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline

    process.command(do="fault", asset="unit-1", tag="x", kind="bad", **{"for": "1h"})
    until(lambda: client.read_holding_registers(0, count=4, device_id=1).isError())
    assert client.read_holding_registers(0, count=2, device_id=1).exception_code == 4
    assert decode(client.read_holding_registers(2, count=2, device_id=1).registers, "float32") == 6
    process.command(do="fault", asset="unit-1", tag="y", kind="dropout", **{"for": "1h"})
    nan = [0x7FC0, 0]
    until(lambda: client.read_holding_registers(2, count=2, device_id=1).registers == nan)
    assert process.command(do="fault", asset="unit-2", kind="dropout", **{"for": "1h"})["ok"]
    with pytest.raises(ModbusIOException):
        until(lambda: client.read_holding_registers(0, count=4, device_id=2).isError())
    client.close()
    other = connect(process)
    assert not other.read_holding_registers(2, count=2, device_id=1).isError()
    other.close()
    process.stop()
    assert {(line["tag"], line["status"]) for line in process.journal() if line["v"] is None} == {
        ("x", "BadSensorFailure")
    }
