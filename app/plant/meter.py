"""How much moves in a plant: counters of all workers and sinks, read from their /metrics."""

from __future__ import annotations

import time
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from app.observe import metrics as m
from app.observe.metrics import Metric
from app.observe.processes import Process, running
from app.settings import Settings
from topologies.core import Topology

_HTTP_S = 2.0


@dataclass(slots=True)
class Stage:
    """One stage of a topology, since its workers started."""

    name: str
    topic: str
    records: int = 0
    samples: int = 0
    sent: int = 0
    dead: int = 0
    lag: int = 0


@dataclass(slots=True)
class Flow:
    """One topology, since its processes started."""

    topology: str
    stages: list[Stage]
    #: Records written, by output, in the order of the declaration.
    sent: dict[str, int]
    documents: int = 0
    sink_samples: int = 0
    sink_lag: int = 0
    sink_dead: int = 0

    @property
    def dead(self) -> int:
        """Dead letters of its workers and its sink."""
        return sum(stage.dead for stage in self.stages) + self.sink_dead


@dataclass(slots=True)
class Reading:
    """All topologies at one moment."""

    #: Monotonic seconds.
    at: float
    flows: dict[str, Flow] = field(default_factory=dict)
    #: Messages connectors have landed, and lost.
    landed: int = 0
    lost: int = 0
    #: What was lost, by reason.
    reasons: dict[str, int] = field(default_factory=dict)


class Meter:
    """Reads a plant's counters. Processes that do not answer count nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topologies = {name: settings.topologies[name] for name in settings.enabled()}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="meter")

    def read(self) -> Reading:
        """The counters now."""
        reading = Reading(time.monotonic())
        found = running(self._settings.data_dir)
        pages = list(self._pool.map(_page, found))
        totals: dict[tuple[str, ...], float] = defaultdict(float)
        for page in pages:
            for name, labels, value in page:
                totals[name, *labels] += value
        for name, topology in self._topologies.items():
            reading.flows[name] = self._flow(topology, totals)
        reading.landed = _sum(totals, m.LANDED)
        reading.lost = _sum(totals, m.LOST)
        for series, value in totals.items():
            if series[0] == m.LOST.full_name and value:
                reason = series[-1]
                reading.reasons[reason] = reading.reasons.get(reason, 0) + int(value)
        return reading

    def close(self) -> None:
        """End the threads that read."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _flow(self, topology: Topology, totals: dict[tuple[str, ...], float]) -> Flow:
        topics = self._settings.site.kafka.topics
        name = topology.name
        stages = []
        for source in topology.inputs:
            stage = Stage(source.name, source.topic(topics))
            at = (name, stage.name)
            stage.records = _sum(totals, m.RECEIVED, *at)
            stage.samples = _sum(totals, m.SAMPLES, *at)
            stage.sent = _sum(totals, m.SENT, *at)
            stage.dead = _sum(totals, m.DEAD_LETTERS, *at)
            stage.lag = _sum(totals, m.LAG, self._settings.site.kafka.group(name), stage.topic)
            stages.append(stage)
        sent = {
            output.name: sum(
                _sum(totals, m.SENT, name, stage.name, output.name) for stage in stages
            )
            for output in topology.outputs
        }
        flow = Flow(name, stages, sent)
        flow.documents = _sum(totals, m.SINK_DOCUMENTS, name)
        flow.sink_samples = _sum(totals, m.SINK_SAMPLES, name)
        flow.sink_dead = _sum(totals, m.SINK_DEAD_LETTERS, name)
        flow.sink_lag = _sum(totals, m.LAG, self._settings.site.kafka.group(f"sink-{name}"))
        return flow


_WANTED: dict[str, Metric] = {
    metric.full_name: metric
    for metric in (
        m.RECEIVED,
        m.SAMPLES,
        m.SENT,
        m.DEAD_LETTERS,
        m.LAG,
        m.SINK_DOCUMENTS,
        m.SINK_SAMPLES,
        m.SINK_DEAD_LETTERS,
        m.LANDED,
        m.LOST,
    )
}


def _sum(totals: dict[tuple[str, ...], float], metric: Metric, *labels: str) -> int:
    """The sum of all series of a metric whose first labels are these."""
    wanted = (metric.full_name, *labels)
    return round(sum(v for key, v in totals.items() if key[: len(wanted)] == wanted))


def _page(process: Process) -> list[tuple[str, tuple[str, ...], float]]:
    """Name, labels and value of every series that counts here."""
    url = process.url("metrics")
    if url is None:
        return []
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_S) as answer:
            text = answer.read().decode()
    except OSError:
        return []
    lines = (line for line in text.splitlines() if line.startswith(_PREFIXES))
    return [
        (sample.name, tuple(sample.labels[label] for label in _WANTED[sample.name].labels), value)
        for family in text_string_to_metric_families("\n".join(lines) + "\n")
        for sample in family.samples
        for value in (float(sample.value),)
        if sample.name in _WANTED
    ]


_PREFIXES = tuple(f"{name}{{" for name in _WANTED)
