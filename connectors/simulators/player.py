"""Plays rows of signals and recordings at their pace, through a speaker of some protocol."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from connectors.simulators.config import (
    Fault,
    ModbusSimulator,
    MqttSimulator,
    OpcUaSimulator,
    SimAsset,
    Trace,
)
from connectors.simulators.duration import SECOND, now
from connectors.simulators.faults import AssetFaults, Sample
from connectors.simulators.journal import Journal, line_of
from connectors.simulators.signals import AssetSignals
from connectors.simulators.trace import Recording

AnySimulator = OpcUaSimulator | ModbusSimulator | MqttSimulator


@dataclass(frozen=True, slots=True)
class Row:
    """What one asset measures at one time: ``n`` counts from 1, ``t`` is int64 ns.

    ``silent`` says the device itself is away: nothing of it can be read.
    ``held`` says the row must not be lost for want of time: it comes from a recording.
    """

    asset: str
    n: int
    t: int
    samples: list[Sample]
    silent: bool = False
    held: bool = False


class Speaker(ABC):
    """Speaks one protocol. It journals what it sent, as the protocol carried it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        #: Held rows that a slow or absent client did not get in time.
        self.overrun = 0

    @abstractmethod
    async def start(self) -> str:
        """Begin to listen or to connect; the endpoint. Raises OSError when that fails."""

    @abstractmethod
    async def send(self, row: Row) -> None:
        """Send one row, after any wait that a held row is owed."""

    @abstractmethod
    async def drain(self) -> None:
        """Return when clients have what was sent, or patience ends."""

    @abstractmethod
    async def stop(self) -> None:
        """Close connections."""

    def note(self, row: Row, t: int, samples: list[Sample]) -> None:
        """Journal the samples of a row."""
        self.journal.write(line_of(row.n, row.asset, t, sample) for sample in samples)


#: Sending a row takes less, unless it waits for a client, ns.
_WAITED = 50_000_000


@dataclass
class Progress:
    """Counts of one asset."""

    rows: int = 0
    samples: int = 0
    first: int | None = None
    last: int = 0
    done: bool = False


@dataclass
class _Asset:
    faults: AssetFaults
    progress: Progress = field(default_factory=Progress)


