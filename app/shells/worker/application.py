"""quixstreams' loop, with what a worker of ours needs of it.

Leans on names that quixstreams 3.28 keeps to itself, all of them in this file; the version is
pinned, and tests/app/worker/test_quixstreams.py says which names they are when one goes away.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import TopicPartition
from quixstreams import Application
from quixstreams.kafka import ConnectionConfig
from quixstreams.state.recovery import RecoveryPartition

from app.kafka import KafkaSettings, consumer_options, producer_options
from app.kafka.clients import LOG
from app.shells.worker.errors import retriable
from app.shells.worker.instance import Instance
from app.shells.worker.plan import Plan
from app.shells.worker.positions import Positions
from app.shells.worker.records import InputTopic, OutputTopic, fitted
from app.shells.worker.settings import WorkerSettings
from app.shells.worker.state import Store, StoreState
from app.shells.worker.stats import StageStats, WorkerStats
from models.catalogue import Knowledge
from models.time import NS_PER_MS, NS_PER_S
from topologies.core import CompiledStage, Emission, Record
from topologies.core.record import DEAD_LETTERS

#: What is known at an event time in ns: the one place where a timeline of configuration plugs in.
KnowledgeAt = Callable[[int], Knowledge]

_STATS_MS = 2000
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
    ) -> None:
        """The plan's topics must exist."""
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
        self._inputs: dict[str, InputTopic] = {}
        self._positions = Positions(self._consumer, plan, kafka)
        stats.start(plan.group, plan.stages)
        stats.restoring = lambda: bool(self._restoring())
        self._commit = self._producer.commit_transaction
        self._producer.commit_transaction = self._timed_commit  # type: ignore[method-assign]
        self._build(kafka, knowledge_at)

    def _build(self, kafka: KafkaSettings, knowledge_at: KnowledgeAt) -> None:
        register = self._topic_manager.register
        outputs = {name: register(OutputTopic(topic)) for name, topic in self._plan.outputs.items()}
        limits = dict.fromkeys(outputs, kafka.max_message_bytes)
        limits[DEAD_LETTERS] = kafka.max_dead_letter_bytes
        for name, stage in self._plan.stages.items():
            topic = InputTopic(name)
            topic.on_jump = self._positions.jumped
            register(topic)
            self._inputs[name] = topic
            function = _function(stage, self._stats.stages[name], self._stats, knowledge_at, limits)
            # One chain that expands to tagged outputs: a second branch would copy every value.
            stream = self.dataframe(topic).apply(
                function, stateful=True, metadata=True, expand=True
            )
            stream.to_topic(lambda emission, *_: outputs[emission.output])

    def _setup_signal_handlers(self) -> None:
        """Signals are the process's affair (run.py)."""

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._positions.check([p for p in partitions if p.topic in self._inputs])
        super()._on_assign(consumer, partitions)
        assigned: dict[str, list[int]] = {name: [] for name in self._inputs}
        for p in partitions:
            if p.topic in assigned:
                assigned[p.topic].append(p.partition)
        self._stats.assigned = assigned

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        super()._on_revoke(consumer, partitions)

    def _on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        super()._on_lost(consumer, partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        self._stats.assigned, self._stats.lag = None, {}
        for p in partitions:
            if p.topic in self._inputs:
                self._inputs[p.topic].forget(p.partition)

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


def _function(
    stage: CompiledStage,
    stats: StageStats,
    worker: WorkerStats,
    knowledge_at: KnowledgeAt,
    limits: dict[str, int],
) -> Callable[..., list[Emission]]:
    """The stage in the shape quixstreams calls: all that happens per record."""
    clock, count, pend = time.perf_counter, stats.record, worker.pend
    smallest = min(limits.values())

    def process(record: Record, _k: bytes, _t: int, _h: None, store: Store) -> list[Emission]:
        begun = clock()
        state = StoreState(store)
        emissions, counts = stage(record, state, knowledge_at(record.timestamp_ms * NS_PER_MS))
        if state.failure is not None:
            raise state.failure
        for i, emission in enumerate(emissions):
            if len(emission.value) + 65536 > smallest:
                emissions[i] = fitted(emission, limits[emission.output])
        count(counts, emissions, clock() - begun)
        pend(record.timestamp_ms)
        return emissions

    return process


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
    if retriable(error):
        LOG.warning("Kafka: %s; librdkafka tries again", error)
        return True
    return False


def _propagate(_error: Exception, _row: object, _logger: object) -> bool:
    return False
