"""A worker's numbers as metrics, and its readiness, read at a scrape and never in the loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.observe import Observed, Values
from app.observe import metrics as m
from app.shells.worker.inside import StateSizes, state_of
from app.shells.worker.stats import StageStats, WorkerStats


@contextmanager
def watch(stats: WorkerStats, watched: Observed) -> Iterator[None]:
    """Show a worker's numbers, readiness and state on the pages of its process, in the block."""
    watched.metrics.source(lambda values: export(stats, values))
    watched.health.check("worker", lambda: _reason(stats))
    watched.pages["state"] = lambda query: _state(stats, query)
    with StateSizes(stats) as sizes:
        watched.metrics.source(lambda values: export_sizes(stats.topology, sizes, values))
        yield


def _state(stats: WorkerStats, query: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    key = query.get("key", "")
    if not key:
        return 400, {"error": "which key? /state?key=glass/furnace"}
    return 200, state_of(stats, key)


def export_sizes(topology: str, sizes: StateSizes, values: Values) -> None:
    """Write how much state there is."""
    for (stage, step), size in dict(sizes.sizes).items():
        values.set(m.STATE_BYTES, size, topology, stage, step)
    for stage, keys in dict(sizes.keys).items():
        values.set(m.STATE_KEYS, keys, topology, stage)


def export(stats: WorkerStats, values: Values) -> None:
    """Write a worker's numbers."""
    name = stats.topology
    for stage in list(stats.stages.values()):
        _stage(name, stage, values)
    latency = stats.latency
    values.histogram(m.LATENCY, latency.bounds, list(latency.counts), latency.total, name)
    values.summary(m.COMMITS, stats.commits, stats.commit_seconds, name)
    for where, count in dict(stats.errors).items():
        values.set(m.ERRORS, count, *where)
    values.set(m.RESTARTS, stats.restarts, name)
    values.set(m.RESTORING, stats.restore_remaining, name)
    for topic, partitions in (stats.assigned or {}).items():
        values.set(m.ASSIGNED, len(partitions), stats.group, topic)
    for (topic, partition), behind in stats.lag.items():
        values.set(m.LAG, behind, stats.group, topic, str(partition))


def _stage(topology: str, stats: StageStats, values: Values) -> None:
    where = (topology, stats.stage.name)
    values.set(m.RECEIVED, stats.received, *where)
    for output, count in dict(stats.emitted).items():
        values.set(m.SENT, count, *where, output)
    for name, count in dict(stats.counts).items():
        kind, _, reason = name.partition(".")
        if name == "samples":
            values.set(m.SAMPLES, count, *where)
        elif kind == "skipped" and reason:
            values.set(m.DROPPED, count, *where, reason)
        elif kind == "dead" and reason:
            values.set(m.DEAD_LETTERS, count, *where, reason)
        else:
            values.set(m.COUNTED, count, *where, name)
    for step, count in dict(stats.stage.failed).items():
        values.set(m.FAILED, count, *where, step)
    timed = stats.stage.timed
    for step, seconds in dict(stats.stage.step_seconds).items():
        values.summary(m.STEP_SECONDS, timed, seconds, *where, step)
    spent = stats.seconds
    values.histogram(m.RECORD_SECONDS, spent.bounds, list(spent.counts), spent.total, *where)


def _reason(stats: WorkerStats) -> str | None:
    waiting = stats.waiting_for
    return None if waiting is None else f"waits for {waiting}"
