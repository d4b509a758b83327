"""A Modbus TCP server: a unit per asset, whose registers all change at once with each row.

Until its first row a unit answers "device busy". A field of bad quality makes reads that touch it
fail with "device failure"; a unit whose asset is silent does not answer at all. A value that is
dropped or missing is NaN, or the type's "not available" (see registers.py).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.exceptions import NoSuchIdException
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from connectors.simulators.config import ModbusAsset, ModbusField, ModbusSimulator
from connectors.simulators.duration import SECOND, now
from connectors.simulators.faults import BAD, Sample
from connectors.simulators.journal import Journal
from connectors.simulators.player import Row, Speaker
from connectors.simulators.registers import encode, missing, played_asset

_TABLES = ("coil", "discrete", "holding", "input")
#: Function codes that read each table, and pymodbus' way to name a table when setting it.
_READS = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_CODES = {table: code for code, table in _READS.items()}
_BITS = ("coil", "discrete")
#: A bit nobody maps: pymodbus wants every table to have one.
_UNUSED = 65520


class Unit:
    """One unit: its registers, what of the present row was read, and how it misbehaves."""

    def __init__(self, asset: ModbusAsset) -> None:
        self.asset = asset
        self.read = asyncio.Event()
        self.rows = 0
        #: What must be read before a recorded row counts as read: not its number, which is for
        #: those who want to count.
        self._needed = {name for name, field in asset.fields.items() if field.source != "row"}
        self._unread: set[str] = set()
        self._bad: set[str] = set()
        self._silent = False
        self._own = False
        self._image: dict[str, dict[int, int]] = {table: {} for table in _TABLES}
        for field in asset.fields.values():
            self._image[field.table].update(dict.fromkeys(range(field.address, field.stop), 0))

    def device(self) -> SimDevice:
        """The unit as pymodbus serves it: addresses outside of fields are illegal."""
        tables: list[list[SimData]] = []
        for table in _TABLES:
            bits = table in _BITS
            kind = DataType.BITS if bits else DataType.REGISTERS
            data = [
                SimData(start, values=[False if bits else 0] * length, datatype=kind)
                for start, length in self._runs(table)
            ]
            empty = SimData(_UNUSED, values=[False], datatype=kind) if bits else SimData(_UNUSED)
            tables.append(data or [empty])
        coils, discrete, holding, inputs = tables
        return SimDevice(
            self.asset.unit,
            simdata=(coils, discrete, holding, inputs),
            use_bit_addressing=True,
            action=self._action,
        )

    def _runs(self, table: str) -> list[tuple[int, int]]:
        """(first address, length) of each contiguous range."""
        runs: list[tuple[int, int]] = []
        for address in sorted(self._image[table]):
            if runs and runs[-1][0] + runs[-1][1] == address:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((address, 1))
        return runs

    async def _action(
        self, code: int, start: int, address: int, count: int, registers: Any, values: Any
    ) -> ExcCodes | None:
        """Called by pymodbus before each access. Raises to leave a request unanswered."""
        if self._own:
            return None
        if self._silent:
            raise NoSuchIdException("silent")
        if self.rows == 0:
            return ExcCodes.DEVICE_BUSY
        table = _READS.get(code)
        if table is None:
            return None
        stop = address + (16 * count if table in _BITS else count)
        touched = {
            name
            for name, field in self.asset.fields.items()
            if field.table == table and field.address < stop and address < field.stop
        }
        bad = touched & self._bad
        self._unread -= bad or touched
        if not self._unread:
            self.read.set()
        return ExcCodes.DEVICE_FAILURE if bad else None

    async def show(self, row: Row, server: ModbusTcpServer) -> list[Sample]:
        """Put a row into the registers; the samples as they are carried.

        Nothing here gives way to another task, so that no read sees half a row.
        """
        carried: list[Sample] = []
        samples = {sample.tag: sample for sample in row.samples}
        self._bad = {sample.tag for sample in row.samples if sample.status == BAD}
        for name, field in self.asset.fields.items():
            registers, sample = self._field(name, field, row, samples)
            if sample is not None:
                carried.append(sample)
            for offset, register in enumerate(registers):
                self._image[field.table][field.address + offset] = register
        self._own = True
        try:
            for table in _TABLES:
                image = self._image[table]
                for start, length in self._runs(table):
                    values: list[int] | list[bool] = [image[start + at] for at in range(length)]
                    if table in _BITS:
                        values = [bool(value) for value in values]
                    await server.async_setValues(self.asset.unit, _CODES[table], start, values)
        finally:
            self._own = False
        self.rows = row.n
        self._silent = row.silent
        self._unread = set(self._needed)
        self.read.clear()
        return carried

    def _field(
        self, name: str, field: ModbusField, row: Row, samples: dict[str, Sample]
    ) -> tuple[list[int], Sample | None]:
        match field.source:
            case "row":
                return encode(field, row.n)[0], None
            case "time_ms":
                return encode(field, row.t // 1_000_000)[0], None
            case "time_ns":
                return encode(field, row.t)[0], None
        sample = samples.get(name)
        if sample is None or sample.v is None:
            return missing(field), sample
        registers, value = encode(field, sample.v)
        return registers, dataclasses.replace(sample, v=value)

    def time_of(self, row: Row) -> int:
        """The event time as the registers carry it."""
        sources = {field.source for field in self.asset.fields.values()}
        if "time_ns" in sources or "time_ms" not in sources:
            return row.t
        return row.t // 1_000_000 * 1_000_000


class ModbusSpeaker(Speaker):
    """The server. ``trace_tags`` are the tags of the recorded asset, if one is played.

    Raises ValueError when the recorded asset's map lacks one of them.
    """

    def __init__(self, simulator: ModbusSimulator, journal: Journal, trace_tags: list[str]) -> None:
        super().__init__(journal)
        self._simulator = simulator
        self._trace = simulator.trace
        self._clients = 0
        self._server: ModbusTcpServer | None = None
        assets = {asset.name: asset for asset in simulator.assets}
        if self._trace is not None:
            assets[self._trace.asset] = played_asset(simulator, trace_tags)
        self._units = {name: Unit(asset) for name, asset in assets.items()}

    async def start(self) -> str:
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        self._server = ModbusTcpServer(
            [unit.device() for unit in self._units.values()],
            address=("127.0.0.1", self._simulator.port),
            ignore_missing_devices=True,
            trace_connect=self._connected,
        )
        try:
            await self._server.serve_forever(background=True)
        except RuntimeError as error:
            raise OSError(f"port {self._simulator.port}: {error}") from None
        transport: Any = self._server.transport
        port = transport.sockets[0].getsockname()[1]
        return f"127.0.0.1:{port}"

    def _connected(self, connected: bool) -> None:
        self._clients += 1 if connected else -1

    async def send(self, row: Row) -> None:
        assert self._server is not None
        unit = self._units[row.asset]
        if row.held and unit.rows:
            await self._room(unit)
        carried = await unit.show(row, self._server)
        self.note(row, unit.time_of(row), carried)

    async def _room(self, unit: Unit) -> None:
        """Wait until the present row of a recording was read, if the next one must wait."""
        trace = self._trace
        assert trace is not None
        paced = trace.speed != "max" or trace.rows_per_second is not None
        if not paced or (unit.rows == 1 and trace.wait_for_client):
            await self._until_read(unit, trace.patience, trace.wait_for_client)
        if not unit.read.is_set():
            self.overrun += 1

    async def _until_read(self, unit: Unit, patience: int, for_client: bool) -> None:
        deadline = now() + patience
        while not unit.read.is_set() and now() < deadline:
            try:
                await asyncio.wait_for(unit.read.wait(), min(patience / SECOND, 0.1))
            except TimeoutError:
                if for_client and not self._clients:
                    deadline = now() + patience

    async def drain(self) -> None:
        if self._trace is not None:
            unit = self._units[self._trace.asset]
            await self._until_read(unit, self._trace.patience, for_client=False)

    async def stop(self) -> None:
        if self._server is not None:
            server: Any = self._server  # untyped in pymodbus
            await server.shutdown()
