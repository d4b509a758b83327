"""The Modbus connector against real servers that misbehave."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from connectors.base import Environment, Message
from connectors.modbus import ModbusConnector
from models.errors import ConfigError, SourceUnavailable
from models.modbus import ModbusTemplate
from models.records.raw import ModbusPoll, ModbusRead, decode_modbus

#: What a server does with a request: (unit, function, address, count) to a PDU, after a delay in
#: seconds; None: no answer at all.
Answer = Callable[[int, int, int, int], tuple[bytes, float] | None]
WORDS = {
    "fields": {
        "a": {"address": 0, "type": "float32"},
        "b": {"address": 100, "type": "uint16"},
        "c": {"table": "coil", "address": 3, "type": "bool"},
    }
}


def words(unit: int, function: int, address: int, count: int) -> tuple[bytes, float]:
    """Registers hold their own address plus 1000 times the unit; odd coils are on."""
    if function in (1, 2):
        data = bytearray((count + 7) // 8)
        for bit in range(count):
            data[bit // 8] |= ((address + bit) % 2) << bit % 8
        return bytes([function, len(data)]) + bytes(data), 0
    values = [1000 * unit + address + n for n in range(count)]
    return struct.pack(f">BB{count}H", function, 2 * count, *values), 0


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """A Modbus TCP server of ten lines: frames by the specification, not by our library."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def reply(tid: int, unit: int, pdu: bytes, delay: float) -> None:
            await asyncio.sleep(delay)
            writer.write(struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu)

        try:
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                request = await reader.readexactly(length - 1)
                said = answer(unit, *struct.unpack(">BHH", request))
                if said is not None:
                    task = asyncio.create_task(reply(tid, unit, *said))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in tasks:
            task.cancel()


def connector(port: int, numbers: list[int], **more: Any) -> ModbusConnector:
    parameters = {
        "port": port,
        "timeout": "200ms",
        "units": [
            {"unit": unit, "asset": f"drive/{unit}", "template": "map", "interval": "20ms"}
            for unit in numbers
        ],
        **more,
    }
    template = ModbusTemplate.model_validate(WORDS)
    environment = Environment("line", "line", {"map": template})
    return ModbusConnector(ModbusConnector.Parameters.model_validate(parameters), environment)


async def read_for(made: ModbusConnector, seconds: float) -> list[Message]:
    stop = time.monotonic() + seconds
    messages: list[Message] = []
    while time.monotonic() < stop:
        messages += await made.read()
    return messages


def poll(message: Message) -> ModbusPoll:
    found: ModbusPoll = message.item[1]
    return found


def test_reads_registers_and_bits_as_they_are() -> None:
    async def scenario() -> None:
        async with server(words) as port:
            made = connector(port, [7])
            await made.open()
            [message] = await made.read()
            await made.close()
        assert poll(message).reads == (
            ModbusRead("coil", 3, [1], 0, 1),
            ModbusRead("holding", 0, [7000, 7001], 0, 2),
            ModbusRead("holding", 100, [7100], 0, 1),
        )
        assert (message.asset, message.group) == ("drive/7", "map")
        record = decode_modbus(ModbusConnector.pack([message, message]))
        assert record.template == "map"
        assert record.polls == (message.item[1], message.item[1])
        assert abs(poll(message).t - time.time_ns()) < 5 * 10**9

    asyncio.run(scenario())


def test_exceptions_travel_with_the_read() -> None:
    def refuse_one(unit: int, function: int, address: int, count: int) -> tuple[bytes, float]:
        if address == 100:
            return bytes([0x80 | function, 2]), 0
        return words(unit, function, address, count)

    async def scenario() -> None:
        async with server(refuse_one) as port:
            made = connector(port, [1])
            await made.open()
            [message] = await made.read()
            await made.close()
        assert [read.exception for read in poll(message).reads] == [0, 0, 2]
        assert poll(message).reads[2] == ModbusRead("holding", 100, (), 2, 1)
        assert made.counters.errors == {"exception-2": 1}
        assert made.alive("drive/1") is False  # closed
        assert made.problems() == ()

    asyncio.run(scenario())


