"""quixstreams' application, with a loop of our own inside it.

quixstreams keeps the group, the assignment, the state stores with their changelogs, recovery and
the transaction of each commit. Records go past its dataframes, which would cost more than a
stage: they are polled, given to the stage's function, and its emissions produced, here.

Leans on names that quixstreams 3.28 keeps to itself, all of them in this file; the version is
pinned, and tests/app/worker/test_quixstreams.py says which names they are when one goes away.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, cast

import orjson
from confluent_kafka import TopicPartition
from quixstreams import Application
from quixstreams.kafka import ConnectionConfig
from quixstreams.kafka.exceptions import KafkaProducerDeliveryError
from quixstreams.models import Topic
from quixstreams.state import DEFAULT_STATE_STORE_NAME
from quixstreams.state.metadata import SEPARATOR
from quixstreams.state.recovery import RecoveryPartition
from quixstreams.state.rocksdb import RocksDBStorePartition

from app.kafka import KafkaSettings, consumer_options, producer_options
from app.kafka.clients import LOG
from app.shells.worker.errors import retriable
from app.shells.worker.instance import Instance
from app.shells.worker.plan import Plan
from app.shells.worker.positions import Positions
from app.shells.worker.records import Reception, fitted
from app.shells.worker.settings import WorkerSettings
from app.shells.worker.state import KeyState, StateCache
from app.shells.worker.stats import StageStats, WorkerStats
from app.shells.worker.takeover import Takeover
from models.catalogue import Knowledge
from models.errors import TransportError
from models.time import NS_PER_MS, NS_PER_S
from topologies.core import CompiledStage, Emission, Record
from topologies.core.record import DEAD_LETTERS

#: What is known at an event time in ns: the one place where a timeline of configuration plugs in.
KnowledgeAt = Callable[[int], Knowledge]

_STATS_MS = 2000
#: Records taken before quixstreams looks at its own affairs again.
_ROUND = 64
#: librdkafka takes 0 for "now", and Kafka no negative times.
_EARLIEST_MS = 1
_BROKER_S = 30.0


class WorkerApplication(Application):
    """One run of one topology. After it ended, for whatever reason, a new one may follow."""

    def __init__(
        self,
        plan: Plan,
        kafka: KafkaSettings,
        worker: WorkerSettings,
        instance: Instance,
        stats: WorkerStats,
        knowledge_at: KnowledgeAt,
        *,
        accepted: Collection[str] = (),
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        """The plan's topics must exist. ``accepted``: steps that may begin anew (see Takeover)."""
        super().__init__(
            ConnectionConfig(bootstrap_servers=kafka.bootstrap),
            consumer_group=plan.group,
            auto_offset_reset="earliest",
            processing_guarantee="exactly-once",
            commit_interval=worker.commit_interval / NS_PER_S,
            consumer_poll_timeout=worker.poll / NS_PER_S,
            consumer_extra_config=_consumer(kafka, worker, plan, self._on_statistics),
            producer_extra_config=_producer(kafka, worker, plan, instance),
            state_dir=instance.state_dir,
            auto_create_topics=False,
            auto_recover_from_source_offset_out_of_range=False,
            broker_availability_timeout=_BROKER_S,
            on_consumer_error=_on_consumer_error,
            on_producer_error=_propagate,
            on_processing_error=_propagate,
            loglevel=None,
        )
        self._plan, self._stats = plan, stats
        self._wait, self._settings = worker.poll / NS_PER_S, worker
        #: When the open transaction began, and how long it may last, ns. That is the long interval
        #: until a poll finds nothing waiting.
        self._begun, self._interval = time.monotonic(), worker.commit_interval
        self._positions = Positions(self._consumer, plan, kafka)
        self._reception = Reception(self._positions.jumped)
        self._states = StateCache(self._transaction, self._names_of)
        self._takeover = Takeover(
            plan.topology.declaration,
            accepted,
            transaction=self._transaction,
            names=self._names,
            commit=lambda: self._processing_context.commit_checkpoint(force=True),
        )
        self._paused, self._holds = paused, False
        self._stages: dict[str, _Stage] = {}
        stats.start(plan.group, plan.stages)
        stats.restoring = lambda: bool(self._restoring())
        stats.stores = self._stores
        self._commit = self._producer.commit_transaction
        self._producer.commit_transaction = self._timed_commit  # type: ignore[method-assign]
        self._checkpoint = self._processing_context.commit_checkpoint
        self._processing_context.commit_checkpoint = self._write_back_and_commit  # type: ignore[method-assign]
        limits = dict.fromkeys(plan.outputs, kafka.max_message_bytes)
        limits[DEAD_LETTERS] = kafka.max_dead_letter_bytes
        for name, stage in plan.stages.items():
            # Makes quixstreams subscribe to it, and keep a state store and a changelog for it.
            self.dataframe(self._topic_manager.register(Topic(name))).register_store()
            self._stages[name] = _Stage(stage, stats.stages[name], stats, knowledge_at, limits)

    def _process_message(self, dataframe_composed: object) -> None:
        """Up to a round of records, as they come: what quixstreams calls again and again."""
        producer, context, outputs = self._producer, self._processing_context, self._plan.outputs
        wait = self._wait
        if self._paused() != self._holds:
            self._hold(not self._holds)
        producer.poll(0)
        for _ in range(_ROUND):
            message = self._consumer._poll_unbuffered(wait)
            if self._takeover.fresh and not self._state_manager.recovery_required:
                self._takeover.run()
            if message is None:
                self._interval = self._settings.commit_interval
                return
            record = self._reception.record(message)
            state = self._states.of(record.topic, record.partition, record.key or b"")
            timestamp = max(record.timestamp_ms, _EARLIEST_MS)
            for output, key, value, head, at in self._stages[record.topic](record, state):
                when = timestamp if at is None else at
                producer.produce(outputs[output], value, key, [*head.items()], None, when)
            context.store_offset(record.topic, record.partition, record.offset)
            self._consumer._broker_available()  # type: ignore[no-untyped-call]
            if self._due() or self._state_manager.recovery_required:
                return
            wait = 0.0

    def _hold(self, still: bool) -> None:
        """Stop reading, and stay a member of the group; or go on."""
        held = [p for p in self._consumer.assignment() if p.topic in self._stages]
        (self._consumer.pause if still else self._consumer.resume)(held)
        self._holds = still

    def _names(self, topic: str, partition: int) -> Iterator[bytes]:
        store = self._state_manager.get_store(topic, DEFAULT_STATE_STORE_NAME)
        held = cast(RocksDBStorePartition, store.partitions[partition])
        return (name for name, _ in held.iter_items(b""))

    def _stores(self) -> dict[tuple[str, int], Any]:
        """The stores of the partitions held, once they are restored: as of the last commit."""
        held = self._stats.assigned or {}
        if self._restoring():
            return {}
        return {
            (topic, number): store
            for topic, numbers in held.items()
            for number, store in dict(
                self._state_manager.get_store(topic, DEFAULT_STATE_STORE_NAME).partitions
            ).items()
            if number in numbers
        }

    def _names_of(
        self, topic: str, partition: int, key: bytes, begin: bytes
    ) -> Iterator[bytes]:
        store = self._state_manager.get_store(topic, DEFAULT_STATE_STORE_NAME)
        held = cast(RocksDBStorePartition, store.partitions[partition])
        place = key + SEPARATOR
        low = place + begin
        return (n[len(place) :] for n, _ in held.iter_items(low, low[:-1] + bytes([low[-1] + 1])))

    def _transaction(self, topic: str, partition: int) -> Any:
        return self._processing_context.checkpoint.get_store_transaction(topic, partition)

    def _write_back_and_commit(self, force: bool = False, revoking: bool = False) -> None:
        if force or self._due():
            self._takeover.sign(self._states.changed)
            self._states.write_back()
            self._checkpoint(True, revoking)
            self._begun = time.monotonic()
            settings = self._settings
            self._interval = max(settings.commit_interval, settings.busy_commit_interval)

    def _due(self) -> bool:
        """Whether to commit: soon after the last record there was, later while records wait."""
        return (time.monotonic() - self._begun) * NS_PER_S >= self._interval

    def _setup_signal_handlers(self) -> None:
        """Signals are the process's affair (run.py)."""

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._states.clear()
        for p in self._positions.check([p for p in partitions if p.topic in self._stages]):
            self._reception.expect(p.topic, p.partition, p.offset)
        super()._on_assign(consumer, partitions)
        assigned: dict[str, list[int]] = {name: [] for name in self._stages}
        for p in partitions:
            if p.topic in assigned:
                assigned[p.topic].append(p.partition)
        self._stats.assigned = assigned
        self._holds = False  # what was paused is not any more
        self._takeover.assigned((name, p) for name, held in assigned.items() for p in held)

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        try:
            super()._on_revoke(consumer, partitions)  # commits
        finally:
            self._states.clear()
            self._takeover.forget()

    def _on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        self._states.clear()
        self._takeover.forget()
        super()._on_lost(consumer, partitions)
        # What the open transaction holds belongs to partitions that may be others' by now: the run
        # ends, which aborts it, and a new one begins.
        raise TransportError("the group went on without this worker, which was not heard in time")

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._stats.assigned, self._stats.lag = None, {}
        for p in partitions:
            self._reception.forget(p.topic, p.partition)

    def _timed_commit(self, *args: Any, **more: Any) -> None:
        begun = time.perf_counter()
        self._commit(*args, **more)
        self._stats.committed(time.perf_counter() - begun)

    def _on_statistics(self, text: str) -> None:
        """librdkafka's own report, from which the lag comes without asking the broker."""
        held = self._stats.assigned or {}
        restoring = {(r.changelog_name, r.partition_num) for r in self._restoring()}
        lag, remaining = {}, 0
        for name, topic in orjson.loads(text).get("topics", {}).items():
            for number, partition in topic["partitions"].items():
                behind = _behind(partition)
                if behind > 0 and (name, int(number)) in restoring:
                    remaining += behind
                elif behind >= 0 and int(number) in held.get(name, ()):
                    lag[name, int(number)] = behind
        self._stats.lag, self._stats.restore_remaining = lag, remaining

    def _restoring(self) -> list[RecoveryPartition]:
        """The store partitions that are not restored yet."""
        manager = self._state_manager._recovery_manager
        if manager is None:
            return []
        return [r for stores in list(manager.partitions.values()) for r in list(stores.values())]


