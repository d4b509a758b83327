"""Metrics and health of a connector and of a watchdog, from their counters."""

from __future__ import annotations

from app.observe import Observed, Values, metrics
from app.shells.connector_runner.stats import ConnectorStats
from app.shells.connector_runner.watchdog import WatchdogStats


def watch(stats: ConnectorStats, watched: Observed) -> None:
    """Show a connector in the metrics and the health of its process."""
    watched.metrics.source(lambda values: export(stats, values))
    watched.health.check(f"connector {stats.name}", lambda: stats.why_not_ready or None)


def watch_watchdog(stats: WatchdogStats, watched: Observed) -> None:
    """Show a watchdog in the metrics and the health of its process."""
    watched.metrics.source(lambda values: export_watchdog(stats, values))
    watched.health.check("watchdog", lambda: stats.reason or None)


def export(stats: ConnectorStats, values: Values) -> None:
    """The numbers of one connector at this moment."""
    who = (stats.name, stats.kind)
    counters = stats.counters
    values.set(metrics.MESSAGES, counters.received, *who)
    values.set(metrics.LANDED, stats.landed_messages, *who)
    values.set(metrics.LANDED_RECORDS, stats.landed_records, *who)
    values.set(metrics.LANDED_BYTES, stats.landed_bytes, *who)
    values.set(metrics.RECONNECTS, counters.reconnects, *who)
    values.set(metrics.PRODUCER_RESTARTS, stats.producer_restarts, *who)
    values.set(metrics.PAUSES, stats.pauses, *who)
    values.set(metrics.BUFFERED, stats.buffered_records, *who)
    values.set(metrics.BUFFERED_BYTES, stats.buffered_bytes, *who)
    values.set(metrics.CONNECTED, stats.state == "connected", *who)
    values.set(metrics.ASSETS, stats.assets_known, *who, "known")
    values.set(metrics.ASSETS, stats.assets_heard, *who, "heard")
    # what the connector lost, and what was lost after it was read: reasons may be the same
    for lost in (counters.lost, stats.lost):
        for reason, count in list(lost.items()):
            values.set(metrics.LOST, count, *who, reason)
    for reason, count in list(stats.dead_letters.items()):
        values.set(metrics.CONNECTOR_DEAD_LETTERS, count, *who, reason)
    for reason, count in list(counters.errors.items()):
        values.set(metrics.CONNECTOR_ERRORS, count, *who, reason)
    for where, count in list(stats.errors.items()):
        values.set(metrics.ERRORS, count, *where)
    for state, count in list(stats.heartbeats.items()):
        values.set(metrics.HEARTBEATS, count, *who, state)
    for metric, seconds in (
        (metrics.PRODUCE_SECONDS, stats.produce_seconds),
        (metrics.LANDING_SECONDS, stats.landing_seconds),
    ):
        values.histogram(metric, seconds.bounds, list(seconds.counts), seconds.total, *who)


def export_watchdog(stats: WatchdogStats, values: Values) -> None:
    """The numbers of a watchdog at this moment."""
    values.set(metrics.ASSETS, stats.alive, "watchdog", "watchdog", "connectors-alive")
    values.set(metrics.ASSETS, stats.dead, "watchdog", "watchdog", "connectors-dead")
    values.set(metrics.HEARTBEATS, stats.heartbeats, "watchdog", "watchdog", "disconnected")
    for where, count in list(stats.errors.items()):
        values.set(metrics.ERRORS, count, *where)
    if stats.malformed:
        values.set(
            metrics.CONNECTOR_ERRORS, stats.malformed, "watchdog", "watchdog", "malformed-status"
        )
