"""From produce to committed anomaly at 50,000 samples a second, through the whole ``glass``.

Beside it Kafka Streams on the Processor API doing less: windows and one limit. Records come at an
even pace, as a plant of 1,000 assets sends them. The clock of one process times both ends: just
before ``produce``, and when a read-committed consumer has the anomaly. Several commit intervals are
tried on both; the table shows each one's best by its 99th percentile.
"""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, consumer_options, producer_options
from app.kafka.topics import ensure_topics, log_topic
from benchmarks import java, plant, subjects
from benchmarks.java import Absent
from benchmarks.progress import Say
from benchmarks.shapes import GRACE_NS, SIZE_NS
from benchmarks.subjects import Process, Run
from benchmarks.table import Outcome, Row
from benchmarks.traffic import BLOCK
from models.records import headers

RATE = 50_000
ASSETS = RATE // BLOCK * plant.BLOCK_NS // 10**9
COMMITS_MS = (100, 50, 25)
_SETTLE_S = 10.0
_READY_S = 120.0
_WHAT = f"produce to committed anomaly, {RATE:,} samples/s"
_OURS, _PEER = "Plantstream, whole glass", "Kafka Streams, hand-tuned: windows and a limit"


@dataclass(frozen=True)
class Timing:
    """Latencies of one run, ms, in order of size."""

    who: str
    commit_ms: int
    ms: np.ndarray[tuple[int], np.dtype[np.float64]]
    expected: int

    def at(self, percent: float) -> float:
        """A percentile, ms; infinite where anomalies are missing."""
        return float(np.percentile(self.ms, percent)) if self.ms.size == self.expected else np.inf


def run(stack: EmbeddedStack, say: Say, *, quick: bool = False) -> Outcome:
    """p50 and p99 of both."""
    seconds, commits = (4, COMMITS_MS[1:2]) if quick else (30, COMMITS_MS)
    timings: list[Timing] = []
    skipped: list[Row] = []
    for who, start in ((_PEER, _streams), (_OURS, _ours)):
        for commit in commits:
            say(f"latency: {who}, commits every {commit} ms")
            try:
                timings.append(_measure(stack, who, start, commit, seconds))
            except Absent as absent:
                skipped.append(Row(_WHAT, who, 0.0, "ms, p99", note=f"skipped: {absent}"))
                break
    best = {
        who: min((t for t in timings if t.who == who), key=lambda t: t.at(99))
        for who in (_PEER, _OURS)
        if any(t.who == who for t in timings)
    }
    rows = list(skipped)
    for who, timing in best.items():
        peer = best.get(_PEER) if who == _OURS else None
        for percent in (50, 99):
            note = f"commit {timing.commit_ms} ms, {timing.ms.size:,} of {timing.expected:,}"
            unit, ms = f"ms, p{percent}", timing.at(percent)
            if np.isinf(ms):
                note = f"too slow: {note} anomalies {_SETTLE_S:g} s after the last record"
                rows.append(Row(_WHAT, who, 0.0, unit, None, note))
                continue
            usable = peer is not None and np.isfinite(peer.at(percent))
            ratio = ms / peer.at(percent) if peer is not None and usable else None
            rows.append(Row(_WHAT, who, ms, unit, ratio, note))
    percents = [*np.arange(0, 99, 1).tolist(), 99, 99.5, 99.9, 100]
    runs = [
        {
            "who": t.who,
            "commit_ms": t.commit_ms,
            "anomalies": int(t.ms.size),
            "expected": t.expected,
            "percent": percents,
            "ms": [t.at(percent) for percent in percents],
            "best": best[t.who] is t,
        }
        for t in timings
    ]
    return Outcome(rows, {"runs": runs, "rate": RATE, "assets": ASSETS})


# ---------------------------------------------------------------- the two
def _ours(run: Run, commit_ms: int) -> list[Process]:
    commit = f"{commit_ms}ms"
    # It never falls behind here: the interval under load is the same, so that a pause of the
    # machine does not lengthen those after it.
    worker = {"commit_interval": commit, "busy_commit_interval": commit, "linger": "0ms"}
    return subjects.our_workers(run, 1, {"assets": ASSETS, "worker": worker})


