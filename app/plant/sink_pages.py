"""A sink's numbers as metrics, and its readiness, read at a scrape and never in the loop."""

from __future__ import annotations

from app.observe import Observed, Values
from app.observe import metrics as m
from app.shells.sink import SinkStats


def watch(stats: SinkStats, group: str, watched: Observed) -> None:
    """Show a sink's numbers and readiness on the pages of its process."""
    watched.metrics.source(lambda values: export(stats, group, values))
    watched.health.check("sink", lambda: _reason(stats))


def export(stats: SinkStats, group: str, values: Values) -> None:
    """Write a sink's numbers."""
    name = stats.topology
    for output, count in dict(stats.records).items():
        values.set(m.SINK_RECORDS, count, name, output)
    for reason, count in dict(stats.dead).items():
        values.set(m.SINK_DEAD_LETTERS, count, name, reason)
    for where, count in dict(stats.errors).items():
        values.set(m.ERRORS, count, *where)
    for metric, value in (
        (m.SINK_BATCHES, stats.batches),
        (m.SINK_DOCUMENTS, stats.documents),
        (m.SINK_UNCHANGED, stats.unchanged),
        (m.SINK_SAMPLES, stats.samples),
        (m.SINK_LOST, stats.lost),
        (m.SINK_TROUBLES, stats.troubles),
        (m.SINK_RETRIES, stats.retried),
        (m.SINK_RESTARTS, stats.restarts),
        (m.SINK_WAITING, int(bool(stats.trouble))),
    ):
        values.set(metric, value, name)
    for metric, seconds in (
        (m.SINK_WRITE_SECONDS, stats.write_seconds),
        (m.SINK_LATENCY, stats.latency),
    ):
        values.histogram(metric, seconds.bounds, list(seconds.counts), seconds.total, name)
    for topic, partitions in dict(stats.assigned or {}).items():
        values.set(m.ASSIGNED, len(partitions), group, topic)
    for (topic, partition), behind in dict(stats.lag).items():
        values.set(m.LAG, behind, group, topic, str(partition))


def _reason(stats: SinkStats) -> str | None:
    if stats.trouble:
        return f"waits for the store: {stats.trouble}"
    return None if stats.assigned is not None else "waits for its share of partitions"
