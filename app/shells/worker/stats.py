"""What a worker counts of itself: plain numbers, written by its loop and read by the exporter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from app.observe.histogram import Histogram
from topologies.core import CompiledStage, Emission


class StageStats:
    """Of one stage since the process started."""

    __slots__ = ("counts", "emitted", "received", "seconds", "stage")

    def __init__(self, stage: CompiledStage) -> None:
        self.stage = stage
        self.received = 0
        #: Records by output name.
        self.emitted: dict[str, int] = {}
        #: What the stage counted: ``samples``, ``skipped.<reason>``, ``dead.<reason>`` …
        self.counts: dict[str, int] = {}
        #: Seconds in the stage's function per record.
        self.seconds = Histogram(
            (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
        )

    def record(self, counts: Mapping[str, int], emissions: list[Emission], spent: float) -> None:
        """Count one record that was processed in ``spent`` seconds."""
        self.received += 1
        totals = self.counts
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
        emitted = self.emitted
        for emission in emissions:
            name = emission.output
            emitted[name] = emitted.get(name, 0) + 1
        self.seconds.observe(spent)


class WorkerStats:
    """Of one worker since the process started."""

    def __init__(self, topology: str) -> None:
        self.topology = topology
        self.instance = ""
        #: Consumer group, once it runs.
        self.group = ""
        #: Stage by the topic it reads.
        self.stages: dict[str, StageStats] = {}
        self.commits = 0
        self.commit_seconds = 0.0
        #: Times the worker began anew with fresh clients, after Kafka had failed it.
        self.restarts = 0
        #: What went wrong, by where and reason.
        self.errors: dict[tuple[str, str], int] = {}
        #: From a record's Kafka timestamp to the commit that makes its outputs visible.
        self.latency = Histogram(
            (0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)
        )
        #: Partitions held, by topic; None before the first assignment.
        self.assigned: Mapping[str, list[int]] | None = None
        #: Records behind the end of each assigned partition, every few seconds.
        self.lag: Mapping[tuple[str, int], int] = {}
        #: Whether state is being restored, and how many changelog records are still to come,
        #: every few seconds.
        self.restoring: Callable[[], bool] = lambda: False
        self.restore_remaining = 0
        #: Who paused the topology and when; empty where nobody did.
        self.paused: Callable[[], str] = lambda: ""
        #: The stores of the partitions held, by (topic, partition): see `inside`.
        self.stores: Callable[[], Mapping[tuple[str, int], Any]] = dict
        self._running = False
        self._pending: list[int] = []
        self.pend = self._pending.append

    def error(self, where: str, reason: str) -> None:
        """Something went wrong with ``kafka``; the reason in a word."""
        self.errors[where, reason] = self.errors.get((where, reason), 0) + 1

    def start(self, group: str, stages: Mapping[str, CompiledStage]) -> None:
        """A loop starts to run these stages."""
        self.group = group
        for topic, stage in stages.items():
            if topic not in self.stages:
                self.stages[topic] = StageStats(stage)
        self._running = True

    def stop(self) -> None:
        """The loop has ended."""
        self._running = False
        self.assigned, self.lag = None, {}
        self.restoring, self.restore_remaining = lambda: False, 0
        self.stores = dict
        self._pending.clear()

    @property
    def waiting_for(self) -> str | None:
        """Why the worker is not ready, in words; None when it is.

        Ready: partitions were given out (perhaps none to this worker), and are restored.
        """
        if not self._running:
            return "Kafka"
        if self.assigned is None:
            return "its share of partitions"
        if self.restoring():
            return f"state to be restored, {self.restore_remaining} changelog records to go"
        return None

    def committed(self, spent: float) -> None:
        """A commit took ``spent`` seconds; all pending records' outputs are visible now."""
        self.commits += 1
        self.commit_seconds += spent
        now = time.time()
        observe = self.latency.observe
        for timestamp_ms in self._pending:
            observe(max(now - timestamp_ms / 1000, 0.0))
        self._pending.clear()
