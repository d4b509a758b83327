"""A sink from start to exit code: waits for Kafka and MongoDB, begins anew if Kafka failed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaException

from app.kafka import KafkaSettings, admin_client, describe, error_name, wait_for_kafka
from app.kafka.topics import check_configs, dead_letter_topic, ensure_topics, log_topic
from app.processes.signals import set_on_signals
from app.shells.sink.letters import Letters
from app.shells.sink.loop import LOG, KafkaRefused, SinkLoop
from app.shells.sink.stats import SinkStats
from app.store import (
    BulkWriter,
    Mapper,
    OutputSpec,
    SinkSettings,
    StoreAway,
    StoreSettings,
    abilities,
    address,
    collection_name,
    connect,
    prepare,
)
from app.store.client import Client
from models.errors import PlantstreamError, TransportError
from models.time import NS_PER_S

_KAFKA_WAIT_S = 10.0
_PAUSE_S = (0.5, 5.0)


def run_sink(
    topology: str,
    version: int,
    outputs: Iterable[OutputSpec],
    *,
    kafka: KafkaSettings,
    store: StoreSettings,
    sink: SinkSettings | None = None,
    stop: threading.Event | None = None,
    stats: SinkStats | None = None,
) -> int:
    """Run a sink until ``stop`` is set, or SIGTERM or SIGINT arrives; returns the exit code.

    0: stopped on request. 1: Kafka or MongoDB refuses (credentials, rights). 2: configuration.
    One line of the log says why. Absences of either are waited out, however long. ``store`` must
    name a URI (`StoreSettings.resolved`). Signals are only taken in the main thread.
    """
    stop = stop or threading.Event()
    stats = stats or SinkStats(topology)
    specs = list(outputs)
    try:
        client = connect(store, f"sink-{topology}")
        try:
            with set_on_signals(stop):
                job = _Job(topology, version, specs, kafka, store, sink or SinkSettings(), stats)
                job.run(client, stop)
        finally:
            client.close()
        return 0
    except PlantstreamError as error:
        LOG.error("sink %s: %s", topology, error)
        LOG.debug("the sink failed", exc_info=error)
        return error.exit_code
    except Exception as error:
        LOG.error("sink %s: unexpected %s: %s", topology, type(error).__name__, error)
        LOG.debug("the sink failed", exc_info=error)
        return 1


class _Job:
    """Lives of one sink, one after another, until one ends for good."""

    def __init__(
        self,
        topology: str,
        version: int,
        outputs: list[OutputSpec],
        kafka: KafkaSettings,
        store: StoreSettings,
        sink: SinkSettings,
        stats: SinkStats,
    ) -> None:
        self._topology, self._version, self._outputs = topology, version, outputs
        self._kafka, self._store, self._sink, self._stats = kafka, store, sink, stats
        self._warned: set[str] = set()

    def run(self, client: Client, stop: threading.Event) -> None:
        mapper = self._until_away_no_more(lambda: self._prepare(client), stop)
        if mapper is None:
            return
        writer = BulkWriter(
            client[self._store.database],
            {
                output.name: collection_name(self._store.prefix, self._topology, output.name)
                for output in self._outputs
            },
            writers=self._sink.writers,
            bulk_documents=self._sink.bulk_documents,
            backoff=(self._sink.backoff_min, self._sink.backoff_max),
        )
        pause = _PAUSE_S[0]
        try:
            while not stop.is_set():
                batches = self._stats.batches
                try:
                    self._live(mapper, writer, stop)
                except KafkaRefused:
                    raise
                except TransportError as error:
                    LOG.warning("sink %s: begins anew: %s", self._topology, error)
                    self._stats.error("kafka", error_name(error))
                finally:
                    self._stats.stopped()
                if self._stats.batches > batches:
                    pause = _PAUSE_S[0]
                if not stop.wait(pause * random.uniform(0.5, 1.0)):
                    self._stats.restarts += 1
                pause = min(pause * 2, _PAUSE_S[1])
        finally:
            writer.close()

    def _live(self, mapper: Mapper, writer: BulkWriter, stop: threading.Event) -> None:
        kafka, stats = self._kafka, self._stats
        if not wait_for_kafka(kafka, _KAFKA_WAIT_S, stop):
            return
        topics = {
            kafka.topics.output(self._topology, output.name): output for output in self._outputs
        }
        dead = dead_letter_topic(kafka)
        wanted = [*(log_topic(kafka, name) for name in topics), dead]
        admin = admin_client(kafka)
        ensure_topics(admin, wanted)
        for warning in check_configs(admin, wanted, {dead.name}):
            if warning not in self._warned:
                self._warned.add(warning)
                LOG.warning("sink %s: %s", self._topology, warning)
        try:
            letters = Letters(self._topology, self._version, kafka, stats)
            loop = SinkLoop(
                self._topology, topics, mapper, writer, letters, kafka, self._sink, stats
            )
        except KafkaException as error:
            raise KafkaRefused(f"Kafka client: {describe(error.args[0])}") from error
        LOG.info("sink %s writes to %s", self._topology, address(self._store))
        try:
            loop.run(stop)
        except KafkaException as error:
            raise TransportError(f"Kafka: {describe(error.args[0])}") from error

    def _prepare(self, client: Client) -> Mapper:
        database = client[self._store.database]
        able = abilities(database, self._store.prefix)
        if not able.decimals:
            LOG.warning("the store has no Decimal128: integers beyond 64 bits are kept as text")
        for warning in prepare(database, self._store.prefix, self._topology, self._outputs):
            LOG.warning("sink %s: %s", self._topology, warning)
        return Mapper(self._topology, self._sink.layout, able.decimals)

    def _until_away_no_more(
        self, call: Callable[[], Mapper], stop: threading.Event
    ) -> Mapper | None:
        """What ``call`` returns, as soon as the store answers; None where ``stop`` came first."""
        shortest, longest = self._sink.backoff_min / NS_PER_S, self._sink.backoff_max / NS_PER_S
        pause = shortest
        while not stop.is_set():
            try:
                result = call()
                self._stats.trouble = ""
                return result
            except StoreAway as error:
                if not self._stats.trouble:
                    LOG.warning("waiting for the store: %s", error)
                self._stats.troubled(str(error))
                stop.wait(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, longest)
        return None