class Player:
    """Runs the sources of a simulator until stopped, or until all bounded ones are through."""

    def __init__(
        self, simulator: AnySimulator, speaker: Speaker, recording: Recording | None
    ) -> None:
        self._simulator, self._speaker, self._recording = simulator, speaker, recording
        self._running = asyncio.Event()
        if not simulator.paused:
            self._running.set()
        self.stopped = asyncio.Event()
        self._assets: dict[str, _Asset] = {}
        self._signals: dict[str, AssetSignals] = {}
        self._live = [asset for asset in simulator.assets if asset.tags]
        for asset in self._live:
            signals = AssetSignals(simulator.seed, asset.name, asset.tags)
            self._signals[asset.name] = signals
            self._add(asset.name, list(asset.tags), signals.spread)
        if recording is not None and simulator.trace is not None:
            self._add(simulator.trace.asset, recording.tags, recording.spread.__getitem__)

    def _add(self, asset: str, tags: list[str], spread: Callable[[str], float]) -> None:
        simulator = self._simulator
        self._assets[asset] = _Asset(
            AssetFaults(
                asset, tags, simulator.faults, simulator.random_faults, simulator.seed, spread
            )
        )

    async def run(self) -> None:
        """Play. Returns when stopped, or at the end if the simulator is to exit there."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._play_signals(asset)) for asset in self._live]
            if self._recording is not None and self._simulator.trace is not None:
                playing = self._play_trace(self._simulator.trace, self._recording)
                tasks.append(group.create_task(playing))
            stop = group.create_task(self.stopped.wait())
            through = group.create_task(self._through(tasks))
            await asyncio.wait([stop, through], return_when=asyncio.FIRST_COMPLETED)
            if not self.stopped.is_set() and not self._simulator.exit_at_end:
                await stop
            for task in (*tasks, stop, through):
                task.cancel()

    async def _through(self, tasks: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(tasks)
        if self._simulator.exit_at_end:
            await self._speaker.drain()
            await asyncio.sleep(self._simulator.linger / SECOND)

    async def _send(self, asset: str, t: int, values: dict[str, float], held: bool) -> None:
        state = self._assets[asset]
        progress = state.progress
        progress.first = t if progress.first is None else progress.first
        elapsed = t - progress.first
        samples = state.faults.apply(elapsed, values)
        silent = state.faults.silent(elapsed)
        n = progress.rows + 1
        await self._speaker.send(Row(asset, n, t, [] if silent else samples, silent, held))
        progress.rows, progress.last = n, t
        progress.samples += 0 if silent else len(samples)

    async def _play_signals(self, asset: SimAsset) -> None:
        """Rows on a grid of event times. Time that was paused is skipped, not caught up."""
        interval, signals = asset.interval, self._signals[asset.name]
        wall = now() // interval * interval
        start = self._simulator.start
        if start is None:
            shift = 0
        else:
            start = start.replace(tzinfo=UTC) if start.tzinfo is None else start
            shift = round(start.timestamp() * 1_000_000) * 1000 - wall
        while asset.rows is None or self._assets[asset.name].progress.rows < asset.rows:
            if not self._running.is_set():
                await self._running.wait()
                wall = max(wall, now() // interval * interval)
            await asyncio.sleep(max(wall - now(), 0) / SECOND)
            t = wall + shift
            await self._send(asset.name, t, signals.row(t, interval), held=False)
            wall += interval
        self._assets[asset.name].progress.done = True

    async def _play_trace(self, trace: Trace, recording: Recording) -> None:
        previous, due = int(recording.t[0]), now()
        for index, t in enumerate(recording.t.tolist()):
            if not self._running.is_set():
                await self._running.wait()
                due = max(due, now())
            if trace.rows_per_second is not None:
                due += round(SECOND / trace.rows_per_second) if index else 0
            elif trace.speed != "max":
                due += round(max(t - previous, 0) / trace.speed)
            previous = t
            # without a pace, other tasks still get their turn
            await asyncio.sleep(max(due - now(), 0) / SECOND)
            begun = now()
            await self._send(trace.asset, t, recording.row(index), held=True)
            waited = now() - begun
            if waited > _WAITED:  # for a client: skipped, else the next rows would come at once
                due += waited
        self._assets[trace.asset].progress.done = True

    def command(self, message: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command and answer it. Raises ValueError that says what is allowed."""
        match message.get("do"):
            case "pause":
                self._running.clear()
            case "resume":
                self._running.set()
            case "stop":
                self.stopped.set()
            case "status":
                return {"ok": True, **self.status()}
            case "fault":
                fault = Fault.model_validate({k: v for k, v in message.items() if k != "do"})
                state = self._assets.get(fault.asset)
                if state is None:
                    raise ValueError(f"asset {fault.asset!r}; known are {sorted(self._assets)}")
                progress = state.progress
                elapsed = 0 if progress.first is None else progress.last - progress.first + 1
                state.faults.add(fault, elapsed)
            case other:
                raise ValueError(f"do {other!r}; known are fault, pause, resume, status, stop")
        return {"ok": True}

    def status(self) -> dict[str, Any]:
        """Counts since the start."""
        return {
            "paused": not self._running.is_set(),
            "rows": sum(asset.progress.rows for asset in self._assets.values()),
            "samples": sum(asset.progress.samples for asset in self._assets.values()),
            "journaled": self._speaker.journal.lines,
            "overrun": self._speaker.overrun,
            "done": all(asset.progress.done for asset in self._assets.values()),
            "assets": {
                name: {"rows": asset.progress.rows, "samples": asset.progress.samples}
                for name, asset in self._assets.items()
            },
        }
