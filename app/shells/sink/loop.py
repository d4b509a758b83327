"""The sink's loop: consume, map, write, and only then commit.

One batch is written while the next is consumed and mapped. While MongoDB is away the loop holds on
to both, pauses its partitions and goes on polling, so that the group keeps it as a member.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.kafka import KafkaSettings, consumer_options, describe
from app.shells.sink.batch import Batch, gather
from app.shells.sink.letters import Letters
from app.shells.sink.stats import SinkStats
from app.store import BulkWriter, Mapper, OutputSpec, SinkSettings
from models.errors import TransportError
from models.time import NS_PER_MS, NS_PER_S

LOG = logging.getLogger("plantstream.sink")

#: A batch that takes longer pauses the partitions.
_PATIENCE_S = 1.0
_POLL_S = 0.1
_LAG_EVERY_S = 2.0
_BROKER_S = 2.0

#: Errors of a consumer after which only fresh settings help.
REFUSED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.INVALID_CONFIG,
        KafkaError._AUTHENTICATION,
        KafkaError._INVALID_ARG,
    }
)


class KafkaRefused(TransportError):
    """Kafka will not serve this sink until somebody changes something."""


class SinkLoop:
    """One life of a sink: from subscribing to its consumer's close."""

    def __init__(
        self,
        topology: str,
        outputs: Mapping[str, OutputSpec],
        mapper: Mapper,
        writer: BulkWriter,
        letters: Letters,
        kafka: KafkaSettings,
        settings: SinkSettings,
        stats: SinkStats,
    ) -> None:
        self._outputs, self._mapper, self._writer = outputs, mapper, writer
        self._letters, self._settings, self._stats = letters, settings, stats
        self._stop = threading.Event()
        self._pending: Batch | None = None
        self._held: list[Message] = []
        self._assigned: set[tuple[str, int]] = set()
        #: Raised when partitions go: what was consumed before is another sink's now.
        self._generation = 0
        self._paused = self._resume_due = False
        self._lag_at = 0.0
        self._unknown: set[str] = set()
        role = f"sink-{topology}"
        self._consumer = Consumer(
            consumer_options(
                kafka,
                role,
                kafka.group(role),
                session_timeout_ms=settings.session_timeout // NS_PER_MS,
                max_poll_interval_ms=settings.max_poll_interval // NS_PER_MS,
                heartbeat_interval_ms=min(3000, settings.session_timeout // NS_PER_MS // 3),
                queued_max_messages_kbytes=2 * settings.batch_bytes // 1024,
                fetch_wait_max_ms=50,
                # Outputs that do not exist yet are found soon after a worker makes them.
                topic_metadata_refresh_interval_ms=5000,
            )
        )

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set. Raises StoreRefused, KafkaRefused, TransportError."""
        self._stop = stop
        try:
            self._consumer.subscribe(
                list(self._outputs),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not stop.is_set():
                messages = self._collect()
                generation = self._generation
                batch = gather(messages, self._mapper, self._outputs, int(time.time() * 1000))
                self._finish()
                # Partitions that changed hands meanwhile are read again from what was committed.
                if messages and generation == self._generation and not stop.is_set():
                    self._begin(batch)
                self._measure_lag()
            self._hand_over()
        finally:
            self._abandon()
            self._consumer.close()

    # ------------------------------------------------------------ consuming
    def _collect(self) -> list[Message]:
        """Records for a batch: until it is full or its time is over."""
        settings = self._settings
        messages, self._held = self._held, []
        size, generation = sum(map(len, messages)), self._generation
        deadline = time.monotonic() + settings.batch_wait / NS_PER_S
        while len(messages) < settings.batch_records and size < settings.batch_bytes:
            if self._stop.is_set():
                break
            # One at a time: a message that comes with a change of partitions comes after it.
            message = self._consumer.poll(max(0.0, min(deadline - time.monotonic(), _POLL_S)))
            if generation != self._generation:
                generation, size = self._generation, 0
                messages.clear()
            if message is not None and self._good(message):
                messages.append(message)
                size += len(message)
            elif time.monotonic() >= deadline:
                break
            if self._pending is not None and self._pending.done.is_set():
                self._finish()
        return messages

    def _good(self, message: Message) -> bool:
        """Whether it is a record; an error is judged."""
        error = message.error()
        if error is None:
            return True
        if error.code() in REFUSED or error.fatal():
            raise KafkaRefused(f"Kafka refuses: {describe(error)}")
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            topic = message.topic() or error.str()
            if topic not in self._unknown:
                self._unknown.add(topic)
                LOG.warning("no such topic yet: %s", topic)
        else:
            LOG.info("Kafka: %s", describe(error))
            self._stats.error("kafka", error.name())
        return False

    # ------------------------------------------------------------ writing
    def _begin(self, batch: Batch) -> None:
        self._pending = batch
        for name, count in batch.records.items():
            self._stats.records[name] = self._stats.records.get(name, 0) + count
        batch.start(self._writer, self._troubled)

    def _troubled(self, why: str) -> None:
        if not self._stats.trouble:
            LOG.warning("the store does not take documents, trying again: %s", why)
        self._stats.troubled(why)

    def _finish(self) -> None:
        """Wait for the batch under way, however long that takes, and commit it."""
        pending = self._pending
        if pending is None:
            return
        since = time.monotonic()
        while not pending.done.wait(_POLL_S):
            if self._stop.is_set():
                self._hand_over()
                return
            if time.monotonic() - since > _PATIENCE_S:
                self._pause()
                message = self._consumer.poll(0)
                if message is not None and self._good(message):
                    self._held.append(message)
                if self._pending is not pending:
                    break  # the partitions were taken away
        if self._pending is pending:
            self._settle(pending)
        self._resume()

    def _settle(self, batch: Batch) -> None:
        """Everything of a batch is written: dead letters, then offsets."""
        self._pending = None
        if batch.error is not None:
            raise batch.error
        outcome, stats = batch.outcome, self._stats
        if outcome is None:
            return
        if stats.trouble:
            LOG.info("the store takes documents again")
            stats.trouble = ""
        for source, error in batch.malformed:
            self._letters.send(source, "decode", error.reason, str(error))
        sent = set()
        for write, why in outcome.rejected:
            place = write.source[:3]
            if place not in sent:  # one letter a record, however many of its documents are bad
                sent.add(place)
                self._letters.send(write.source, "store", "rejected", f"MongoDB: {why}")
        if batch.malformed or sent:
            patience = self._settings.hand_over / NS_PER_S
            if not self._letters.settled(self._stop, patience):
                LOG.warning("Kafka has not taken the dead letters: they will be sent again")
                return
        self._commit(batch)
        stats.batches += 1
        stats.documents += outcome.stored
        stats.samples += outcome.samples
        stats.unchanged += outcome.unchanged
        stats.retried += outcome.retried
        stats.write_seconds.observe(batch.seconds)
        stats.visible(write.newest for write in batch.writes)

    def _commit(self, batch: Batch) -> None:
        offsets = [tp for tp in batch.offsets if (tp.topic, tp.partition) in self._assigned]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as failure:
            error: KafkaError = failure.args[0]
            if error.code() in REFUSED or error.fatal():
                raise KafkaRefused(f"Kafka refuses: {describe(error)}") from failure
            # A later batch commits these too; after a crash they are written again, unchanged.
            LOG.warning("offsets are not committed now: %s", describe(error))
            self._stats.error("kafka", error.name())

    def _hand_over(self) -> None:
        """Give the batch under way its time to be written and committed; then let go of it."""
        pending = self._pending
        if pending is None:
            return
        if pending.done.wait(self._settings.hand_over / NS_PER_S):
            self._settle(pending)
        else:
            LOG.warning("a batch was not written in time: it will be written again")
            self._abandon()

    def _abandon(self) -> None:
        if self._pending is not None:
            self._pending.cancelled.set()
            self._pending = None

    # ------------------------------------------------------------ partitions
    def _pause(self) -> None:
        if not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = self._resume_due = True

    def _resume(self) -> None:
        if self._resume_due:
            self._consumer.resume(self._consumer.assignment())
            self._paused = self._resume_due = False

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assigned |= {(tp.topic, tp.partition) for tp in partitions}
        self._paused = False  # these are not
        self._publish()
        self._look_for_losses(consumer, partitions)

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_over()
        self._forget(partitions)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._abandon()
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._assigned -= {(tp.topic, tp.partition) for tp in partitions}
        self._generation += 1
        self._held.clear()
        self._publish()

    def _publish(self) -> None:
        held: dict[str, list[int]] = {}
        for topic, partition in sorted(self._assigned):
            held.setdefault(topic, []).append(partition)
        self._stats.assigned = held

    def _look_for_losses(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Say so when retention deleted records before this group had read them."""
        try:
            for at in consumer.committed(partitions, _BROKER_S):
                if at.offset < 0:
                    continue
                low, _ = consumer.get_watermark_offsets(at, _BROKER_S)
                if low > at.offset:
                    self._stats.lost += low - at.offset
                    LOG.error(
                        "%s[%d]: Kafka deleted %d records before they were stored",
                        at.topic,
                        at.partition,
                        low - at.offset,
                    )
        except KafkaException as failure:
            LOG.info("cannot compare offsets: %s", describe(failure.args[0]))

    def _measure_lag(self) -> None:
        if time.monotonic() < self._lag_at:
            return
        self._lag_at = time.monotonic() + _LAG_EVERY_S
        lag = {}
        for at in self._consumer.position(self._consumer.assignment()):
            _, high = self._consumer.get_watermark_offsets(at, cached=True)
            if at.offset >= 0 and high >= 0:
                lag[at.topic, at.partition] = max(0, high - at.offset)
        self._stats.lag = lag
