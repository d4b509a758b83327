"""A sink at a real Kafka and a real store, and what tests need to feed it and to look behind it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from pymongo import MongoClient
from pymongo.database import Database

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, consumer_options, producer_options
from app.kafka.topics import dead_letter_topic, ensure_topics, log_topic
from app.shells.sink import OutputSpec, SinkSettings, SinkStats, StoreSettings, run_sink
from models.records import block as blocks
from models.records import deadletter, events, headers
from models.records import features as feats
from models.records.deadletter import DeadLetter

ROOT = Path(__file__).resolve().parent.parent
TOPOLOGY = "plant"
OUTPUTS = tuple(OutputSpec(kind, kind) for kind in ("readings", "features", "anomalies", "alarms"))
#: 2013-12-02 12:00:00 UTC: data as old as that must survive.
THEN = 1_385_985_600_000_000_000
#: Documents as they are in the store, by output and _id.
Stored = dict[str, dict[str, dict[str, Any]]]


class Feed(NamedTuple):
    """A record to produce on an output topic."""

    output: str
    key: bytes
    value: bytes | None
    head: dict[str, bytes]


def reading(number: int, asset: str = "pump", size: int = 10, **changes: Any) -> Feed:
    """Block ``number`` of an asset: two tags, one sample every 10 ms."""
    t = THEN + (number * size + np.arange(size)) * 10_000_000
    given: dict[str, Any] = {
        "asset": asset,
        "tags": ("speed", "load"),
        "tag": np.repeat(np.array([0, 1], np.int32), (size - size // 2, size // 2)),
        "t": t.astype(np.int64),
        "v": number + np.arange(size) / size,
        "q": np.ones(size, np.uint8),
        "received": THEN + 10**9,
    }
    block = blocks.Block(**{**given, **changes})
    head = {
        headers.SCHEMA: headers.BLOCK.header,
        headers.EVENT_ID: f"test:{asset}:{number}".encode(),
    }
    return Feed("readings", asset.encode(), blocks.encode(block), head)


def feature(number: int, asset: str = "pump") -> Feed:
    """One closed 10 s window of two tags."""
    start = np.full(2, THEN + number * 10**10, np.int64)
    record = feats.Features(
        asset,
        "w10",
        ("speed", "load"),
        np.array([0, 1], np.int32),
        start,
        start + 10**10,
        np.array([5, 6]),
        np.array([0, 1]),
        {"mean": np.array([number, np.nan]), "max": np.array([1.0, 2.0])},
        np.zeros(2, np.uint8),
    )
    head = {headers.SCHEMA: headers.FEATURES.header, headers.EVENT_ID: b"f"}
    return Feed("features", asset.encode(), feats.encode(record), head)


def alarm(revision: int, number: int = 0, asset: str = "pump", **changes: Any) -> Feed:
    """Revision 0 raises the alarm, later ones clear it."""
    onset = THEN + number * 10**9
    given: dict[str, Any] = {
        "id": f"high/{asset}/speed/{onset}",
        "revision": revision,
        "topology": TOPOLOGY,
        "alarm": "high",
        "asset": asset,
        "tag": "speed",
        "state": "raised" if revision == 0 else "cleared",
        "severity": "high",
        "onset": onset,
        "raised": onset + 10**9,
        "cleared": None if revision == 0 else onset + (1 + revision) * 10**9,
        "value": 5.0,
        "score": float(revision),
        "threshold": 4.0,
        "detector": "limits",
        "why": f"revision {revision}",
    }
    record = events.Alarm(**{**given, **changes})
    head = {headers.SCHEMA: headers.ALARM.header, headers.EVENT_ID: b"a"}
    return Feed("alarms", asset.encode(), events.encode(record), head)


def good(number: int, assets: int = 5) -> list[Feed]:
    """One round: a block and an alarm of each asset, some with a window."""
    round_: list[Feed] = []
    for a in range(assets):
        round_ += [reading(number, f"pump{a}"), alarm(number % 3, number // 3, f"pump{a}")]
        if number % 5 == 0:
            round_.append(feature(number, f"pump{a}"))
    return round_


class SinkSite:
    """One topology's outputs on topics and in collections of its own."""

    def __init__(self, stack: EmbeddedStack, prefix: str) -> None:
        self.kafka = KafkaSettings(
            bootstrap=str(stack.endpoints.kafka_bootstrap), prefix=prefix, partitions=2
        )
        self.store = StoreSettings.model_validate(
            {
                "uri": stack.endpoints.mongodb_uri,
                "prefix": "t" + re.sub(r"[^a-z0-9]+", "_", prefix)[-40:],
                "connect_timeout": "1s",
                "request_timeout": "5s",
            }
        )
        self.sink = SinkSettings.model_validate({"session_timeout": "6s", "backoff_max": "500ms"})
        self.topics = {o.name: self.kafka.topics.output(TOPOLOGY, o.name) for o in OUTPUTS}
        wanted = [log_topic(self.kafka, name) for name in self.topics.values()]
        ensure_topics(admin_client(self.kafka), [*wanted, dead_letter_topic(self.kafka)])
        self._client: MongoClient[dict[str, Any]] = MongoClient(
            stack.endpoints.mongodb_uri, serverSelectionTimeoutMS=20_000
        )
        options = producer_options(
            self.kafka, "feed", transactional_id=f"{prefix}feed", linger_ms=0
        )
        self._producer = Producer(options)
        self._producer.init_transactions(30)

    @property
    def database(self) -> Database[dict[str, Any]]:
        return self._client[self.store.database]

    # ------------------------------------------------------------ feeding
    def feed(self, records: Sequence[Feed], *, abort: bool = False) -> None:
        """Produce in one transaction, as workers do; ``abort`` ends it without effect."""
        self._producer.begin_transaction()
        for record in records:
            self._producer.produce(
                self.topics[record.output],
                record.value,
                record.key,
                headers=list(record.head.items()),
            )
        if abort:
            self._producer.flush(30)
            self._producer.abort_transaction(30)
        else:
            self._producer.commit_transaction(30)

    # ------------------------------------------------------------ running
    @contextmanager
    def running(
        self, outputs: Sequence[OutputSpec] = OUTPUTS, sink: SinkSettings | None = None
    ) -> Iterator[SinkStats]:
        """A sink on a thread; it must end with code 0."""
        stop, stats = threading.Event(), SinkStats(TOPOLOGY)
        codes: list[int] = []

        def run() -> None:
            codes.append(
                run_sink(
                    TOPOLOGY,
                    1,
                    outputs,
                    kafka=self.kafka,
                    store=self.store,
                    sink=sink or self.sink,
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

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """A sink as a process of its own; the caller ends it."""
        uri = self.store.uri
        job = {
            "topology": TOPOLOGY,
            "version": 1,
            "outputs": [{"name": o.name, "kind": o.kind} for o in OUTPUTS],
            "kafka": {
                "bootstrap": self.kafka.bootstrap,
                "prefix": self.kafka.prefix,
                "partitions": self.kafka.partitions,
            },
            "store": {
                **self.store.model_dump(mode="json"),
                "uri": uri.get_secret_value() if uri else None,
            },
            "sink": self.sink.model_dump(mode="json"),
        }
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.shells.sink"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
        return process

    # ------------------------------------------------------------ looking
    def stored(self) -> Stored:
        """Everything in the collections."""
        prefix = f"{self.store.prefix}{TOPOLOGY}_"
        return {
            o.name: {d["_id"]: d for d in self.database[f"{prefix}{o.name}"].find({})}
            for o in OUTPUTS
        }

    def collection(self, output: str) -> Any:
        return self.database[f"{self.store.prefix}{TOPOLOGY}_{output}"]

    def until_committed(self, timeout_s: float = 60.0) -> None:
        """Wait until the sink's group has committed everything that is on the topics."""
        until(lambda: self.lag() == 0, timeout_s, lambda: f"lag {self.lag()}")

    def lag(self) -> int:
        """Records on the topics that the sink's group has not committed; -1 while nobody says."""
        group = self.kafka.group(f"sink-{TOPOLOGY}")
        options = consumer_options(self.kafka, "test", group)
        consumer = Consumer(options)
        try:
            behind = 0
            parts = [TopicPartition(t, p) for t in self.topics.values() for p in range(2)]
            for at in consumer.committed(parts, 10):
                low, high = consumer.get_watermark_offsets(at, 10)
                # The last offset of a transaction is its mark, which no consumer is given.
                behind += max(0, high - 1 - max(at.offset, low)) if high > low else 0
            return behind
        except KafkaException:
            return -1
        finally:
            consumer.close()

    def dead_letters(self, count: int, timeout_s: float = 30.0) -> list[DeadLetter]:
        """Waits for this many dead letters, and a moment for more than that."""
        options = consumer_options(
            self.kafka, "test", f"{self.kafka.prefix}dead-{time.monotonic_ns()}"
        )
        consumer = Consumer(options)
        consumer.subscribe([self.kafka.topics.dead_letters])
        found: list[DeadLetter] = []
        deadline = time.monotonic() + timeout_s
        try:
            while time.monotonic() < deadline:
                message = consumer.poll(0.5)
                if message is not None and message.error() is None:
                    found.append(deadletter.decode(message.value()))
                elif len(found) >= count:
                    break
            return found
        finally:
            consumer.close()


def set_config(kafka: KafkaSettings, topic: str, name: str, value: str) -> None:
    """Change a setting of a topic that exists, as a site's administrator does."""
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = admin_client(kafka)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


def until(
    true: Callable[[], bool], timeout_s: float, what: Callable[[], str] = lambda: "condition"
) -> None:
    """Wait for something to become true; fails with what is instead."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what()}"
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes], how: int = signal.SIGTERM) -> int:
    """End a process that a test started; its code."""
    process.send_signal(how)
    return process.wait(60)