def _behind(partition: dict[str, int]) -> int:
    """Records between what was handed out and the end of what is committed; -1: not known.

    librdkafka's own ``consumer_lag`` knows nothing of offsets that a transaction commits.
    """
    end = partition["ls_offset"] if partition["ls_offset"] >= 0 else partition["hi_offset"]
    at = partition["app_offset"] if partition["app_offset"] >= 0 else partition["next_offset"]
    return max(end - at, 0) if end >= 0 and at >= 0 else -1


class _Stage:
    """A stage with what the worker does round it: all that happens per record."""

    def __init__(
        self,
        stage: CompiledStage,
        stats: StageStats,
        worker: WorkerStats,
        knowledge_at: KnowledgeAt,
        limits: dict[str, int],
    ) -> None:
        self._stage, self._knowledge_at = stage, knowledge_at
        self._count, self._pend = stats.record, worker.pend
        self._limits, self._smallest = limits, min(limits.values()) - 65536

    def __call__(self, record: Record, state: KeyState) -> list[Emission]:
        begun = time.perf_counter()
        knowledge = self._knowledge_at(record.timestamp_ms * NS_PER_MS)
        emissions, counts = self._stage(record, state, knowledge)
        if state.failure is not None:
            raise state.failure
        for i, emission in enumerate(emissions):
            if len(emission.value) > self._smallest:
                emissions[i] = fitted(emission, self._limits[emission.output])
        self._count(counts, emissions, time.perf_counter() - begun)
        self._pend(record.timestamp_ms)
        return emissions


