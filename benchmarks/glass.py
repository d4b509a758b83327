"""The whole topology ``glass`` in one worker, beside a bare consume, decode, produce loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client
from app.kafka.topics import ensure_topics, log_topic
from benchmarks import progress, traffic
from benchmarks.table import Row
from topologies.core import Record, compile_topology
from topologies.core.discover import get
from topologies.core.state import DictState


def run(stack: EmbeddedStack, *, quick: bool = False) -> list[Row]:
    """Rates in samples per second, and where the time of the function goes."""
    count = 6_000 if quick else 30_000
    kafka = KafkaSettings(bootstrap=stack.endpoints.kafka_bootstrap, prefix=f"b{time.time_ns()}.")
    topic, target = kafka.topics.raw("opcua"), kafka.topics.name("bare")
    ensure_topics(admin_client(kafka), [log_topic(kafka, topic), log_topic(kafka, target)])
    traffic.land(kafka, topic, count)
    settings = kafka.model_dump(mode="json", exclude_none=True)
    with tempfile.TemporaryDirectory(prefix="plantstream-bench-") as folder:
        ours = _measure(
            "benchmarks.glass_worker",
            {"kafka": settings, "data_dir": folder},
            kafka,
            kafka.group("glass"),
            topic,
            count,
        )
    group = kafka.group("bare")
    job = {"kafka": settings, "group": group, "source": topic, "target": target}
    bare = _measure("benchmarks.bare", job, kafka, group, topic, count)
    note = f"{count:,} records of {traffic.BLOCK} samples, {traffic.ASSETS} assets, exactly once"
    return [
        Row("glass, whole topology", "one worker", ours, "samples/s", ours / bare, note),
        Row("consume, decode, produce", "bare loop", bare, "samples/s", None, "exactly once"),
        *_function(count // 4),
    ]


def _measure(
    module: str, job: dict[str, object], kafka: KafkaSettings, group: str, topic: str, count: int
) -> float:
    process = subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(job)], cwd=Path(__file__).parent.parent
    )
    try:
        return progress.rate(kafka, group, topic, count, process) * traffic.BLOCK
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


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
