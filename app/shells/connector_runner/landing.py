"""Lands records on Kafka: idempotent, ``acks=all``, in order per asset, however long it takes.

librdkafka retries without end (``message.timeout.ms=0``). Where it gives up nonetheless (a fatal
error, a refusal that may pass) the producer is replaced and everything that has not landed is
sent again under the same event ids.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Producer

from app.kafka import KafkaSettings, describe, producer_options
from app.shells.connector_runner.backoff import Backoff
from app.shells.connector_runner.letters import Letters
from app.shells.connector_runner.outbox import Outbox
from app.shells.connector_runner.records import Record
from app.shells.connector_runner.sayings import Sayings
from app.shells.connector_runner.stats import ConnectorStats

LOG = logging.getLogger("plantstream.connector")

#: Records that Kafka will never take, however often they are sent.
_HOPELESS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "too-large",
    KafkaError.INVALID_MSG: "invalid",
    KafkaError.INVALID_TIMESTAMP: "invalid-timestamp",
    KafkaError.INVALID_RECORD: "invalid",
}
#: Records handed to Kafka's client in one go, before other tasks have their turn.
_BURST = 200
_POLL_S = 0.1
#: How long a replaced producer is given to report what it had landed.
_LAST_WORDS_S = 1.0


class Landing:
    """Moves records from an outbox to a topic."""

    def __init__(
        self, outbox: Outbox, settings: KafkaSettings, topic: str, stats: ConnectorStats
    ) -> None:
        self._outbox, self._settings, self._topic, self._stats = outbox, settings, topic, stats
        self._letters = Letters(stats.name, topic, settings)
        self._loop = asyncio.get_running_loop()
        self._reports: deque[tuple[Record, KafkaError | None]] = deque()
        self._report_scheduled = False
        self._failed = asyncio.Event()
        self._backoff = Backoff(0.2, 10.0)
        self._sayings = Sayings(
            settings.topics.connectors, stats, self._produce, self._later, self._kafka_takes
        )
        #: Says something of this connector: key, value, headers. See `Sayings.say`.
        self.say = self._sayings.say
        self._client = _Client(settings, self._kafka_said)

    async def run(self) -> None:
        """Land until cancelled."""
        while True:
            if self._failed.is_set():
                await self._replace()
            sent = 0
            while sent < _BURST and not self._failed.is_set():
                record = self._outbox.take()
                if record is None:
                    break
                if not self._hand_over(record):
                    break
                sent += 1
            if sent == _BURST:
                await asyncio.sleep(0)
            else:
                await self._wait()

    async def _wait(self) -> None:
        waits = [
            asyncio.ensure_future(self._outbox.wait_record()),
            asyncio.ensure_future(self._failed.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _hand_over(self, record: Record) -> bool:
        if self._letters.too_large(record):
            self._bury(record, "too-large", "larger than its topic takes")
        record.handed = time.monotonic()
        try:
            self._client.producer.produce(
                record.topic or self._topic,
                record.value,
                record.key.encode(),
                headers=record.headers,
                timestamp=record.timestamp,
                on_delivery=functools.partial(self._delivered, record),
            )
        except BufferError:
            self._stats.error("kafka", "queue-full")
            self._failed.set()  # begins again with what fits, after a pause
            return False
        except KafkaException as error:
            self._judge(record, error.args[0])
        return True

    def _delivered(self, record: Record, error: KafkaError | None, message: object) -> None:
        """In the polling thread."""
        self._reports.append((record, error))
        if not self._report_scheduled:
            self._report_scheduled = True
            self._later(self._drain)

    def _later(self, what: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:
            LOG.debug("Kafka reported after the end")

    def _drain(self) -> None:
        self._report_scheduled = False
        now, clock = time.monotonic(), time.time()
        while self._reports:
            record, error = self._reports.popleft()
            if error is not None:
                self._judge(record, error)
                continue
            stats = self._stats
            if record.topic:
                self._kafka_takes()
                self._outbox.landed(record)
                continue
            stats.landed_records += 1
            stats.landed_messages += len(record.messages)
            stats.landed_bytes += len(record.value)
            stats.produce_seconds.observe(now - record.handed)
            if record.messages:
                stats.landing_seconds.observe(clock - record.messages[0].received / 1e9)
            self._kafka_takes()
            self._outbox.landed(record)

    def _judge(self, record: Record, error: KafkaError) -> None:
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return  # ours: the producer is being replaced
        reason = _HOPELESS.get(error.code())
        if reason is None:
            self._stats.error("kafka", error.name())
            self._kafka_is(describe(error))
            self._failed.set()
            return
        if not record.topic:
            self._bury(record, reason, describe(error))
            self._hand_over(record)
            return
        self._stats.lose(reason, len(record.messages))
        LOG.error(
            "%s: Kafka cannot take the dead letter of a record of asset %.100r (%d messages): %s",
            self._stats.name, record.key, len(record.messages), describe(error),
        )  # fmt: skip
        # Nothing would come of sending it again: its source must not wait for it.
        self._outbox.landed(record)

    def _bury(self, record: Record, reason: str, error: str) -> None:
        """Make a record a dead letter: it is a loss to the topologies, and to nobody else."""
        LOG.error(
            "%s: a record of asset %.100r (%d bytes, %d messages) becomes a dead letter: %s",
            self._stats.name, record.key, len(record.value), len(record.messages), error,
        )  # fmt: skip
        self._letters.replace(
            record, reason, f"a record of {len(record.value)} bytes cannot land: {error}"
        )
        self._stats.dead_letter(reason)

    def _kafka_said(self, error: KafkaError) -> None:
        """In a thread of librdkafka's: something is wrong with a broker, not with a record."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self._later(self._stats.error, "kafka", error.name())
            self._later(self._kafka_is, describe(error))

    def _kafka_is(self, reason: str) -> None:
        if not self._stats.kafka_reason:
            LOG.warning("%s: Kafka does not take records: %s", self._stats.name, reason)
        self._stats.kafka_reason = reason

    def _kafka_takes(self) -> None:
        self._backoff.reset()
        if self._stats.kafka_reason:
            self._stats.kafka_reason = ""
            LOG.info("%s: Kafka takes records again", self._stats.name)

    async def _replace(self) -> None:
        self._stats.producer_restarts += 1
        client = self._client
        await asyncio.to_thread(client.close, _LAST_WORDS_S)
        self._drain_landed()
        await asyncio.sleep(self._backoff.next())
        self._failed.clear()
        self._outbox.rewind()
        self._client = _Client(self._settings, self._kafka_said)
        self._sayings.begin_anew()

    def _drain_landed(self) -> None:
        """What the old producer had landed, without what it was made to give up."""
        reports = [each for each in self._reports if each[1] is None]
        self._reports.clear()
        self._reports.extend(reports)
        self._drain()

    def _produce(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        on_delivery: Callable[[KafkaError | None, object], None],
    ) -> None:
        self._client.producer.produce(topic, value, key, headers=headers, on_delivery=on_delivery)

    def finish_sayings(self) -> None:
        """What is said from now on are last words; see `Sayings.finish`."""
        self._sayings.finish()

    async def close(self, timeout_s: float) -> None:
        """Give what was handed over a last chance."""
        await asyncio.to_thread(self._client.close, timeout_s)
        self._drain_landed()


class _Client:
    """A producer and the thread that serves its callbacks."""

    def __init__(self, settings: KafkaSettings, on_error: Callable[[KafkaError], None]) -> None:
        options = producer_options(
            settings,
            "connector",
            message_timeout_ms=0,
            linger_ms=5,
            # our own outbox is the limit
            queue_buffering_max_messages=1_000_000,
        )
        options["error_cb"] = on_error
        self.producer = Producer(options, logger=logging.getLogger("plantstream.kafka"))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-poll", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing.is_set():
            self.producer.poll(_POLL_S)

    def close(self, timeout_s: float) -> None:
        """Wait for deliveries at most so long, and let go. Blocks."""
        self.producer.flush(timeout_s)
        self._closing.set()
        self._thread.join()
        self.producer.purge()
        self.producer.flush(0.1)
