"""A site with one topology of its own, `line`, whose file changes: what upgrades are tested with.

Workers are `plantstream worker line` in processes of their own, other commands run in this one.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer

from app.cli import main
from app.kafka import KafkaSettings, admin_client, producer_options
from app.kafka.reading import committed_records
from app.kafka.topics import ensure_topics, log_topic
from models.records import headers, heartbeat
from models.records.heartbeat import Heartbeat, State
from models.records.raw import OpcUaChange, encode_opcua
from tests.conftest import ROOT

S = 1_000_000_000
T0 = 1_700_000_000 * S

_FILE = """
from topologies.core import Input, Output, Topology
from topologies.steps import alarm, decode, detect, extract, transform, validate

topology = Topology(
    name="line",
    version={version},
    inputs=(Input(source="opcua", decode=decode.OpcUa()),),
    steps=({steps},),
    outputs=(
        Output(kind="readings"), Output(kind="features"), Output(kind="anomalies"),
        Output(kind="alarms"),
    ),
)
"""
_CONFIG = """
data_dir = "data"
topology_paths = ["own"]
[kafka]
bootstrap = "{bootstrap}"
prefix = "{prefix}"
partitions = {partitions}
[worker]
commit_interval = "50ms"
"""


class Done(NamedTuple):
    """What a command said, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


class LineSite:
    """Its folder, its topics, and its commands."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, partitions: int = 2) -> None:
        self.folder = folder
        self.kafka = KafkaSettings(bootstrap=bootstrap, prefix=prefix, partitions=partitions)
        self.admin = admin_client(self.kafka)
        self.raw = self.kafka.topics.raw("opcua")
        self._workers: list[LineWorker] = []
        self._config = str(folder / "site.toml")
        self._number = itertools.count(1)
        self.file = folder
        (folder / "own").mkdir()
        config = _CONFIG.format(bootstrap=bootstrap, prefix=prefix, partitions=partitions)
        (folder / "site.toml").write_text(config)
        ensure_topics(self.admin, [log_topic(self.kafka, self.raw)])
        self._producer = Producer(producer_options(self.kafka, "test"))

    def declare(self, *steps: str, version: int = 1) -> None:
        """Write the topology's file."""
        text = _FILE.format(version=version, steps=", ".join(steps))
        for old in (self.folder / "own").glob("*.py"):
            old.unlink()
        # Under a new name: a process reads a file once, and commands run in this one.
        self.file = self.folder / "own" / f"line_{next(self._number)}.py"
        self.file.write_text(text)

    def run(self, *words: str) -> Done:
        """A command, to its end, with nobody to answer it."""
        out, err, stdin = StringIO(), StringIO(), sys.stdin
        sys.stdin = StringIO()
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main([*words, "--config", self._config])
        except SystemExit as ended:
            return Done(int(ended.code or 0), out.getvalue(), err.getvalue())
        finally:
            sys.stdin = stdin
        raise AssertionError("a command ends with an exit code")

    def check(self) -> tuple[int, dict[str, str]]:
        """Exit code of `check`, and the outcome by step."""
        done = self.run("check", "line", "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        assert "steps" in found, done.stderr
        return done.returncode, {step["name"]: step["outcome"] for step in found["steps"]}

    def start(self, *words: str) -> LineWorker:
        """A worker."""
        worker = LineWorker(
            self.folder / f"worker-{len(self._workers)}.log",
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "app",
                "worker",
                "line",
                *words,
                "--config",
                self._config,
            ],
        )
        self._workers.append(worker)
        return worker

    def stop_all(self) -> None:
        """End what a failed test left behind."""
        for worker in self._workers:
            worker.kill()

    def feed(self, assets: Iterable[str], seconds: range, value: Callable[[int], float]) -> int:
        """One record an asset and second, and Kafka has them; how many."""
        count = 0
        for second in seconds:
            for asset in assets:
                t = T0 + second * S
                change = OpcUaChange("x", f"ns=2;s={asset}/x", t, t, 0, value(second))
                self._producer.produce(
                    self.raw,
                    encode_opcua([change], t),
                    asset.encode(),
                    headers={headers.SCHEMA: headers.RAW_OPCUA.header},
                    timestamp=t // 1_000_000,
                )
                count += 1
        assert self._producer.flush(30) == 0
        return count

    def beat(self, asset: str, second: int, elapsed: int) -> None:
        """A heartbeat: nothing was heard of the asset for ``elapsed`` seconds."""
        t = T0 + second * S
        beat = Heartbeat(asset, State.ALIVE, t, t, elapsed * S)
        self._producer.produce(
            self.raw,
            heartbeat.encode(beat),
            asset.encode(),
            headers={headers.SCHEMA: headers.HEARTBEAT.header},
            timestamp=t // 1_000_000,
        )
        assert self._producer.flush(30) == 0

    def output(self, name: str) -> dict[bytes, list[bytes]]:
        """All committed records of an output by key, in order."""
        found: dict[bytes, list[bytes]] = {}
        topic = self.kafka.topics.output("line", name)
        for message in committed_records(self.kafka, topic, "test"):
            found.setdefault(message.key() or b"", []).append(message.value() or b"")
        return found

    def until_read(self, count: int, worker: LineWorker | None = None) -> None:
        """Wait until so many readings are committed."""
        deadline = time.monotonic() + 90
        while (read := sum(map(len, self.output("readings").values()))) < count:
            log = worker.log() if worker is not None else ""
            assert time.monotonic() < deadline, f"{read} of {count} readings\n{log}"
            assert worker is None or not worker.ended, log
            time.sleep(0.3)
        assert read == count

    def kept(self) -> Counter[str]:
        """What the changelog holds: values by the step they belong to."""
        live: dict[bytes, bytes | None] = {}
        topic = f"changelog__{self.kafka.group('line')}--{self.raw}--default"
        for message in committed_records(self.kafka, topic, "test"):
            live[message.key() or b""] = message.value()
        names = (key.rpartition(b"|")[2].partition(b"/")[0] for key, v in live.items() if v)
        return Counter(name.decode() for name in names if not name.startswith(b"\0"))

    def members(self) -> int:
        """Of the workers' group."""
        asked = self.admin.describe_consumer_groups([self.kafka.group("line")])
        return len(next(iter(asked.values())).result().members)


class LineWorker:
    """`plantstream worker line`."""

    def __init__(self, log: Path, command: list[str]) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ}
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self._process.terminate()
        return self.wait()

    def wait(self) -> int:
        """Its exit code."""
        try:
            return self._process.wait(90)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end\n{self.log()}") from None

    def log(self) -> str:
        return self._log.read_text()
