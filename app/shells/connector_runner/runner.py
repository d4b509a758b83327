"""Runs one connector in one asyncio loop: reads, gathers, lands, acknowledges, keeps time moving.

    connector.read ─► gather ─► outbox ─► Kafka ─► connector.acknowledge
                        ▲
            heartbeats of silent assets, in the same order

Reading pauses while the outbox is full; nothing that was read is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

from app.kafka import KafkaSettings
from app.shells.connector_runner.backoff import Backoff
from app.shells.connector_runner.gather import Gatherer
from app.shells.connector_runner.heartbeats import Heartbeats
from app.shells.connector_runner.known import Remembered
from app.shells.connector_runner.landing import Landing
from app.shells.connector_runner.outbox import MemoryOutbox
from app.shells.connector_runner.records import Record, RecordMaker, session_id
from app.shells.connector_runner.settings import RunnerSettings
from app.shells.connector_runner.stats import ConnectorStats
from app.shells.connector_runner.telling import Telling
from connectors.base import Connector, Message
from models.errors import SourceRefused, SourceUnavailable
from models.records.heartbeat import Heartbeat
from models.time import NS_PER_S

LOG = logging.getLogger("plantstream.connector")


class ConnectorRunner:
    """One connector on its way to one topic. ``run`` it in a running loop."""

    def __init__(
        self,
        connector: Connector[Any],
        *,
        kafka: KafkaSettings,
        config_version: str = "",
        settings: RunnerSettings | None = None,
        stats: ConnectorStats | None = None,
        expected: Collection[str] = (),
        remembered: Remembered | None = None,
    ) -> None:
        """``expected``: assets that should be heard although the connector's parameters do not
        name them; ``remembered``: what an earlier session knew."""
        self.name = connector.environment.name
        self.session = session_id(time.time_ns())
        self.stats = stats or ConnectorStats(self.name, connector.kind)
        self.stats.counters = connector.counters
        self._connector = connector
        self._kafka = kafka
        self._settings = settings = settings or RunnerSettings()
        self._topic = kafka.topics.raw(connector.kind)
        self._interval: int = connector.parameters.heartbeat
        self._heartbeats = Heartbeats(self._interval, settings.max_assets)
        parameters = connector.parameters
        self._gather_delay: int = parameters.gather
        self._gatherer = Gatherer(
            parameters.gather, parameters.gather_messages, settings.record_bytes
        )
        self._gathering = asyncio.Event()
        #: When the last message was read, and the source was connected, monotonic ns.
        self._last_add = self._opened = 0
        self._maker = RecordMaker(
            self.name, self.session, connector.schema, config_version, connector.pack,
            kafka.max_message_bytes - 4096,
        )  # fmt: skip
        self._outbox = MemoryOutbox(
            self._safe, max_records=settings.buffer_records, max_bytes=settings.buffer_bytes
        )
        self._landing = Landing(self._outbox, kafka, self._topic, self.stats)
        remembered = remembered or Remembered()
        self._expect(expected, remembered)
        self._telling = Telling(
            connector, self.session, self._topic, settings.status_interval, self.stats,
            self._heartbeats, self._landing, remembered.pages,
        )  # fmt: skip
        self._acknowledging: deque[Record] = deque()
        self._safe_record = asyncio.Event()
        #: Whether ``read`` waits for the source: everything that came was read.
        self._caught_up = False

    def _expect(self, expected: Collection[str], remembered: Remembered) -> None:
        now = time.time_ns()
        declared = self._connector.assets().union(expected)
        self._heartbeats.expect(declared, now)
        since = now - self._settings.forget_after
        still = [
            each
            for each in remembered.assets
            if each.received is not None
            and each.received >= since
            and (each.asset in declared or self._connector.may_bring(each.asset))
        ]
        still.sort(key=lambda each: each.received or 0, reverse=True)
        self._heartbeats.restore(still, now)

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set; then what was read lands, if Kafka takes it in time."""
        reading = [self._read_for_ever(), self._heartbeat_for_ever(), self._gather_for_ever()]
        landing = [
            self._landing.run(), self._acknowledge_for_ever(), self._telling.for_ever(),
        ]  # fmt: skip
        readers = [self._task(each) for each in reading]
        landers = [self._task(each) for each in landing]
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait(
                [stopping, *readers, *landers], return_when=asyncio.FIRST_COMPLETED
            )
            await _cancel(readers)
            await self._wind_down()
            for task in [*readers, *landers]:
                if task.done() and not task.cancelled():
                    task.result()  # none of them ends by itself: this raises what ended it
        finally:
            stopping.cancel()
            await _cancel([*readers, *landers])
            await self._connector.close()

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work)

    # ------------------------------------------------------------ reading

    async def _read_for_ever(self) -> None:
        settings = self._settings
        backoff = Backoff(settings.backoff_first / NS_PER_S, settings.backoff_limit / NS_PER_S)
        while True:
            opened = 0
            least = 0.0
            try:
                await self._connector.open()
                opened = time.monotonic_ns()
                self._connected()
                await self._read()
            except SourceRefused as error:
                self._disconnected("refused", str(error))
                least = settings.refused_wait / NS_PER_S
            except SourceUnavailable as error:
                self._disconnected("disconnected", str(error))
            except Exception as error:
                # a bug in a connector must not end the process: the next connection may do
                LOG.exception("%s: unexpected", self.name)
                self._connector.counters.error("unexpected")
                self.stats.error("connector", type(error).__name__)
                self._disconnected("disconnected", f"unexpected: {error!r}")
            await self._connector.close()
            if opened and time.monotonic_ns() - opened > settings.steady:
                backoff.reset()
            await asyncio.sleep(max(least, backoff.next()))
            self._connector.counters.reconnects += 1

    async def _read(self) -> None:
        while True:
            if self._outbox.full:
                self.stats.pauses += 1
                LOG.warning("%s: reading pauses, the buffer is full", self.name)
                await self._outbox.wait_room()
                LOG.info("%s: reading goes on", self.name)
            self._caught_up = True
            try:
                messages = await self._connector.read()
            finally:
                self._caught_up = False
            self._gather(messages)
            await asyncio.sleep(0)  # a read that had something queued gave way to nobody

    def _connected(self) -> None:
        self._opened = time.monotonic_ns()
        self.stats.quiet = 0
        self.stats.state, self.stats.reason = "connected", ""
        LOG.info("%s: connected", self.name)
        self._heartbeats.connected(time.time_ns())
        self._telling.status()

    def _disconnected(self, state: str, reason: str) -> None:
        if (self.stats.state, self.stats.reason) != (state, reason):
            LOG.warning("%s: %s: %s", self.name, state, reason)
        was = self.stats.state
        self.stats.state, self.stats.reason = state, reason
        self.stats.error("source", "unavailable" if state == "disconnected" else state)
        if was in ("connected", "starting"):
            self._put_batches(self._gatherer.flush())
            self._put_heartbeats(self._heartbeats.disconnected(time.time_ns()))
            self._telling.status()

    # ------------------------------------------------------------ gathering

    def _gather(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        now = time.monotonic_ns()
        heard, add = self._heartbeats.heard, self._gatherer.add
        for message in messages:
            if not heard(message.asset, message.t, message.received):
                self._too_many(message.asset)
            done = add(message, now)
            if done:
                self._put_batches(done)
        self.stats.last_received = messages[-1].received
        self._last_add = now
        self._gathering.set()

    def _too_many(self, asset: str) -> None:
        errors = self._connector.counters.errors
        if "asset-beyond-limit" not in errors:
            LOG.warning(
                "%s: asset %.100r is beyond connector.max_assets (%d): what comes of it lands, but"
                " nobody will be told when it falls silent; such messages are counted",
                self.name, asset, self._settings.max_assets,
            )  # fmt: skip
        self._connector.counters.error("asset-beyond-limit")

    async def _gather_for_ever(self) -> None:
        while True:
            deadline = self._gatherer.deadline
            if deadline is None:
                self._gathering.clear()
                await self._gathering.wait()
                continue
            now = time.monotonic_ns()
            # A pause of the whole source: it may be waiting for acknowledgements, as an MQTT
            # broker does that allows only a few messages in flight. And at such a rate gathering
            # would save little.
            pause = self._last_add + self._gather_delay // 5
            if now >= pause:
                self._put_batches(self._gatherer.flush())
            else:
                self._put_batches(self._gatherer.due(now))
                await asyncio.sleep(max(0, min(deadline, pause) - now) / NS_PER_S + 0.001)

    def _put_batches(self, batches: Sequence[Sequence[Message]]) -> None:
        now = time.time_ns()
        for batch in batches:
            try:
                records = self._maker.data(batch, now)
            except (TypeError, ValueError, OverflowError) as error:
                LOG.exception("%s: %d messages cannot be packed", self.name, len(batch))
                self.stats.error("connector", "unpackable")
                self.stats.lose(f"unpackable-{type(error).__name__}", len(batch))
                continue
            for record in records:
                self._outbox.put(record)
        self._buffered()

    # ------------------------------------------------------------ heartbeats

    async def _heartbeat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, self._interval / NS_PER_S / 4))
            now = time.time_ns()
            self.stats.assets_heard = self._heartbeats.recent(now)
            self.stats.assets_known = len(self._heartbeats)
            self.stats.problems = tuple(self._connector.problems())
            connected = self.stats.state == "connected"
            quiet = time.monotonic_ns() - max(self._last_add, self._opened)
            self.stats.quiet = quiet if quiet > self._connector.parameters.quiet else 0
            if self._outbox.full or (connected and not self._caught_up):
                continue  # what was not read yet may be older than what we would say
            alive = self._connector.alive if connected else _never
            self._put_heartbeats(self._heartbeats.due(now, alive))

    def _put_heartbeats(self, beats: Sequence[Heartbeat]) -> None:
        if not beats:
            return
        self._put_batches(self._gatherer.flush())
        for beat in beats:
            self.stats.beat(beat.state.value)
            self._outbox.put(self._maker.heartbeat(beat))
        self._buffered()

    # ------------------------------------------------------------ landed

    def _safe(self, record: Record) -> None:
        self._buffered()
        if record.messages:
            self._acknowledging.append(record)
            self._safe_record.set()

    async def _acknowledge_for_ever(self) -> None:
        while True:
            while self._acknowledging:
                await self._acknowledge(self._acknowledging.popleft())
            self._safe_record.clear()
            await self._safe_record.wait()

    async def _acknowledge(self, record: Record) -> None:
        try:
            await self._connector.acknowledge(record.messages)
        except Exception:
            # the source sends it again: a repeat, no loss
            LOG.exception("%s: acknowledging failed", self.name)
            self._connector.counters.error("acknowledge")
            self.stats.error("source", "acknowledge")

    def _buffered(self) -> None:
        self.stats.buffered_records = self._outbox.records
        self.stats.buffered_bytes = self._outbox.bytes

    # ------------------------------------------------------------ status and end

    async def _wind_down(self) -> None:
        """Land what was read and that nobody reads any more, and let the source know."""
        self._put_batches(self._gatherer.flush())
        if self.stats.state == "connected":
            self._put_heartbeats(self._heartbeats.disconnected(time.time_ns()))
        self.stats.state, self.stats.reason = "stopped", ""
        try:
            async with asyncio.timeout(self._settings.drain / NS_PER_S):
                await self._outbox.wait_empty()
        except TimeoutError:
            self._given_up()
        while self._acknowledging:
            await self._acknowledge(self._acknowledging.popleft())
        self._telling.last_words()
        await self._landing.close(2.0)

    def _given_up(self) -> None:
        """Account for what Kafka did not take in time: heartbeats are no loss."""
        messages = [message for record in self._outbox.left() for message in record.messages]
        lost = sum(message.receipt is None for message in messages)
        LOG.error(
            "%s: stopped before Kafka took %d records: %d messages are lost, %d the source keeps,"
            " and sends again",
            self.name, self._outbox.records, lost, len(messages) - lost,
        )  # fmt: skip
        if lost:
            self.stats.lose("stopped", lost)


def _never(asset: str) -> bool:
    return False


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended. Their errors are left to be asked for."""
    open_ = {task for task in tasks if not task.done()}
    while open_:
        for task in open_:
            task.cancel()
        # again and again: before Python 3.12 ``asyncio.wait_for``, which the libraries use,
        # swallows a cancellation that comes together with a result
        _, open_ = await asyncio.wait(open_, timeout=0.1)
