"""Modbus TCP: polls units on a stable grid and lands the registers as they were read.

One connection, one request at a time, as most gateways want it. A unit that does not answer is
recorded (exception 11, "gateway target device failed to respond"), and from then on it may only
take ``silent_share`` of the line's time until it answers again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException

from connectors.base import Connector, Environment, Message, now
from connectors.modbus.grid import Grid
from connectors.modbus.parameters import ModbusParameters, ModbusUnit
from connectors.modbus.planner import Range, plan
from models.errors import ConfigError, SourceUnavailable
from models.records.headers import RAW_MODBUS, Schema
from models.records.raw import ModbusPoll, ModbusRead, encode_modbus

log = logging.getLogger("plantstream.modbus")

#: "Gateway target device failed to respond" (Modbus application protocol v1.1b3, section 7).
NO_ANSWER = 11
#: For an answer that is no Modbus: "slave device failure".
_GARBLED = 4
_NS = 1_000_000_000
_METHODS = {
    "coil": "read_coils",
    "discrete": "read_discrete_inputs",
    "holding": "read_holding_registers",
    "input": "read_input_registers",
}


class _Unit:
    """One unit: its requests, when they are due, and whether it answers."""

    def __init__(self, unit: ModbusUnit, ranges: tuple[Range, ...]) -> None:
        self.unit = unit
        self.ranges = ranges
        self.grid = Grid(unit.interval, 0)
        self.size = 60 + sum(20 + 6 * each.count for each in ranges)
        self.silent = False
        #: A silent unit is not asked before this time (monotonic ns).
        self.not_before = 0

    @property
    def due(self) -> int:
        """When to ask it next, monotonic ns."""
        return max(self.grid.due, self.not_before)


class ModbusConnector(Connector[ModbusParameters]):
    """Polls the units of one Modbus TCP connection."""

    kind: ClassVar[str] = "modbus"
    Parameters: ClassVar[type[ModbusParameters]] = ModbusParameters
    schema: ClassVar[Schema] = RAW_MODBUS

    def __init__(self, parameters: ModbusParameters, environment: Environment) -> None:
        super().__init__(parameters, environment)
        plans: dict[str, tuple[Range, ...]] = {}
        for unit in parameters.units:
            template = environment.modbus_templates.get(unit.template)
            if template is None:
                known = ", ".join(sorted(environment.modbus_templates)) or "none"
                raise ConfigError(
                    f"unknown Modbus template; known are {known}",
                    field=f"connector {environment.name}: units: template",
                    value=unit.template,
                )
            plans.setdefault(unit.template, plan(template))
        self._units = [_Unit(unit, plans[unit.template]) for unit in parameters.units]
        self._begun = False
        self._client: Any = None
        self._answered = 0
        #: A line on which nothing answers for this long is made anew: it may be half open.
        self._patience = max(10 * _NS, 3 * parameters.timeout * (parameters.retries + 1))

    async def open(self) -> None:
        await self.close()
        parameters = self.parameters
        where = f"Modbus server {parameters.host}:{parameters.port}"
        self._client = AsyncModbusTcpClient(
            parameters.host,
            port=parameters.port,
            timeout=parameters.timeout / _NS,
            retries=parameters.retries,
            reconnect_delay=0,  # the runner reconnects, with backoff and jitter
            name=self.environment.name,
        )
        # it would otherwise cut the line of all units because of a silent one
        self._client.set_max_no_responses(2**31)
        try:
            connected = await self._client.connect()
        except OSError as error:
            raise SourceUnavailable(f"{where}: {error}") from error
        if not connected:
            raise SourceUnavailable(f"{where} does not accept a connection")
        self._answered = time.monotonic_ns()
        if not self._begun:
            self._begin(self._answered)

    def _begin(self, start: int) -> None:
        """Polls are due from the first connection on: none was missed before it."""
        self._begun = True
        for place, unit in enumerate(self._units):
            # Spread over their interval, so that not all are due at once.
            interval = unit.unit.interval
            unit.grid = Grid(interval, start + place * interval // len(self._units))

    async def read(self) -> Sequence[Message]:
        if self._client is None:
            raise SourceUnavailable("not connected")
        if time.monotonic_ns() - self._answered > self._patience and all(
            unit.silent for unit in self._units
        ):
            raise SourceUnavailable("no unit of the Modbus line answers")
        unit = min(self._units, key=lambda each: each.due)
        wait = unit.due - time.monotonic_ns()
        if wait > 0:
            await asyncio.sleep(wait / _NS)
        try:
            return [await self._poll(unit)]
        except SourceUnavailable:
            self.counters.lose("missed-poll")  # it was due, and what was read of it is no poll
            raise

    async def _poll(self, unit: _Unit) -> Message:
        begun = time.monotonic_ns()
        missed = unit.grid.take(begun)
        if missed:
            self.counters.lose("unit-silent" if unit.silent else "missed-poll", missed)
        t = now()
        reads: list[ModbusRead] = []
        silent = False
        for each in unit.ranges:
            # a unit that did not answer one request is not asked the others of this poll
            read = _unanswered(each) if silent else await self._read(unit.unit.unit, each)
            silent = silent or read.exception == NO_ANSWER
            reads.append(read)
        self._judge(unit, reads, time.monotonic_ns() - begun)
        self.counters.received += 1
        return Message(
            unit.unit.asset,
            (unit.unit.template, ModbusPoll(t, tuple(reads))),
            t,
            now(),
            group=unit.unit.template,
            size=unit.size,
        )

    def _judge(self, unit: _Unit, reads: Sequence[ModbusRead], spent: int) -> None:
        for read in reads:
            if read.exception:
                self.counters.error(f"exception-{read.exception}")
            if read.exception != NO_ANSWER:
                self._answered = time.monotonic_ns()
        was, unit.silent = unit.silent, all(read.exception == NO_ANSWER for read in reads)
        if unit.silent:
            pause = spent * (1 - self.parameters.silent_share) / self.parameters.silent_share
            unit.not_before = time.monotonic_ns() + int(pause)
        if unit.silent and not was:
            log.warning("%s: unit %d does not answer", self.environment.name, unit.unit.unit)
        elif was and not unit.silent:
            unit.not_before = 0
            log.info("%s: unit %d answers again", self.environment.name, unit.unit.unit)

    async def _read(self, unit: int, each: Range) -> ModbusRead:
        method = getattr(self._client, _METHODS[each.table])
        try:
            answer = await method(each.address, count=each.count, device_id=unit)
        except (ConnectionException, OSError) as error:
            raise SourceUnavailable(f"Modbus connection lost: {error}") from error
        except ModbusIOException as error:
            if not self._client.connected:
                raise SourceUnavailable(f"Modbus connection lost: {error}") from error
            return _unanswered(each)
        except (ModbusException, ValueError, IndexError) as error:
            log.debug("unit %d: %s", unit, error)
            self.counters.error("garbled")
            return ModbusRead(each.table, each.address, (), _GARBLED, each.count)
        if answer.isError():
            code = int(getattr(answer, "exception_code", 0)) or _GARBLED
            return ModbusRead(each.table, each.address, (), code, each.count)
        if each.table in ("coil", "discrete"):
            # the answer is padded to whole bytes
            values = [int(bit) for bit in answer.bits[: each.count]]
        else:
            values = list(answer.registers)
        if len(values) != each.count:
            self.counters.error("garbled")
            return ModbusRead(each.table, each.address, (), _GARBLED, each.count)
        return ModbusRead(each.table, each.address, values, 0, each.count)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def assets(self) -> frozenset[str]:
        return frozenset(unit.unit.asset for unit in self._units)

    @classmethod
    def pack(cls, messages: Sequence[Message]) -> bytes:
        template = messages[0].item[0]
        return encode_modbus(template, [each.item[1] for each in messages], messages[-1].received)

    def alive(self, asset: str) -> bool:
        return self._client is not None and not any(
            unit.silent for unit in self._units if unit.unit.asset == asset
        )

    def problems(self) -> Sequence[str]:
        return tuple(
            f"unit {unit.unit.unit} ({unit.unit.asset}) does not answer"
            for unit in self._units
            if unit.silent
        )


def _unanswered(each: Range) -> ModbusRead:
    return ModbusRead(each.table, each.address, (), NO_ANSWER, each.count)
