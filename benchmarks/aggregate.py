"""The windowed aggregate: ours and the peers, the same bytes, the same final results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client
from app.kafka.topics import ensure_topics, log_topic
from benchmarks import shapes, subjects, watch
from benchmarks.java import Absent, versions
from benchmarks.progress import Say
from benchmarks.shapes import Expected, Shape
from benchmarks.subjects import AT_LEAST, Run, Subject
from benchmarks.table import Outcome, Row

#: Records of the whole input, and of --quick; then the share of results that only warm up.
RECORDS = {"blocks": (400_000, 8_000), "wide": (200_000, 8_000), "single": (2_000_000, 40_000)}
_WARM, _WARM_QUICK = 0.4, 0.2
_BASE, _TUNED = "Kafka Streams DSL", "Kafka Streams, hand-tuned"
_LIMIT_S = 600.0


def run(stack: EmbeddedStack, say: Say, *, quick: bool = False) -> Outcome:
    """All shapes, all subjects. Whoever gives other results than expected is a failure."""
    return measure(stack, say, quick=quick)


def measure(
    stack: EmbeddedStack,
    say: Say,
    *,
    quick: bool,
    chosen: Iterable[Shape] = shapes.SHAPES,
    who: Iterable[Subject] | None = None,
) -> Outcome:
    """The same for some of them."""
    compared = list(who) if who is not None else subjects.subjects()
    rows: list[Row] = []
    failures: list[str] = []
    settings: dict[str, str] = {one.name: one.settings for one in compared}
    try:
        settings["Java"] = versions()
    except Absent as absent:
        settings["Java"] = f"skipped: {absent}"
    for shape in chosen:
        rates: dict[str, float | str] = {}
        inputs: dict[int, _Input] = {}
        for subject in compared:
            say(f"{shape.what}: {subject.name}")
            windows = shape.windows(round(RECORDS[shape.name][quick] * subject.share))
            if windows not in inputs:
                inputs[windows] = _Input.land(stack, shape, windows)
            try:
                rates[subject.name] = inputs[windows].rate(subject, _WARM_QUICK if quick else _WARM)
            except Absent as absent:
                rates[subject.name] = f"skipped: {absent}"
            except WrongResults as wrong:
                rates[subject.name] = f"WRONG: {wrong}"
                failures.append(f"{shape.what}: {subject.name}: {wrong}")
        rows += _rows(shape, compared, rates)
    return Outcome(rows, {"settings": settings}, failures)


class WrongResults(Exception):
    """A subject did not give the expected results; the message says how they differ."""


class _Input:
    """One input on the broker, and what must come of it."""

    def __init__(self, kafka: KafkaSettings, expected: Expected, records: int) -> None:
        self.kafka, self.expected, self.records = kafka, expected, records
        self.topic = kafka.topics.raw("opcua")

    @classmethod
    def land(cls, stack: EmbeddedStack, shape: Shape, windows: int) -> _Input:
        """Put it there."""
        kafka = KafkaSettings(
            bootstrap=str(stack.endpoints.kafka_bootstrap),
            prefix=f"b{time.time_ns()}.",
            retention_bytes=-1,
        )
        topic = kafka.topics.raw("opcua")
        ensure_topics(admin_client(kafka), [log_topic(kafka, topic)])
        count = shapes.land(kafka, topic, shapes.records(shape, windows))
        return cls(kafka, shapes.expect(shape, windows), count)

    def rate(self, subject: Subject, warm: float) -> float:
        """Samples per second of one subject, by its committed results."""
        name = f"s{time.time_ns()}"
        target = self.kafka.topics.output(name, "features")
        ensure_topics(admin_client(self.kafka), [log_topic(self.kafka, target)])
        with tempfile.TemporaryDirectory(prefix="plantstream-bench-") as folder:
            run = Run(self.kafka, self.topic, target, Path(folder), name)
            processes = subject.start(run)
            try:
                seen = watch.collect(
                    self.kafka, target, self.expected.results, processes, limit_s=_LIMIT_S
                )
            except RuntimeError as error:
                raise WrongResults(f"{error}\n{_tail(run.folder)}") from error
            finally:
                subjects.stop(processes)
        if wrong := watch.differences(seen, self.expected):
            raise WrongResults("; ".join(wrong))
        return seen.rate(warm) * self.expected.samples / self.expected.results


def _rows(shape: Shape, compared: list[Subject], rates: dict[str, float | str]) -> list[Row]:
    base, tuned = rates.get(_BASE), rates.get(_TUNED)
    rows = []
    for subject in compared:
        rate = rates[subject.name]
        row = Row(shape.what, subject.name, 0.0, "samples/s")
        if isinstance(rate, str):
            rows.append(replace(row, note=rate.splitlines()[0]))
            continue
        notes = []
        if subject.guarantee == AT_LEAST:
            notes.append(AT_LEAST)
        if isinstance(tuned, float) and subject.name.startswith("Plantstream"):
            notes.append(f"{rate / tuned:.2f} × hand-tuned")
        ratio = rate / base if isinstance(base, float) and subject.name != _BASE else None
        rows.append(replace(row, rate=rate, ratio=ratio, note=", ".join(notes)))
    return rows


def _tail(folder: Path) -> str:
    """The end of what the subjects said."""
    return "\n".join(
        line
        for log in sorted(folder.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()[-20:]
    )
