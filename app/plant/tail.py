"""Reads the ends of topics as they grow: committed records only, without a group of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from app.kafka import KafkaSettings, admin_client, consumer_options
from app.kafka.topics import partition_counts
from models.errors import TransportError

_LOOK_S = 1.0
_REQUEST_S = 10.0


@dataclass(frozen=True, slots=True)
class Tailed:
    """A record that came: what it is of, its kind of output, and its bytes."""

    topology: str
    kind: str
    value: bytes | None
    timestamp_ms: int


class Tail:
    """Follows topics from where they end now, less ``last`` records a partition.

    ``topics`` maps a full topic name to (topology, kind of output). Topics that do not exist yet
    are followed from their beginning once they do.
    """

    def __init__(
        self, kafka: KafkaSettings, topics: Mapping[str, tuple[str, str]], last: int = 0
    ) -> None:
        self._topics, self._last = dict(topics), last
        self._admin = admin_client(kafka, "watch")
        group = kafka.group(f"watch-{uuid.uuid4().hex[:12]}")
        self._consumer = Consumer(consumer_options(kafka, "watch", group, fetch_wait_max_ms=50))
        self._followed: set[str] = set()
        self._assigned: list[TopicPartition] = []
        self._looked = float("-inf")
        self._first = True

    def read(self, wait_s: float = 0.2) -> list[Tailed]:
        """What has come meanwhile; waits at most so long for something."""
        self._look()
        if not self._assigned:
            time.sleep(wait_s)
            return []
        found = self._consumer.consume(500, wait_s)
        return [record for message in found if (record := self._record(message)) is not None]

    def follow(self, stopped: Callable[[], bool]) -> Iterator[Tailed]:
        """All that comes until ``stopped`` says so."""
        try:
            while not stopped():
                yield from self.read()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of Kafka. Safe to repeat."""
        self._consumer.close()

    def _record(self, message: Message) -> Tailed | None:
        if message.error() is not None:
            return None  # librdkafka tries again by itself
        topology, kind = self._topics[str(message.topic())]
        value = message.value()
        return Tailed(
            topology, kind, value if isinstance(value, bytes) else None, message.timestamp()[1]
        )

    def _look(self) -> None:
        """Follow topics that exist now."""
        missing = self._topics.keys() - self._followed
        if not missing or time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        try:
            for topic, count in partition_counts(self._admin, missing).items():
                fresh = [TopicPartition(topic, p, self._start(topic, p)) for p in range(count)]
                self._assigned += fresh
                self._followed.add(topic)
                self._consumer.incremental_assign(fresh)
        except (KafkaException, TransportError):
            return  # Kafka is away: the next look finds it again
        self._first = False

    def _start(self, topic: str, partition: int) -> int:
        low, high = self._consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=_REQUEST_S
        )
        return int(max(low, high - self._last)) if self._first else int(low)
