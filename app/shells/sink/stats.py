"""What a sink counts of itself: plain numbers, written by its loop and read by the exporter."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from app.observe.histogram import Histogram


class SinkStats:
    """Of one sink since the process started."""

    def __init__(self, topology: str) -> None:
        self.topology = topology
        #: Records consumed, by output name.
        self.records: dict[str, int] = {}
        #: Batches written and committed.
        self.batches = 0
        #: Documents stored, those that were no newer than what was there, samples stored.
        self.documents = 0
        self.unchanged = 0
        self.samples = 0
        #: Times the store was away or busy, and documents tried again.
        self.troubles = 0
        self.retried = 0
        #: Dead letters by reason.
        self.dead: dict[str, int] = {}
        #: Records that Kafka deleted before they were read.
        self.lost = 0
        #: Times the sink began anew with fresh clients, after Kafka had failed it.
        self.restarts = 0
        #: What went wrong, by where and reason.
        self.errors: dict[tuple[str, str], int] = {}
        #: Seconds of a batch in MongoDB.
        self.write_seconds = Histogram(
            (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
        )
        #: From the newest event time of a document to the commit after it was stored.
        self.latency = Histogram(
            (0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)
        )
        #: Partitions held, by topic; None before the first assignment.
        self.assigned: Mapping[str, list[int]] | None = None
        #: Records (and transaction marks) behind the end of each partition, every few seconds.
        self.lag: Mapping[tuple[str, int], int] = {}
        #: What keeps MongoDB from being written now; empty: nothing.
        self.trouble = ""

    @property
    def ready(self) -> bool:
        """Partitions were given out (perhaps none to this sink) and MongoDB takes documents."""
        return self.assigned is not None and not self.trouble

    def troubled(self, why: str) -> None:
        """A write failed and will be tried again."""
        self.troubles += 1
        self.trouble = why
        self.error("store", "away")

    def error(self, where: str, reason: str) -> None:
        """Something went wrong with ``kafka`` or the ``store``; the reason in a word."""
        self.errors[where, reason] = self.errors.get((where, reason), 0) + 1

    def dead_letter(self, reason: str) -> None:
        """A record became a dead letter."""
        self.dead[reason] = self.dead.get(reason, 0) + 1

    def visible(self, newest: Iterable[int]) -> None:
        """Documents with these newest event times, ns, are stored and committed now."""
        now = time.time()
        for ns in newest:
            self.latency.observe(now - ns / 1e9)

    def stopped(self) -> None:
        """The loop has ended."""
        self.assigned, self.lag, self.trouble = None, {}, ""
