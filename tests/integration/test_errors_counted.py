"""What goes wrong with Kafka is counted where Prometheus finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

import app.shells.sink.run as sink
from app.embedded import EmbeddedStack
from app.observe import Metrics
from app.plant import sink_pages
from app.shells.worker import WorkerStats, export
from app.shells.worker.plan import Plan
from models.errors import TransportError
from tests.sink_site import SinkSite, reading
from tests.worker_site import Reader, Site, good

pytestmark = pytest.mark.integration


def _once(real: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """The same function, but that it fails the first time."""
    calls = iter([error])

    def function(*given: Any, **more: Any) -> Any:
        for failure in calls:
            raise failure
        return real(*given, **more)

    return function


def test_a_worker_that_begins_anew(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = KafkaException(KafkaError(KafkaError._TRANSPORT))
    monkeypatch.setattr(Plan, "prepare", _once(Plan.prepare, lost))
    site = Site(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)
    stats, metrics = WorkerStats("tally"), Metrics("worker", "tally")
    metrics.source(lambda values: export(stats, values))
    with site.running(stats=stats):
        site.feed([good("a", 0)])
        Reader(site, site.readings).until(1)
    assert b'plantstream_errors_total{reason="_TRANSPORT",where="kafka"} 1.0' in metrics.text()


def test_a_sink_that_begins_anew(
    stack: EmbeddedStack, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = TransportError("gone")
    lost.__cause__ = KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    monkeypatch.setattr(sink, "ensure_topics", _once(sink.ensure_topics, lost))
    site = SinkSite(stack, topic_prefix)
    metrics = Metrics("sink", "plant")
    with site.running() as stats:
        metrics.source(lambda values: sink_pages.export(stats, "group", values))
        site.feed([reading(0)])
        site.until_committed()
        stats.troubled("away")
    text = metrics.text()
    assert b'plantstream_errors_total{reason="_ALL_BROKERS_DOWN",where="kafka"} 1.0' in text
    assert b'plantstream_errors_total{reason="away",where="store"} 1.0' in text
