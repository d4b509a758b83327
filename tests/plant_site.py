"""A site run by the command line as users run it: processes, configuration, real services."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from pymongo import MongoClient

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, consumer_options, producer_options
from app.kafka.topics import ensure_topics, log_topic, partition_counts
from models.catalogue import Knowledge
from models.records import deadletter
from tests.conftest import ROOT

#: What a record on a topic is, to compare two runs: key and value, in the order of their partition.
Written = dict[tuple[int, bytes], list[bytes]]
Raw = tuple[bytes | None, bytes | None, dict[str, bytes], int]


class PlantSite:
    """One configuration, with topics, groups and collections of its own."""

    def __init__(
        self, stack: EmbeddedStack, prefix: str, folder: Path, knowledge: Knowledge, **more: Any
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.kafka = KafkaSettings(
            bootstrap=stack.endpoints.kafka_bootstrap, prefix=prefix, partitions=2
        )
        self.store_prefix = "p" + re.sub(r"[^a-z0-9]+", "_", prefix)[-40:]
        self._uri = str(stack.endpoints.mongodb_uri)
        catalogue = knowledge.catalogue.model_dump(mode="json", exclude_none=True)["assets"]
        config = {
            "data_dir": str(folder / "data"),
            "kafka": self.kafka.model_dump(mode="json", exclude_defaults=True),
            "store": {"uri": self._uri, "prefix": self.store_prefix},
            "catalogue": catalogue,
            "modbus_templates": knowledge.model_dump(mode="json")["modbus_templates"],
            **more,
        }
        self.config = folder / "site.json"
        self.config.write_text(json.dumps(config))
        self.admin = admin_client(self.kafka)
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()

    # ------------------------------------------------------------ processes
    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """``plantstream WORDS`` with this site's configuration; its log is in the folder."""
        command = [sys.executable, "-m", "app", "--config", str(self.config), *words]
        log = (self.folder / f"{'-'.join(words[:2])}.log").open("ab")
        environment = {**os.environ, "PLANTSTREAM__LOG__LEVEL": "info"}
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)
        self._running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Stop in order; it must end with exit code 0."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, self.logs()

    def logs(self) -> str:
        """The last lines of all logs."""
        return "\n".join(
            f"--- {file.name}\n{file.read_text(errors='replace')[-1500:]}"
            for file in sorted(self.folder.glob("*.log"))
        )

    # ------------------------------------------------------------ Kafka
    def land(self, protocol: str, records: Iterable[Raw], a_second: float = 0.0) -> int:
        """Put raw records on a topic, at a pace where one is given."""
        topic = self.kafka.topics.raw(protocol)
        ensure_topics(self.admin, [log_topic(self.kafka, topic)])
        producer = Producer(producer_options(self.kafka, "test"))
        begun, count = time.monotonic(), 0
        for key, value, head, stamp in records:
            producer.produce(topic, value, key, headers=list(head.items()), timestamp=stamp)
            producer.poll(0)
            count += 1
            if a_second:
                pause = begun + count / a_second - time.monotonic()
                if pause > 0:
                    producer.poll(pause)
        assert producer.flush(60) == 0
        return count

    def written(self, topic: str) -> Written:
        """All that is committed on a topic, by partition and key."""
        found: Written = {}
        for partition, key, value in self._read(topic):
            found.setdefault((partition, key), []).append(value)
        return found

    def letters(self) -> list[deadletter.DeadLetter]:
        """All dead letters."""
        read = self._read(self.kafka.topics.dead_letters)
        return [deadletter.decode(value) for _, _, value in read]

    def _read(self, topic: str) -> list[tuple[int, bytes, bytes]]:
        count = partition_counts(self.admin, [topic])[topic]
        consumer = Consumer(
            {**consumer_options(self.kafka, "test", "test-reader"), "enable.partition.eof": True}
        )
        consumer.assign([TopicPartition(topic, p, 0) for p in range(count)])
        found: list[tuple[int, bytes, bytes]] = []
        ended: set[int | None] = set()
        try:
            while len(ended) < count:
                for message in consumer.consume(500, 1.0):
                    if message.error():
                        ended.add(message.partition())
                    else:
                        value = message.value() or b""
                        found.append((message.partition(), message.key() or b"", value))
        finally:
            consumer.close()
        return found

    def lag(self, group: str, topics: Iterable[str]) -> int:
        """How many records (and ends of transactions) a group has not committed yet.

        While the broker does not know it is more than any test has.
        """
        consumer = Consumer(consumer_options(self.kafka, "test", group))
        try:
            counts = partition_counts(self.admin, list(topics))
            places = [TopicPartition(t, p) for t, n in counts.items() for p in range(n)]
            behind = 0
            for place in consumer.committed(places, timeout=20):
                low, high = consumer.get_watermark_offsets(place, timeout=20)
                behind += high - max(place.offset, low)
            return behind
        except KafkaException:
            return sys.maxsize
        finally:
            consumer.close()

    # ------------------------------------------------------------ MongoDB
    def documents(self, topology: str) -> dict[str, dict[str, Any]]:
        """Every document of a topology by collection and id."""
        client: MongoClient[dict[str, Any]] = MongoClient(self._uri)
        try:
            database = client["plantstream"]
            names = [n for n in database.list_collection_names() if n.startswith(self.store_prefix)]
            return {
                f"{name.removeprefix(self.store_prefix)}:{document['_id']}": document
                for name in names
                if topology in name
                for document in database[name].find()
            }
        finally:
            client.close()


def wait(what: str, done: Callable[[], bool], seconds: float, site: PlantSite) -> None:
    """Wait until something holds, looked at four times a second; fails with the logs."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not after {seconds:g} s\n{site.logs()}")
        time.sleep(0.25)  # nothing to await: another process's progress on a broker
