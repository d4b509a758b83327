"""The whole topology ``glass`` beside a bare loop that consumes, decodes, produces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import KafkaException

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client
from app.kafka.topics import ensure_topics, log_topic
from app.shells.worker.plan import Plan
from benchmarks import progress, traffic
from benchmarks.progress import Say
from benchmarks.subjects import CORES, ROOT, Run, our_workers, stop
from benchmarks.table import Outcome, Row
from topologies.core import Record, compile_topology
from topologies.core.discover import get
from topologies.core.state import DictState

_WHAT = "glass, whole topology"


def run(stack: EmbeddedStack, say: Say, *, quick: bool = False) -> Outcome:
    """Rates in samples per second, and where the time of the function goes."""
    count = 6_000 if quick else 60_000
    kafka = KafkaSettings(
        bootstrap=str(stack.endpoints.kafka_bootstrap), prefix=f"b{time.time_ns()}."
    )
    topic, target = kafka.topics.raw("opcua"), kafka.topics.name("bare")
    ensure_topics(admin_client(kafka), [log_topic(kafka, topic), log_topic(kafka, target)])
    say(f"landing {count:,} records")
    traffic.land(kafka, topic, count)
    say("a bare loop")
    bare = _bare(kafka, topic, target, count)
    rows = [Row(_WHAT, "consume, decode, produce", bare, "samples/s", None, "a bare loop")]
    note = f"{count:,} records of {traffic.BLOCK} samples, {traffic.ASSETS} assets, exactly once"
    for processes in sorted({1, CORES}):
        say(f"{processes} worker(s)")
        ours = _workers(kafka, topic, count, processes)
        who = "one worker" if processes == 1 else f"{processes} workers"
        rows.append(Row(_WHAT, who, ours, "samples/s", ours / bare, note))
    say("the function alone")
    return Outcome([*rows, *_function(count // 8)])


def _bare(kafka: KafkaSettings, topic: str, target: str, count: int) -> float:
    group = kafka.group("bare")
    job = {
        "kafka": kafka.model_dump(mode="json", exclude_none=True),
        "group": group,
        "source": topic,
        "target": target,
    }
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare", json.dumps(job)], cwd=ROOT)
    try:
        return progress.rate(kafka, group, topic, count, [process]) * traffic.BLOCK
    finally:
        stop([process])


def _workers(kafka: KafkaSettings, topic: str, count: int, processes: int) -> float:
    """All of the topic by a group that begins anew."""
    group = kafka.group("glass")
    admin = admin_client(kafka)  # it must outlive its futures
    for future in admin.delete_consumer_groups([group]).values():
        if not isinstance(error := future.exception(30), (KafkaException, type(None))):
            raise error  # anything but "there is none"
    changelog = Plan.of(compile_topology(get("glass")), kafka).changelog(topic)
    if changelog in admin.list_topics(timeout=30).topics:
        # State without offsets: a worker would refuse to go on.
        admin.delete_topics([changelog])[changelog].result(30)
        while changelog in admin.list_topics(timeout=30).topics:
            time.sleep(0.05)
    with tempfile.TemporaryDirectory(prefix="plantstream-bench-") as folder:
        run = Run(kafka, topic, "", Path(folder), "glass")
        workers = our_workers(run, processes, {"assets": traffic.ASSETS})
        try:
            return progress.rate(kafka, group, topic, count, workers) * traffic.BLOCK
        finally:
            stop(workers)


def _function(count: int) -> list[Row]:
    """The compiled function alone, in processor time: the whole, and each step's part."""
    compiled = compile_topology(get("glass"), timer=time.process_time)
    (stage,) = [stage for stage in compiled.stages if stage.name == "opcua"]
    known = traffic.knowledge()
    states: dict[bytes, DictState] = {}
    batch = [
        (states.setdefault(key, DictState()), Record("raw.opcua", 0, n, stamp, key, value, head))
        for n, (key, value, head, stamp) in enumerate(traffic.records(count))
    ]
    for state, record in batch[: count // 4]:
        stage(record, state, known)
    stage.step_seconds.clear()
    stage.timed = 0
    begun = time.process_time()
    for state, record in batch[count // 4 :]:
        stage(record, state, known)
    spent = time.process_time() - begun
    rows = len(batch) - count // 4
    whole = spent / rows
    note = f"{whole * 1e6:.0f} µs a record"
    result = [
        Row("glass, function alone", "no Kafka", traffic.BLOCK / whole, "samples/s", None, note)
    ]
    parts = {name: spent / max(stage.timed, 1) for name, spent in stage.step_seconds.items()}
    parts["decode, time, encode"] = whole - sum(parts.values())
    for name, each in sorted(parts.items(), key=lambda item: -item[1]):
        result.append(Row("", name, each * 1e6, "µs a record", None, f"{each / whole:.0%}"))
    return result


if __name__ == "__main__":
    for row in _function(int(os.environ.get("RECORDS", "4000"))):
        print(f"{row.what:24} {row.who:24} {row.rate:12,.1f} {row.unit:12} {row.note}")
