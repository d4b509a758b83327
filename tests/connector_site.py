"""Connectors as real processes, and what they landed, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from app.kafka import KafkaSettings
from app.shells.connector_runner import ConnectorStats, run_connector
from models.modbus import ModbusTemplate

ROOT = Path(__file__).resolve().parent.parent


class ConnectorProcess:
    """A connector in a process of its own, to be killed."""

    def __init__(
        self, name: str, kind: str, parameters: dict[str, Any], kafka: KafkaSettings, **more: Any
    ) -> None:
        job = {
            "name": name,
            "kind": kind,
            "parameters": parameters,
            "kafka": {"bootstrap": kafka.bootstrap, "prefix": kafka.prefix},
            **more,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.connector_process", json.dumps(job)], cwd=ROOT
        )

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def cpu_seconds(self) -> float:
        ticks = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


class RunningConnector:
    """A connector in a thread of this process, with its counters in reach."""

    def __init__(
        self,
        name: str,
        kind: str,
        parameters: dict[str, Any],
        kafka: KafkaSettings,
        templates: dict[str, ModbusTemplate] | None = None,
        **more: Any,
    ) -> None:
        self.stats = ConnectorStats(name, kind)
        self._stop = threading.Event()
        self.code: int | None = None

        def run() -> None:
            self.code = run_connector(
                name, kind, parameters, kafka=kafka, modbus_templates=templates,
                stats=self.stats, stop=self._stop, **more,
            )  # fmt: skip

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def __enter__(self) -> RunningConnector:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int | None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the connector does not stop"
        return self.code

    def wait_connected(self, timeout_s: float = 30) -> None:
        until(lambda: self.stats.state == "connected", "connected", timeout_s)


def until(condition: Callable[[], object], what: str, timeout_s: float = 30) -> None:
    """Wait for a condition of another thread or process."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class LandedRecord:
    key: str
    value: bytes
    headers: dict[str, bytes]
    timestamp: int
    partition: int
    offset: int

    @property
    def schema(self) -> str:
        return self.headers["schema"].decode()


class LandedTopic:
    """Reads a topic from its beginning, as any Kafka client would."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self.records: list[LandedRecord] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap,
                "group.id": f"test-{uuid.uuid4().hex}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._topic = topic
        self._assigned = False

    def __enter__(self) -> LandedTopic:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self, seconds: float = 0.1) -> list[LandedRecord]:
        """New records of up to so many seconds; they are also appended to ``records``."""
        if not self._assigned and not self._assign():
            time.sleep(seconds)
            return []
        new = [
            LandedRecord(
                message.key().decode(),
                message.value(),
                dict(message.headers()),
                message.timestamp()[1],
                message.partition(),
                message.offset(),
            )
            for message in self._consumer.consume(1000, seconds)
            if message.error() is None
        ]
        self.records += new
        return new

    def _assign(self) -> bool:
        found = self._consumer.list_topics(self._topic, timeout=10).topics[self._topic]
        if found.error is not None or not found.partitions:
            return False
        self._consumer.assign([TopicPartition(self._topic, each, 0) for each in found.partitions])
        self._assigned = True
        return True

    def until(
        self, condition: Callable[[list[LandedRecord]], object], what: str, timeout_s: float = 60
    ) -> list[LandedRecord]:
        """Read until a condition on all records holds."""
        deadline = time.monotonic() + timeout_s
        while not condition(self.records):
            assert time.monotonic() < deadline, f"not landed within {timeout_s:g} s: {what}"
            self.poll()
        return self.records


def data(records: list[LandedRecord]) -> Iterator[LandedRecord]:
    """Without heartbeats."""
    return (record for record in records if record.schema != "heartbeat/1")


def beats(records: list[LandedRecord]) -> Iterator[LandedRecord]:
    """Heartbeats only."""
    return (record for record in records if record.schema == "heartbeat/1")