def _consumer(
    kafka: KafkaSettings, worker: WorkerSettings, plan: Plan, statistics: Callable[[str], None]
) -> dict[str, Any]:
    role = f"worker-{plan.topology.name}"
    return {
        **consumer_options(kafka, role, plan.group),
        "session.timeout.ms": worker.session_timeout // NS_PER_MS,
        "heartbeat.interval.ms": max(worker.session_timeout // NS_PER_MS // 4, 500),
        "max.poll.interval.ms": worker.max_poll_interval // NS_PER_MS,
        "fetch.wait.max.ms": worker.fetch_wait // NS_PER_MS,
        "fetch.queue.backoff.ms": 10,
        "statistics.interval.ms": _STATS_MS,
        "stats_cb": statistics,
    }


def _producer(
    kafka: KafkaSettings, worker: WorkerSettings, plan: Plan, instance: Instance
) -> dict[str, Any]:
    return {
        **producer_options(kafka, f"worker-{plan.topology.name}"),
        # The same after a restart: what the one before left open is aborted at once.
        "transactional.id": f"{plan.group}-{socket.gethostname()}-{instance.id}",
        "transaction.timeout.ms": worker.transaction_timeout // NS_PER_MS,
        "linger.ms": worker.linger // NS_PER_MS,
    }


def _on_consumer_error(error: Exception, _message: object, _logger: object) -> bool:
    # Those of a producer come from a commit inside the callback of a revoke.
    if retriable(error) and not isinstance(error, KafkaProducerDeliveryError):
        LOG.warning("Kafka: %s; librdkafka tries again", error)
        return True
    return False


def _propagate(_error: Exception, _row: object, _logger: object) -> bool:
    return False
