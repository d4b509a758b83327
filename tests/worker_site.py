"""Tools for tests of the worker against a real Kafka: feed, run, read what is committed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from app.kafka import KafkaSettings, admin_client, consumer_options, producer_options
from app.kafka.topics import dead_letter_topic, ensure_topics, log_topic, partition_counts
from app.shells.worker import WorkerSettings, WorkerStats, run_worker
from models.records import block as blocks
from models.records import deadletter, headers
from tests.conftest import ROOT
from tests.worker_topology import tally

T0 = 1_700_000_000_000_000_000
SAMPLES = 10


class Feed(NamedTuple):
    """A record to put on a raw topic."""

    key: bytes | None
    value: bytes | None
    headers: Any
    timestamp_ms: int


class Out(NamedTuple):
    """A record read back. Where it lies is its partition and its place in it, not its offset."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


def good(asset: str, number: int, values: Iterable[float] | None = None) -> Feed:
    """Block ``number`` of an asset: values depend on asset and number alone."""
    rng = np.random.default_rng([number, *asset.encode()])
    v = rng.uniform(0, 100, SAMPLES) if values is None else np.array(list(values), dtype=float)
    t = T0 + number * 10**9 + np.arange(v.size, dtype=np.int64) * 10**6
    block = blocks.Block(
        asset,
        ("a", "b"),
        np.arange(v.size, dtype=np.int32) % 2,
        t,
        v,
        np.ones(v.size, np.uint8),
        received=int(t[-1]),
    )
    head = {
        headers.SCHEMA: headers.BLOCK.header,
        headers.EVENT_ID: f"test:{asset}:{number}".encode(),
    }
    return Feed(asset.encode(), blocks.encode(block), head, int(t[-1]) // 10**6)


def series(assets: int, each: int) -> list[Feed]:
    """Records of several assets, one after another in turn."""
    return [good(f"asset-{a}", n) for n in range(each) for a in range(assets)]


@dataclass
class Site:
    """One prefix on the broker, with the raw topics of the topology ``tally``."""

    bootstrap: str
    prefix: str
    folder: Path
    inputs: tuple[str, ...] = ("opcua",)
    worker: Mapping[str, Any] = field(default_factory=dict)
    retention_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        self.kafka = KafkaSettings(
            bootstrap=self.bootstrap, prefix=self.prefix, retention_bytes=self.retention_bytes
        )
        self.admin = admin_client(self.kafka)
        names = [self.kafka.topics.raw(name) for name in self.inputs]
        names.append(self.readings)
        specs = [log_topic(self.kafka, name) for name in names]
        ensure_topics(self.admin, [*specs, dead_letter_topic(self.kafka)])
        self.producer = Producer(producer_options(self.kafka, "test"))

    @property
    def raw(self) -> str:
        return self.kafka.topics.raw(self.inputs[0])

    @property
    def readings(self) -> str:
        return self.kafka.topics.output("tally", "readings")

    @property
    def dead_letters(self) -> str:
        return self.kafka.topics.dead_letters

    def feed(self, records: Iterable[Feed], topic: str | None = None) -> int:
        """Put records on a raw topic and wait until Kafka has them."""
        count = 0
        for record in records:
            self.producer.produce(
                topic or self.raw,
                record.value,
                record.key,
                headers=record.headers,
                timestamp=record.timestamp_ms,
            )
            self.producer.poll(0)
            count += 1
        assert self.producer.flush(120) == 0
        return count

    def read(self, topic: str | None = None) -> list[Out]:
        """All that is committed on a topic now, by partition and place."""
        return sorted(Reader(self, topic or self.readings).to_end(), key=lambda out: out.partition)

    def letters(self) -> list[deadletter.DeadLetter]:
        """All dead letters, in the order of what they came from."""
        found = [deadletter.decode(out.value) for out in self.read(self.dead_letters)]
        return sorted(found, key=lambda letter: (letter.topic, letter.partition, letter.offset))

    def job(self, **more: Any) -> str:
        job = {
            "kafka": json.loads(self.kafka.model_dump_json(exclude_defaults=True)),
            "worker": dict(self.worker),
            "data_dir": str(self.folder),
            "inputs": list(self.inputs),
            **more,
        }
        return json.dumps(job)

    def start(self, **more: Any) -> WorkerProcess:
        """A worker in a process of its own."""
        return WorkerProcess(self.folder / f"worker-{uuid.uuid4().hex[:6]}.log", self.job(**more))

    @contextmanager
    def running(
        self, instance: str | None = None, stats: WorkerStats | None = None
    ) -> Iterator[WorkerStats]:
        """A worker in a thread; it must stop with exit code 0."""
        stop, codes = threading.Event(), []
        stats = stats or WorkerStats("tally")

        def run() -> None:
            codes.append(
                run_worker(
                    tally(self.inputs),
                    kafka=self.kafka,
                    worker=WorkerSettings(**self.worker),
                    data_dir=self.folder,
                    instance=instance,
                    stop=stop,
                    stats=stats,
                )
            )

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield stats
        finally:
            stop.set()
            thread.join(60)
        assert codes == [0]

    def committed(self) -> dict[int, int]:
        """The group's offsets on the raw topic."""
        count = partition_counts(self.admin, [self.raw])[self.raw]
        consumer = Consumer(consumer_options(self.kafka, "test", self.kafka.group("tally")))
        try:
            wanted = [TopicPartition(self.raw, p) for p in range(count)]
            return {tp.partition: tp.offset for tp in consumer.committed(wanted, timeout=20)}
        finally:
            consumer.close()

    def members(self) -> dict[str, set[int]]:
        """Partitions of the raw topic by client id of the group's members."""
        future = self.admin.describe_consumer_groups([self.kafka.group("tally")])
        found = next(iter(future.values())).result()
        return {
            member.client_id: {
                tp.partition for tp in member.assignment.topic_partitions if tp.topic == self.raw
            }
            for member in found.members
        }


class Reader:
    """Reads a topic from its beginning, committed records only."""

    def __init__(self, site: Site, topic: str) -> None:
        self.topic = topic
        self.seen: list[Out] = []
        options = consumer_options(
            site.kafka, "reader", f"reader-{uuid.uuid4().hex}", fetch_wait_max_ms=10
        )
        self._consumer = Consumer({**options, "enable.partition.eof": True})
        self._count = partition_counts(site.admin, [topic])[topic]
        self._consumer.assign([TopicPartition(topic, p, 0) for p in range(self._count)])

    def until(
        self, count: int, timeout_s: float = 60.0, worker: WorkerProcess | None = None
    ) -> int:
        """Read on until ``count`` records were seen; fails with what was seen and the log."""
        deadline = time.monotonic() + timeout_s
        while len(self.seen) < count:
            self._poll(0.1)
            if time.monotonic() > deadline or (worker is not None and worker.ended):
                log = worker.log() if worker else ""
                raise AssertionError(f"{self.topic}: {len(self.seen)} of {count} records\n{log}")
        return len(self.seen)

    def to_end(self) -> list[Out]:
        """Read on to the end of all partitions; closes the reader."""
        ended: set[int] = set()
        while len(ended) < self._count:
            message = self._poll(10.0)
            assert message is not None, "no end of partition within 10 s"
            if message.error():
                ended.add(message.partition())
        self._consumer.close()
        return self.seen

    def _poll(self, timeout_s: float) -> Any:
        message = self._consumer.poll(timeout_s)
        if message is not None and not message.error():
            self.seen.append(
                Out(
                    message.partition(),
                    message.key(),
                    message.value(),
                    tuple(message.headers() or ()),
                    message.timestamp()[1],
                )
            )
        return message


class WorkerProcess:
    """A worker started as users' supervisors start it."""

    def __init__(self, log: Path, job: str) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.worker_process", job],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        if not self.ended:
            self._process.send_signal(number)
        return self.wait()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit code."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout_s} s\n{self.log()}") from None

    def log(self) -> str:
        return self._log.read_text()