def _streams(run: Run, commit_ms: int) -> list[Process]:
    properties = {
        "commit.interval.ms": commit_ms,
        "producer.linger.ms": 0,
        "consumer.fetch.max.wait.ms": 5,
        "poll.ms": 5,
    }
    job = {
        "source": run.source,
        "target": run.kafka.topics.name("features"),
        "anomalies": run.target,
        "high": plant.LIMIT,
        "deadband": plant.DEADBAND,
        "size_ns": SIZE_NS,
        "grace_ns": GRACE_NS,
        "properties": subjects.streams_properties(run, **properties),
    }
    return [java.start("Tuned", job, run.log)]


# ---------------------------------------------------------------- measuring
def _measure(
    stack: EmbeddedStack,
    who: str,
    start: Callable[[Run, int], list[Process]],
    commit_ms: int,
    seconds: int,
) -> Timing:
    kafka = KafkaSettings(
        bootstrap=str(stack.endpoints.kafka_bootstrap), prefix=f"b{time.time_ns()}."
    )
    source, target = kafka.topics.raw("opcua"), kafka.topics.output("glass", "anomalies")
    names = [source, target, kafka.topics.name("features")]
    ensure_topics(admin_client(kafka), [log_topic(kafka, name) for name in names])
    with tempfile.TemporaryDirectory(prefix="plantstream-bench-") as folder:
        run = Run(kafka, source, target, Path(folder), "latency")
        processes = start(run, commit_ms)
        reader = _Reader(kafka, target)
        try:
            sent, expected = _send(kafka, source, reader, processes, seconds)
            deadline = time.monotonic() + _SETTLE_S
            while not expected <= reader.arrived.keys() and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            reader.stop()
            subjects.stop(processes)
    arrived = reader.arrived
    ms = np.sort([(arrived[one] - sent[one]) * 1e3 for one in expected if one in arrived])
    return Timing(who, commit_ms, ms, len(expected))


def _send(
    kafka: KafkaSettings, topic: str, reader: _Reader, processes: list[Process], seconds: int
) -> tuple[dict[bytes, float], set[bytes]]:
    """Send two blocks an asset and wait for a result; then at an even pace, to warm up, to measure.

    Gives when each was sent (by its event id) and which of them must have had an anomaly.
    """
    producer = Producer(producer_options(kafka, "bench", linger_ms=1))
    pace = BLOCK / RATE
    warm, count = round(_SETTLE_S / pace), round(seconds / pace)
    sent: dict[bytes, float] = {}
    expected: set[bytes] = set()
    made = plant.records(ASSETS, 2 + -(-(warm + count) // ASSETS))
    for key, value, of, stamp in itertools.islice(made, 2 * ASSETS):
        producer.produce(topic, value, key, headers=list(of.items()), timestamp=stamp)
    ahead = list(itertools.islice(made, warm + count))
    _wait_ready(producer, reader, processes)
    begun = time.perf_counter()
    for number, (key, value, of, stamp) in enumerate(ahead):
        due = begun + number * pace
        while (wait := due - time.perf_counter()) > 0:
            producer.poll(min(wait, 0.002))
        if number >= warm and number % ASSETS % plant.HOT_EVERY == 0:
            one = of[headers.EVENT_ID]
            expected.add(one)
            sent[one] = time.perf_counter()
        producer.produce(topic, value, key, headers=list(of.items()), timestamp=stamp)
    late = time.perf_counter() - begun - len(ahead) * pace
    if late > 1.0:
        raise RuntimeError(f"this machine could not send {RATE:,} samples/s: {late:.1f} s behind")
    producer.flush()
    return sent, expected


def _wait_ready(producer: Producer, reader: _Reader, processes: list[Process]) -> None:
    deadline = time.monotonic() + _READY_S
    while not reader.arrived:
        producer.poll(0.05)
        if any(process.poll() is not None for process in processes):
            raise RuntimeError("it ended before its first anomaly")
        if time.monotonic() > deadline:
            raise RuntimeError(f"no anomaly after {_READY_S:g} s")


class _Reader:
    """Notes when each anomaly record arrived, by its event id; on a thread of its own."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        options = consumer_options(kafka, "bench-watch", f"{topic}-watch")
        self._consumer = Consumer({**options, "fetch.wait.max.ms": 5, "fetch.queue.backoff.ms": 5})
        self._consumer.assign([TopicPartition(topic, n, 0) for n in range(kafka.partitions)])
        self._over = threading.Event()
        #: Time of arrival by event id.
        self.arrived: dict[bytes, float] = {}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._over.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error():
                continue
            now = time.perf_counter()
            self.arrived.setdefault(dict(message.headers())[headers.EVENT_ID], now)
        self._consumer.close()

    def stop(self) -> None:
        """Stop reading."""
        self._over.set()
        self._thread.join()
