"""A worker from start to exit code: waits for Kafka, runs, begins anew when Kafka failed."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.deploy.follow import Follower
from app.deploy.gate import enter
from app.kafka import KafkaSettings, admin_client, error_name, wait_for_kafka
from app.processes.signals import set_on_signals
from app.rehearsal import prepare
from app.shells.worker.application import KnowledgeAt, WorkerApplication
from app.shells.worker.errors import judge
from app.shells.worker.instance import Instance
from app.shells.worker.plan import Plan
from app.shells.worker.settings import WorkerSettings
from app.shells.worker.stats import WorkerStats
from models.catalogue import Knowledge
from models.errors import ConfigError
from models.time import NS_PER_S
from topologies.core import CompiledTopology, Topology, compile_topology

LOG = logging.getLogger("plantstream.worker")
_PAUSE_S = (0.5, 5.0)


def run_worker(
    topology: Topology | CompiledTopology,
    *,
    kafka: KafkaSettings,
    data_dir: Path,
    worker: WorkerSettings | None = None,
    knowledge: Knowledge | None = None,
    instance: str | None = None,
    accept_reset: bool = False,
    stop: threading.Event | None = None,
    stats: WorkerStats | None = None,
) -> int:
    """Run a worker until ``stop`` is set, or SIGTERM or SIGINT arrives; returns the exit code.

    0: stopped on request. 1: it failed, or Kafka stayed away for ``worker.kafka_timeout``.
    2: configuration. One line of the log says why. Shorter absences of Kafka are waited out.
    A start that would lose state of what is deployed is refused (1), unless ``accept_reset``.
    State lives in ``data_dir/state/<topology>/<instance>``. Signals are only taken in the main
    thread.
    """
    compiled = (
        compile_topology(topology, timer=time.perf_counter)
        if isinstance(topology, Topology)
        else topology
    )
    stop = stop or threading.Event()
    stats = stats or WorkerStats(compiled.name)
    fixed = knowledge or Knowledge()
    _quiet_quixstreams()
    prepare(compiled.declaration)
    try:
        with Instance(data_dir, compiled.name, instance) as held, set_on_signals(stop):
            stats.instance = held.name
            settings = worker or WorkerSettings()
            job = _Job(compiled, kafka, settings, held, stats, lambda _: fixed, accept_reset)
            return job.run(stop)
    except Exception as error:
        return _failed(compiled.name, error)


class _Job:
    """Runs of one worker, one after another, until one ends for good."""

    def __init__(
        self,
        topology: CompiledTopology,
        kafka: KafkaSettings,
        worker: WorkerSettings,
        instance: Instance,
        stats: WorkerStats,
        knowledge_at: KnowledgeAt,
        accept_reset: bool,
    ) -> None:
        self._name, self._topology = topology.name, topology.declaration
        self._accept_reset = accept_reset
        self._kafka, self._worker, self._instance = kafka, worker, instance
        self._stats, self._knowledge_at = stats, knowledge_at
        try:
            self._plan = Plan.of(topology, kafka)
        except ValueError as error:
            raise ConfigError(str(error), field="kafka.prefix", value=kafka.prefix) from error
        self._warned: set[str] = set()

    def run(self, stop: threading.Event) -> int:
        patience = self._worker.kafka_timeout / NS_PER_S
        failing_since: float | None = None
        pause = _PAUSE_S[0]
        while True:
            if not wait_for_kafka(self._kafka, patience, stop):
                return 0
            commits, begun = self._stats.commits, time.monotonic()
            try:
                self._run_once(stop)
                return 0
            except Exception as error:
                verdict = judge(error)
                if not verdict.retry:
                    raise
                LOG.debug("the run failed", exc_info=error)
                if stop.is_set():
                    LOG.warning("worker %s: stopped while %s", self._name, verdict.message)
                    return 0
                now = time.monotonic()
                if failing_since is None or self._stats.commits > commits or now - begun > patience:
                    failing_since, pause = now, _PAUSE_S[0]
                if now - failing_since > patience:
                    raise
                LOG.warning("worker %s: begins anew: %s", self._name, verdict.message)
                self._stats.error("kafka", error_name(error))
            self._stats.restarts += 1
            stop.wait(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _PAUSE_S[1])

    def _run_once(self, stop: threading.Event) -> None:
        for warning in self._plan.prepare(admin_client(self._kafka), self._kafka):
            if warning not in self._warned:
                self._warned.add(warning)
                LOG.warning("worker %s: %s", self._name, warning)
        entered = enter(
            self._topology,
            self._kafka,
            self._plan.partitions(admin_client(self._kafka)),
            accept_reset=self._accept_reset,
        )
        self._instance.belongs_to(entered.epoch)
        with Follower(self._kafka, self._name) as follower:
            self._stats.paused = lambda: follower.said
            application = WorkerApplication(
                self._plan,
                self._kafka,
                self._worker,
                self._instance,
                self._stats,
                self._knowledge_at,
                accepted=entered.accepted,
                paused=lambda: follower.paused,
            )
            LOG.info("worker %s runs as instance %s", self._name, self._instance.name)
            try:
                with _stopping(application, stop):
                    application.run()
            finally:
                self._stats.stop()


@contextmanager
def _stopping(application: WorkerApplication, stop: threading.Event) -> Iterator[None]:
    """Stop the application when ``stop`` is set."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            if stop.is_set():
                application.stop()  # again and again: `run` forgets one that came before it

    watcher = threading.Thread(target=watch, name="worker-stop", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _quiet_quixstreams() -> None:
    """Its errors reach us as exceptions, which we report in one line."""
    level = logging.DEBUG if LOG.isEnabledFor(logging.DEBUG) else logging.CRITICAL
    logging.getLogger("quixstreams").setLevel(level)


def _failed(name: str, error: Exception) -> int:
    verdict = judge(error)
    LOG.error("worker %s: %s", name, verdict.message)
    LOG.debug("the worker failed", exc_info=error)
    return verdict.exit_code
