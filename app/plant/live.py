"""What moves through a running topology, edge by edge: from the pages of its processes."""

from __future__ import annotations

import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from app.observe import metrics as m
from app.observe.metrics import Metric
from app.observe.processes import running
from app.settings import Settings
from models.errors import PlantstreamError
from topologies.core import Topology
from topologies.core.graph import Live, graph
from topologies.core.record import DEAD_LETTERS
from topologies.core.stages import stages

_HTTP_S = 5.0
_METRICS = (
    m.RECEIVED, m.SAMPLES, m.SENT, m.DEAD_LETTERS, m.COUNTED, m.FAILED, m.LAG, m.STATE_BYTES,
    m.STATE_KEYS, m.SINK_DOCUMENTS, m.SINK_DEAD_LETTERS,
)  # fmt: skip
_WANTED = {metric.full_name: metric for metric in _METRICS}
_SPENT = {f"{m.STEP_SECONDS.full_name}_{part}": part for part in ("sum", "count")}


class NothingRuns(PlantstreamError):
    """No worker of the topology runs here."""


@dataclass(frozen=True, slots=True)
class Counters:
    """All series of a topology's processes on this machine, added up over processes."""

    at: float
    workers: int
    series: Mapping[tuple[str, ...], float]

    def sum(self, metric: Metric, **labels: str) -> float:
        """Of all series with these labels."""
        return self._sum(metric.full_name, metric.labels, labels)

    def spent(self, part: str, **labels: str) -> float:
        """Seconds in steps (``sum``), or how often they were measured (``count``)."""
        step = m.STEP_SECONDS
        return self._sum(f"{step.full_name}_{part}", step.labels, labels)

    def _sum(self, name: str, order: tuple[str, ...], labels: Mapping[str, str]) -> float:
        wanted = [(order.index(label) + 1, value) for label, value in labels.items()]
        return sum(
            value
            for key, value in self.series.items()
            if key[0] == name and all(key[at] == want for at, want in wanted)
        )


def read(settings: Settings, topology: str) -> Counters:
    """The counters now. Raises NothingRuns."""
    series: dict[tuple[str, ...], float] = defaultdict(float)
    workers = 0
    for process in running(settings.data_dir):
        if process.kind not in ("worker", "sink") or process.name != topology:
            continue
        url = process.url("metrics")
        if url is None:
            continue
        try:
            with urllib.request.urlopen(url, timeout=_HTTP_S) as answer:
                page = answer.read().decode()
        except OSError:
            continue
        workers += process.kind == "worker"
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                metric = m.STEP_SECONDS if sample.name in _SPENT else _WANTED.get(sample.name)
                if metric is not None:
                    labels = (sample.labels[label] for label in metric.labels)
                    series[sample.name, *labels] += float(sample.value)
    if not workers:
        raise NothingRuns(
            f"no worker of {topology} runs on this machine with its data in {settings.data_dir}"
            f" (plantstream worker {topology}), or metrics.enabled is false"
        )
    return Counters(time.monotonic(), workers, series)


def measure(settings: Settings, topology: Topology, over_s: float) -> Live:
    """Rates over so many seconds, and how things stand. Raises NothingRuns."""
    before = read(settings, topology.name)
    time.sleep(over_s)
    return compared(settings, topology, before, read(settings, topology.name))


def compared(settings: Settings, topology: Topology, before: Counters, now: Counters) -> Live:
    """What happened between two readings, for the graph of the topology."""
    return _Comparison(settings, topology, before, now).live()


