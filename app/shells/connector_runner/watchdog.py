"""Lands ``disconnected`` heartbeats for connectors that died without a word.

It reads the compacted ``connectors`` topic. A connector that has not spoken for three of its
intervals, and did not stop in order, is dead: its assets get a heartbeat each, and its status
becomes ``dead``, which its next own status replaces; until then they get another every minute, by
which the windows of a source that never comes back close in the end. Several watchdogs may run at
once: the first writes ``dead``, and heartbeats that come twice change nothing.

Silence counts by this process's monotonic clock, and only while Kafka answers it: clocks of other
machines do not matter, and an absence of Kafka kills nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from app.kafka import KafkaSettings, admin_client, consumer_options, error_name, producer_options
from app.kafka.topics import connectors_topic, ensure_topics
from app.shells.connector_runner import known
from app.shells.connector_runner.records import RecordMaker, session_id
from app.shells.connector_runner.status import HEADERS, ConnectorStatus, decode, encode
from models.errors import MalformedRecord, TransportError
from models.records.headers import HEARTBEAT
from models.records.heartbeat import Heartbeat, State
from models.time import NS_PER_S

LOG = logging.getLogger("plantstream.watchdog")

#: Intervals of silence after which a connector is dead.
PATIENCE = 3
#: The assets of a dead connector get another heartbeat this often, ns.
REMINDER = 60 * NS_PER_S
_POLL_S = 0.2
_PROBE_S = 2.0
_DELIVERY_S = 10.0
#: A look that took longer than this proves nothing about the connectors.
_HICCUP = NS_PER_S


@dataclass
class WatchdogStats:
    """What a watchdog counts; ``alive`` and ``dead`` are connectors now."""

    deaths: int = 0
    heartbeats: int = 0
    malformed: int = 0
    alive: int = 0
    dead: int = 0
    #: What went wrong, by where and reason.
    errors: dict[tuple[str, str], int] = field(default_factory=dict)
    #: Why it cannot watch; empty while it can.
    reason: str = ""

    def error(self, where: str, reason: str) -> None:
        """Count something that went wrong; the reason in a word."""
        self.errors[where, reason] = self.errors.get((where, reason), 0) + 1


@dataclass
class _Watched:
    status: ConnectorStatus
    #: How long it has been silent while we could have heard it, ns.
    silence: int = 0


@dataclass
class Roll:
    """Who is alive. Pure: told of statuses and of time that passed."""

    connectors: dict[str, _Watched] = field(default_factory=dict)
    #: What each knows of assets: names by page.
    pages: dict[str, dict[int, tuple[str, ...]]] = field(default_factory=dict)

    def page(self, name: str, number: int, assets: tuple[str, ...]) -> None:
        """A page of assets was read; without assets: it was deleted."""
        pages = self.pages.setdefault(name, {})
        pages[number] = assets
        if not assets:
            del pages[number]

    def assets(self, status: ConnectorStatus) -> list[str]:
        """All assets that a connector spoke for."""
        pages = self.pages.get(status.name, {}).values()
        return sorted(set(status.assets).union(*pages))

    def heard(self, status: ConnectorStatus) -> None:
        """A status was read."""
        self.connectors[status.name] = _Watched(status)

    def forget(self, name: str) -> None:
        """A status was deleted from the topic."""
        self.connectors.pop(name, None)

    def passed(self, ns: int) -> list[ConnectorStatus]:
        """``ns`` passed in which all statuses would have been heard; those that died in it."""
        died = []
        for watched in self.connectors.values():
            status = watched.status
            if status.state in ("stopped", "dead"):
                continue
            watched.silence += ns
            if watched.silence > PATIENCE * status.interval:
                died.append(status)
        return died

    def still_dead(self, ns: int) -> list[ConnectorStatus]:
        """Those dead connectors of which it is time to speak again, ``ns`` later."""
        again = []
        for watched in self.connectors.values():
            if watched.status.state == "dead":
                watched.silence += ns
                if watched.silence >= REMINDER:
                    watched.silence = 0
                    again.append(watched.status)
        return again


class Watchdog:
    """Watches over all connectors of a site. ``run`` it in a thread of its own."""

    def __init__(self, kafka: KafkaSettings, stats: WatchdogStats | None = None) -> None:
        self._kafka = kafka
        self._topic = kafka.topics.connectors
        self.stats = stats or WatchdogStats()
        self._roll = Roll()
        self._session = session_id(time.time_ns())

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop`` is set. Never raises for what Kafka does."""
        while not stop.is_set():
            try:
                self._watch(stop)
            except (KafkaException, TransportError, BufferError) as error:
                self.stats.error("kafka", error_name(error))
                if not self.stats.reason:
                    LOG.warning("cannot watch: %s", error)
                self.stats.reason = str(error)
                stop.wait(1.0)

    def _watch(self, stop: threading.Event) -> None:
        ensure_topics(admin_client(self._kafka, "watchdog"), [connectors_topic(self._kafka)])
        # no group: every watchdog reads everything, and commits nothing
        consumer = Consumer(
            consumer_options(
                self._kafka,
                "watchdog",
                self._kafka.group("watchdog"),
                # says where the log ends, also where compaction left nothing to read
                enable_partition_eof=True,
            ),
            logger=logging.getLogger("plantstream.kafka"),
        )
        try:
            end = self._read_so_far(consumer, stop)
            before = time.monotonic_ns()
            while not stop.is_set():
                position = self._read(consumer)
                # only what was written before this moment may be missing from what we read
                if position < end:
                    before = time.monotonic_ns()
                    continue
                end = self._end(consumer)
                now = time.monotonic_ns()
                passed, before = now - before, now
                self.stats.reason = ""
                if position >= end and passed < _HICCUP:
                    self._bury(self._roll.passed(passed))
                    self._remind(self._roll.still_dead(passed))
                self._count()
        finally:
            consumer.close()

    def _read_so_far(self, consumer: Consumer, stop: threading.Event) -> int:
        self._position = 0
        consumer.assign([TopicPartition(self._topic, 0, 0)])
        end = self._end(consumer)
        while self._position < end and not stop.is_set():
            self._read(consumer)
        return end

    def _end(self, consumer: Consumer) -> int:
        partition = TopicPartition(self._topic, 0)
        return int(consumer.get_watermark_offsets(partition, timeout=_PROBE_S)[1])

    def _read(self, consumer: Consumer) -> int:
        """Read what is there; the offset up to which everything was read."""
        for message in consumer.consume(500, _POLL_S):
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                self._position = max(self._position, message.offset() or 0)
                continue
            self._position = max(self._position, (message.offset() or 0) + 1)
            self._take(message.key(), message.value())
        return self._position

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        name = (key or b"").decode("utf-8", "replace")
        page = known.page_of(name)
        try:
            if page is not None:
                assets = [each.asset for each in known.decode(value)] if value else ()
                self._roll.page(*page, tuple(assets))
                return
            if value is None:
                self._roll.forget(name)
                return
            status = decode(value)
        except MalformedRecord as error:
            self.stats.malformed += 1
            LOG.warning("%s", error)
            return
        before = self._roll.connectors.get(status.name)
        if before is not None and before.status.state == "dead" and status.state != "dead":
            LOG.info("connector %s is back", status.name)
        self._roll.heard(status)

    def _count(self) -> None:
        states = [each.status.state for each in self._roll.connectors.values()]
        self.stats.dead = states.count("dead")
        self.stats.alive = len(states) - self.stats.dead - states.count("stopped")

    def _bury(self, died: list[ConnectorStatus]) -> None:
        if not died:
            return
        producer = Producer(
            producer_options(self._kafka, "watchdog"),
            logger=logging.getLogger("plantstream.kafka"),
        )
        for status in died:
            LOG.error(
                "connector %s is dead: silent for %d intervals of %.3g s; %d assets disconnected",
                status.name, PATIENCE, status.interval / NS_PER_S, len(self._roll.assets(status)),
            )  # fmt: skip
            self._say_disconnected(producer, status)
            dead = status.model_copy(
                update={"state": "dead", "t": time.time_ns(), "reason": "found dead by a watchdog"}
            )
            _produce(producer, self._topic, encode(dead), status.name, headers=HEADERS)
        if producer.flush(_DELIVERY_S):
            raise TransportError("Kafka does not take heartbeats of dead connectors")
        for status in died:
            # not before Kafka has all of it: else it is tried again
            self._roll.heard(status.model_copy(update={"state": "dead"}))
            self.stats.deaths += 1
            self.stats.heartbeats += len(self._roll.assets(status))

    def _remind(self, dead: list[ConnectorStatus]) -> None:
        """Heartbeats of dead connectors go on."""
        if not dead:
            return
        producer = Producer(
            producer_options(self._kafka, "watchdog"),
            logger=logging.getLogger("plantstream.kafka"),
        )
        for status in dead:
            self._say_disconnected(producer, status)
            self.stats.heartbeats += len(self._roll.assets(status))
        if producer.flush(_DELIVERY_S):
            raise TransportError("Kafka does not take heartbeats of dead connectors")

    def _say_disconnected(self, producer: Producer, status: ConnectorStatus) -> None:
        # a session of its own: the connector's numbers stay without gaps
        session = f"{self._session}.{status.session}"
        maker = RecordMaker(
            f"watchdog.{status.name}", session, HEARTBEAT, "", lambda messages: b"", 1
        )
        now = time.time_ns()
        for asset in self._roll.assets(status):
            record = maker.heartbeat(Heartbeat(asset, State.DISCONNECTED, now, now, None))
            _produce(
                producer, status.topic, record.value, record.key,
                headers=record.headers, timestamp=record.timestamp,
            )  # fmt: skip


def _produce(producer: Producer, topic: str, value: bytes, key: str, **more: Any) -> None:
    """Hand a record over; where the client's queue is full, once Kafka has taken from it.

    Raises TransportError where it does not in time.
    """
    deadline = time.monotonic() + _DELIVERY_S
    while True:
        try:
            producer.produce(topic, value, key.encode(), **more)
            return
        except BufferError:
            if time.monotonic() > deadline:
                raise TransportError("Kafka does not take heartbeats of dead connectors") from None
            producer.poll(_POLL_S)