def test_a_silent_unit_is_recorded_and_leaves_the_line_to_the_others() -> None:
    def one_silent(unit: int, *request: int) -> tuple[bytes, float] | None:
        return None if unit == 3 else words(unit, *request)

    async def scenario() -> None:
        async with server(one_silent) as port:
            made = connector(port, list(range(1, 6)))
            await made.open()
            messages = await read_for(made, 3.0)
            alive = [made.alive(f"drive/{unit}") for unit in range(1, 6)]
            problems = made.problems()
            await made.close()
        by_asset: dict[str, list[Message]] = {}
        for message in messages:
            by_asset.setdefault(message.asset, []).append(message)
        assert alive == [True, True, False, True, True]
        assert problems == ("unit 3 (drive/3) does not answer",)
        silent = by_asset["drive/3"]
        # 200 ms of silence is asked for again only after ten times that
        assert 1 <= len(silent) <= 3
        assert all(read.exception == 11 for each in silent for read in poll(each).reads)
        for unit in (1, 2, 4, 5):
            # 150 polls of 20 ms in 3 s, less what the silent unit's share takes
            assert len(by_asset[f"drive/{unit}"]) > 100
        assert made.counters.lost["unit-silent"] > 0

    asyncio.run(scenario())


def test_a_late_answer_is_not_taken_for_another_units() -> None:
    def late(unit: int, *request: int) -> tuple[bytes, float] | None:
        pdu, _ = words(unit, *request)
        return pdu, 0.25 if unit == 2 else 0.0

    async def scenario() -> None:
        async with server(late) as port:
            made = connector(port, [1, 2])
            await made.open()
            messages = await read_for(made, 2.0)
            await made.close()
        for message in messages:
            for read in poll(message).reads:
                if read.table == "holding" and not read.exception:
                    assert read.registers[0] // 1000 == int(message.asset[-1])
        assert any(message.asset == "drive/1" for message in messages)

    asyncio.run(scenario())


def test_a_lost_connection_is_noticed() -> None:
    async def scenario() -> None:
        async with server(words) as port:
            made = connector(port, [1])
            await made.open()
            assert await made.read()
            made._client.ctx.transport.abort()
            with pytest.raises(SourceUnavailable):
                await read_for(made, 2.0)
            await made.open()
            assert await made.read()
            await made.close()

    asyncio.run(scenario())


def test_a_line_on_which_nobody_answers_is_made_anew() -> None:
    async def scenario() -> None:
        async with server(lambda *_: None) as port:
            made = connector(port, [1, 2])
            made._patience = 10**9
            await made.open()
            with pytest.raises(SourceUnavailable, match="no unit"):
                await read_for(made, 20.0)
            await made.close()

    asyncio.run(scenario())


def test_nobody_listens() -> None:
    async def scenario() -> None:
        async with server(words) as port:
            pass
        with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{port}"):
            await connector(port, [1]).open()

    asyncio.run(scenario())


def test_unknown_template_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"known are map \(got 'mop'\)"):
        connector(1, [], units=[{"asset": "a", "template": "mop"}])


def test_a_poll_that_a_lost_line_interrupts_is_counted() -> None:
    """It was due and never lands: sent = landed + declared lost."""

    async def scenario() -> None:
        taken = asyncio.Event()

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            taken.set()
            writer.close()

        listening = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        made = connector(listening.sockets[0].getsockname()[1], [1], units=[
            {"unit": 1, "asset": "drive/1", "template": "map", "interval": "1h"}
        ])  # fmt: skip
        await made.open()
        with pytest.raises(SourceUnavailable):
            await made.read()
        assert taken.is_set()
        await made.close()
        listening.close()
        assert (made.counters.received, made.counters.lost) == (0, {"missed-poll": 1})

    asyncio.run(scenario())