class _Comparison:
    def __init__(
        self, settings: Settings, topology: Topology, before: Counters, now: Counters
    ) -> None:
        self._kafka, self._topology = settings.site.kafka, topology
        self._before, self._now = before, now
        self._seconds = max(now.at - before.at, 1e-3)

    def live(self) -> Live:
        nodes: dict[str, dict[str, float]] = {}
        edges: dict[tuple[str, str], dict[str, float]] = {}
        picture = graph(self._topology, self._kafka.topics)
        labels = {node.id: node.label for node in picture.nodes}
        kinds = {f"out:{output.name}": output.kind for output in self._topology.outputs}
        makes = {step.name: step.makes for step in self._topology.steps}
        for node in picture.nodes:
            if node.kind in ("step", "merge"):
                nodes[node.id] = self._step(node.id)
                if node.kind == "merge":
                    nodes[node.id] |= self._between(node.id)
            elif node.kind == "decode":
                nodes[node.id] = {"failed": self._failed("decode", node.id.partition(":")[2])}
        for output in self._topology.outputs:
            nodes[f"out:{output.name}"] = self._output(output.name)
        nodes[DEAD_LETTERS] = {
            "dead_letters": self._now.sum(m.DEAD_LETTERS, topology=self._topology.name)
            + self._now.sum(m.SINK_DEAD_LETTERS, topology=self._topology.name)
        }
        for edge in picture.edges:
            kind, _, name = edge.source.partition(":")
            if kind == "topic":
                edges[edge.source, edge.target] = self._arriving(name, labels[edge.source])
            elif kind == "decode":
                rate = self._rate(m.SAMPLES, stage=name)
                edges[edge.source, edge.target] = {"samples_per_s": rate}
            elif makes.get(edge.source) in ("features", "scores", "alarms"):
                into = kinds.get(edge.target, "")
                what = into if into in ("late", "anomalies") else "made"
                rate = self._rate(m.COUNTED, what=f"{what}.{edge.source}")
                edges[edge.source, edge.target] = {"rows_per_s": rate}
            else:
                edges[edge.source, edge.target] = {"samples_per_s": self._through(edge.source)}
        return Live(nodes, edges)

    def _rate(self, metric: Metric, **labels: str) -> float:
        labels["topology"] = self._topology.name
        change = self._now.sum(metric, **labels) - self._before.sum(metric, **labels)
        return max(change, 0.0) / self._seconds  # a process that was started anew counts from 0

    def _failed(self, step: str, stage: str) -> float:
        return self._now.sum(m.FAILED, topology=self._topology.name, step=step, stage=stage)

    def _step(self, name: str) -> dict[str, float]:
        of = {"topology": self._topology.name, "step": name}
        times = self._now.spent("count", **of) - self._before.spent("count", **of)
        spent = self._now.spent("sum", **of) - self._before.spent("sum", **of)
        return {
            "microseconds": spent / times * 1e6 if times > 0 else 0.0,
            "state_bytes": self._now.sum(m.STATE_BYTES, **of),
            "failed": self._now.sum(m.FAILED, **of),
        }

    def _between(self, merge: str) -> dict[str, float]:
        """What is on its way through the topic before a merge."""
        boundary = next(step for step in self._topology.steps if step.name == merge)
        channel = str(getattr(boundary, "channel", merge))
        topic = self._kafka.topics.output(self._topology.name, channel)
        group = self._kafka.group(self._topology.name)
        return {"lag": self._now.sum(m.LAG, group=group, topic=topic)}

    def _output(self, name: str) -> dict[str, float]:
        topic = self._kafka.topics.output(self._topology.name, name)
        group = self._kafka.group(f"sink-{self._topology.name}")
        return {
            "records_per_s": self._rate(m.SENT, output=name),
            "lag": self._now.sum(m.LAG, group=group, topic=topic),
        }

    def _arriving(self, stage: str, topic: str) -> dict[str, float]:
        group = self._kafka.group(self._topology.name)
        return {
            "records_per_s": self._rate(m.RECEIVED, stage=stage),
            "lag": self._now.sum(m.LAG, group=group, topic=topic),
        }

    def _through(self, step: str) -> float:
        """Samples that go through a step that hands on readings, a second."""
        for stage in stages(self._topology):
            if step in (one.name for one in stage.steps) or step == stage.name:
                if stage.merge is not None:
                    return self._rate(m.COUNTED, stage=stage.name, what="merged")
                return sum(
                    self._rate(m.SAMPLES, stage=each.name)
                    for each in stages(self._topology)
                    if each.source is not None and not each.source.table
                )
        return 0.0

