"""All Prometheus metrics of all processes, and a cheap way to export them.

A process counts in plain Python numbers; only a scrape turns them into metrics:

    metrics = Metrics("worker", "glass")
    metrics.add(RECEIVED, 1, "glass", "opcua")           # a dictionary addition
    metrics.source(lambda out: out.set(BUFFERED, len(buffer), "furnace"))
    metrics.text()                                        # the exposition format
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from app.observe.version import version

PREFIX = "plantstream_"
Kind = Literal["counter", "gauge", "summary", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its name without prefix (and ``_total``), its labels, and what it says."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def full_name(self) -> str:
        """The name under which Prometheus knows it."""
        return PREFIX + self.name + ("_total" if self.kind == "counter" else "")


_STAGE = ("topology", "stage")

# every process
UP = Metric("up", "gauge", ("kind", "name"), "1 while the process runs")
INFO = Metric("info", "gauge", ("kind", "name", "version"), "1, labelled with the version")
STARTED = Metric("start_time_seconds", "gauge", ("kind", "name"), "When it started, Unix time")
ERRORS = Metric("errors", "counter", ("where", "reason"), "Things that went wrong, by reason")

# workers
RECEIVED = Metric("received", "counter", _STAGE, "Records a stage read")
SAMPLES = Metric("samples", "counter", _STAGE, "Samples decoded from them")
SENT = Metric("sent", "counter", (*_STAGE, "output"), "Records written, by output")
DROPPED = Metric(
    "dropped", "counter", (*_STAGE, "reason"), "Records skipped on purpose, by reason"
)
DEAD_LETTERS = Metric(
    "dead_letters", "counter", (*_STAGE, "reason"), "Records that could not be processed"
)
COUNTED = Metric(
    "counted", "counter", (*_STAGE, "what"), "What steps count: late samples, heartbeats, …"
)
FAILED = Metric(
    "failed",
    "counter",
    (*_STAGE, "step"),
    "Records that became dead letters, by the step (or decode, output, state) they failed in",
)
STATE_BYTES = Metric(
    "state_bytes", "gauge", (*_STAGE, "step"), "State kept, with its keys; counted now and then"
)
STATE_KEYS = Metric("state_keys", "gauge", _STAGE, "Keys that have state; counted now and then")
STEP_SECONDS = Metric(
    "step_seconds",
    "summary",
    (*_STAGE, "step"),
    "Time in a step, of the records that are measured (1 in 16)",
)
RECORD_SECONDS = Metric("record_seconds", "histogram", _STAGE, "Time in a stage per record")
LATENCY = Metric(
    "latency_seconds",
    "histogram",
    ("topology",),
    "From a record's event time to the commit that makes its outputs visible",
)
COMMITS = Metric("commit_seconds", "summary", ("topology",), "Commits and the time they took")
RESTARTS = Metric("restarts", "counter", ("topology",), "Fresh starts after Kafka had failed")
LAG = Metric("lag", "gauge", ("group", "topic", "partition"), "Records not yet read, by partition")
ASSIGNED = Metric("assigned_partitions", "gauge", ("group", "topic"), "Partitions held")
RESTORING = Metric(
    "restore_remaining", "gauge", ("topology",), "Changelog records still to be restored"
)

# sinks
SINK_RECORDS = Metric("sink_records", "counter", ("topology", "output"), "Records read")
SINK_BATCHES = Metric("sink_batches", "counter", ("topology",), "Batches stored and committed")
SINK_DOCUMENTS = Metric("sink_documents", "counter", ("topology",), "Documents stored")
SINK_UNCHANGED = Metric(
    "sink_unchanged", "counter", ("topology",), "Documents no newer than what was stored already"
)
SINK_SAMPLES = Metric("sink_samples", "counter", ("topology",), "Samples in documents stored")
SINK_DEAD_LETTERS = Metric(
    "sink_dead_letters", "counter", ("topology", "reason"), "Records the store cannot hold"
)
SINK_LOST = Metric(
    "sink_lost", "counter", ("topology",), "Records that Kafka deleted before they were read"
)
SINK_WRITE_SECONDS = Metric(
    "sink_write_seconds", "histogram", ("topology",), "Time of a batch in the store"
)
SINK_LATENCY = Metric(
    "sink_latency_seconds",
    "histogram",
    ("topology",),
    "From a document's newest event time to the commit after it was stored",
)
SINK_TROUBLES = Metric(
    "sink_troubles", "counter", ("topology",), "Times the store was away or busy"
)
SINK_RETRIES = Metric("sink_retries", "counter", ("topology",), "Documents tried again")
SINK_RESTARTS = Metric(
    "sink_restarts", "counter", ("topology",), "Fresh starts after Kafka had failed"
)
SINK_WAITING = Metric(
    "sink_waiting", "gauge", ("topology",), "1 while the store is away and the sink waits"
)

# connectors
_CONNECTOR = ("connector", "kind")
MESSAGES = Metric("connector_messages", "counter", _CONNECTOR, "Messages the source sent")
LANDED = Metric("connector_landed", "counter", _CONNECTOR, "Messages that Kafka has")
LANDED_RECORDS = Metric(
    "connector_landed_records", "counter", _CONNECTOR, "Raw records that Kafka has"
)
LANDED_BYTES = Metric("connector_landed_bytes", "counter", _CONNECTOR, "Bytes of those records")
LOST = Metric(
    "connector_lost", "counter", (*_CONNECTOR, "reason"), "Messages that will never land, by reason"
)
CONNECTOR_DEAD_LETTERS = Metric(
    "connector_dead_letters",
    "counter",
    (*_CONNECTOR, "reason"),
    "Records that Kafka refused on their raw topic and that landed as dead letters",
)
CONNECTOR_ERRORS = Metric(
    "connector_errors", "counter", (*_CONNECTOR, "reason"), "What went wrong without loss"
)
RECONNECTS = Metric("connector_reconnects", "counter", _CONNECTOR, "Connections made anew")
HEARTBEATS = Metric(
    "connector_heartbeats", "counter", (*_CONNECTOR, "state"), "Heartbeats written, by state"
)
PRODUCER_RESTARTS = Metric(
    "connector_producer_restarts", "counter", _CONNECTOR, "Fresh starts after Kafka had failed"
)
PAUSES = Metric(
    "connector_pauses", "counter", _CONNECTOR, "Times reading paused because the buffer was full"
)
BUFFERED = Metric("connector_buffered", "gauge", _CONNECTOR, "Records read and not yet landed")
BUFFERED_BYTES = Metric("connector_buffered_bytes", "gauge", _CONNECTOR, "Bytes of those records")
CONNECTED = Metric("connector_connected", "gauge", _CONNECTOR, "1 while the source is connected")
ASSETS = Metric(
    "connector_assets", "gauge", (*_CONNECTOR, "which"), "Assets: known, and heard of lately"
)
PRODUCE_SECONDS = Metric(
    "connector_produce_seconds", "histogram", _CONNECTOR, "From handing over to landing a record"
)
LANDING_SECONDS = Metric(
    "connector_landing_seconds",
    "histogram",
    _CONNECTOR,
    "From receiving the oldest message of a record to its landing",
)

#: Every metric there is, in the order of the reference page.
ALL: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)


class Values:
    """What a source writes its numbers into during a scrape."""

    def __init__(self) -> None:
        self._values: dict[Metric, dict[tuple[str, ...], float]] = {}
        self._summaries: dict[Metric, dict[tuple[str, ...], tuple[int, float]]] = {}
        self._histograms: dict[
            Metric, dict[tuple[str, ...], tuple[Sequence[float], Sequence[int], float]]
        ] = {}

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """The value of a counter or gauge; two sources of the same labels add up."""
        series = self._values.setdefault(metric, {})
        key = _checked(metric, labels, "counter", "gauge")
        series[key] = series.get(key, 0) + value

    def summary(self, metric: Metric, count: int, total: float, *labels: str) -> None:
        """Number and sum of what was measured."""
        key = _checked(metric, labels, "summary")
        self._summaries.setdefault(metric, {})[key] = (count, total)

    def histogram(
        self,
        metric: Metric,
        bounds: Sequence[float],
        counts: Sequence[int],
        total: float,
        *labels: str,
    ) -> None:
        """Counts by upper bound, not cumulated; the last of ``counts`` is beyond all bounds."""
        key = _checked(metric, labels, "histogram")
        self._histograms.setdefault(metric, {})[key] = (bounds, counts, total)

    def families(self) -> Iterator[Family]:
        """The metrics as prometheus-client wants them."""
        for metric, series in self._values.items():
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(PREFIX + metric.name, metric.help, labels=metric.labels)
            for labels, value in series.items():
                family.add_metric(labels, value)
            yield family
        for metric, summaries in self._summaries.items():
            summary = SummaryMetricFamily(PREFIX + metric.name, metric.help, labels=metric.labels)
            for labels, (count, total) in summaries.items():
                summary.add_metric(labels, count, total)
            yield summary
        for metric, histograms in self._histograms.items():
            histogram = HistogramMetricFamily(
                PREFIX + metric.name, metric.help, labels=metric.labels
            )
            for labels, (bounds, counts, total) in histograms.items():
                histogram.add_metric(labels, _cumulated(bounds, counts), total)
            yield histogram


Source = Callable[[Values], None]


class Metrics(Collector):
    """The metrics of one process."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind, self.name = kind, name
        self._started = time.time()
        self._counts: dict[Metric, dict[tuple[str, ...], float]] = {}
        self._sources: list[Source] = []
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        for own in (ProcessCollector, PlatformCollector, GCCollector):
            own(registry=self.registry)

    def add(self, metric: Metric, amount: float, *labels: str) -> None:
        """Add to a counter. Safe from one thread per series."""
        series = self._counts.setdefault(metric, {})
        series[labels] = series.get(labels, 0) + amount

    def source(self, source: Source) -> None:
        """Call ``source`` at every scrape; it must be quick, and safe from another thread."""
        self._sources.append(source)

    def collect(self) -> Iterator[Family]:
        """Called by prometheus-client at a scrape."""
        values = Values()
        values.set(UP, 1, self.kind, self.name)
        values.set(INFO, 1, self.kind, self.name, version())
        values.set(STARTED, self._started, self.kind, self.name)
        for metric, series in list(self._counts.items()):
            for labels, value in list(series.items()):
                values.set(metric, value, *labels)
        for source in list(self._sources):
            source(values)
        return values.families()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


def _checked(metric: Metric, labels: tuple[str, ...], *kinds: str) -> tuple[str, ...]:
    if metric.kind not in kinds or len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} is a {metric.kind} with labels {metric.labels}")
    return labels


def _cumulated(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    total, buckets = 0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
