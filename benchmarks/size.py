"""Cost against size: the whole ``glass`` topology with 100 to 100,000 tags, windows of 60 samples.

Time per sample of one worker, bytes of state a tag, memory, and how long a worker whose state
folder was deleted restores from its changelog.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, consumer_options
from app.kafka.topics import ensure_topics, log_topic
from app.shells.worker.plan import Plan
from benchmarks import plant, progress, subjects
from benchmarks.progress import Say
from benchmarks.shapes import land
from benchmarks.subjects import Process, Run
from benchmarks.table import Outcome, Row
from benchmarks.traffic import BLOCK, TAGS
from benchmarks.worker import declared
from topologies.core import compile_topology

SIZES = (100, 1_000, 10_000, 100_000)
#: Sixty samples at five a second.
_STEPS = {"window": {"size": "12s"}}
#: Enough blocks of an asset to fill a window.
_TURNS = 8
_RECORDS, _RECORDS_QUICK = 60_000, 4_000
_READY_S = 300.0


@dataclass(frozen=True)
class Cost:
    """What one size costs."""

    tags: int
    ns_a_sample: float
    state_bytes: int
    state_bytes_a_tag: float
    #: Bytes a tag by step.
    steps: dict[str, float]
    memory_bytes: int
    #: A worker from its start until it is ready: with its state folder, and without.
    warm_s: float
    cold_s: float
    #: Of the cold one, restoring.
    restore_s: float


def run(stack: EmbeddedStack, say: Say, *, quick: bool = False) -> Outcome:
    """A line a size."""
    costs = [_measure(stack, say, tags, quick) for tags in (SIZES[:-1] if quick else SIZES)]
    rows: list[Row] = []
    for cost in costs:
        ratio = cost.ns_a_sample / costs[0].ns_a_sample if cost is not costs[0] else None
        what = f"glass, {cost.tags:,} tags"
        parts = sorted(cost.steps.items(), key=lambda part: -part[1])
        of = ", ".join(f"{step} {each:,.0f}" for step, each in parts)
        state = f"{cost.state_bytes / 1e6:.1f} MB: {of}"
        rows += [
            Row(what, "time per sample", cost.ns_a_sample, "ns", ratio, "one worker"),
            Row(what, "state per tag", cost.state_bytes_a_tag, "bytes", None, state),
            Row(what, "memory of the worker", cost.memory_bytes / 1e6, "MB"),
            Row(
                what,
                "restore of a cold worker",
                cost.restore_s * 1e3,
                "ms",
                None,
                f"ready {cost.cold_s:.1f} s after its start, {cost.warm_s:.1f} s with its folder",
            ),
        ]
    return Outcome(rows, {"costs": [asdict(cost) for cost in costs]})


def _measure(stack: EmbeddedStack, say: Say, tags: int, quick: bool) -> Cost:
    assets = tags // TAGS
    turns = max(_TURNS, (_RECORDS_QUICK if quick else _RECORDS) // assets)
    kafka = KafkaSettings(
        bootstrap=str(stack.endpoints.kafka_bootstrap), prefix=f"b{time.time_ns()}."
    )
    source = kafka.topics.raw("opcua")
    ensure_topics(admin_client(kafka), [log_topic(kafka, source)])
    say(f"{tags:,} tags: landing {assets * turns:,} records")
    count = land(kafka, source, plant.records(assets, turns))
    more = {"assets": assets, "steps": _STEPS, "report": True}
    plan = Plan.of(compile_topology(declared(more)), kafka)
    with tempfile.TemporaryDirectory(prefix="plantstream-bench-") as folder:
        run = Run(kafka, source, "", Path(folder), "size")
        say(f"{tags:,} tags: processing")
        (worker,) = workers = subjects.our_workers(run, 1, more)
        try:
            rate = progress.rate(kafka, plan.group, source, count, workers, warm=0.3) * BLOCK
            memory = psutil.Process(worker.pid).memory_info().rss
        finally:
            subjects.stop(workers)
        steps = _live_bytes(kafka, plan.changelog(source))
        warm, _ = _start(run, say, more, f"{tags:,} tags, state there")
        shutil.rmtree(run.folder / run.name)
        cold, restored = _start(run, say, more, f"{tags:,} tags, state deleted")
    state = sum(steps.values())
    return Cost(
        tags,
        1e9 / rate,
        state,
        state / tags,
        {step: size / tags for step, size in steps.items()},
        memory,
        warm,
        cold,
        restored,
    )


def _start(run: Run, say: Say, more: dict[str, Any], what: str) -> tuple[float, float]:
    """Start a worker, wait until it is ready, stop it; s until then, and s spent restoring."""
    begun = time.time()
    workers = subjects.our_workers(run, 1, more)
    log = run.log.with_suffix(".0.log")
    try:
        deadline = time.monotonic() + _READY_S
        while True:
            lines = _lines(log)
            if lines and lines[-1].get("ready"):
                break
            if lines:
                say(f"{what}: waits for {lines[-1]['waiting_for']}")
            _alive(workers, log, deadline)
            time.sleep(0.05)
    finally:
        subjects.stop(workers)
    restoring = [line["at"] for line in lines if "restored" in line.get("waiting_for", "")]
    ready = lines[-1]["at"]
    return ready - begun, ready - restoring[0] if restoring else 0.0


def _lines(log: Path) -> list[dict[str, Any]]:
    """What the worker reported so far; other lines of its log are left out."""
    whole = log.read_text(errors="replace").rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in whole if line.startswith('{"at"')]


def _alive(workers: list[Process], log: Path, deadline: float) -> None:
    if any(worker.poll() is not None for worker in workers) or time.monotonic() > deadline:
        said = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the worker was never ready:\n{said}")


def _live_bytes(kafka: KafkaSettings, changelog: str) -> dict[str, int]:
    """Bytes of keys and newest values in a changelog, by step: what compaction leaves of it."""
    options = consumer_options(kafka, "bench-watch", f"{changelog}-watch")
    reader = Consumer({**options, "enable.partition.eof": True})
    partitions = [TopicPartition(changelog, n, 0) for n in range(kafka.partitions)]
    reader.assign(partitions)
    newest: dict[tuple[int, bytes], int] = {}
    left = len(partitions)
    try:
        while left:
            for message in reader.consume(1000, 1.0):
                if message.error():
                    left -= 1  # the end of a partition
                    continue
                key, value = message.key(), message.value()
                newest[message.partition(), key] = 0 if value is None else len(key) + len(value)
    finally:
        reader.close()
    steps: dict[str, int] = defaultdict(int)
    for (_, key), size in newest.items():
        name = key.partition(b"|")[2]  # after the record's key
        steps[name.partition(b"/")[0].decode()] += size
    return dict(steps)
