"""Who is compared in the windowed aggregate, and how each is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from app.embedded.kafka_jars import cache_root
from app.embedded.ports import find_free
from app.kafka import KafkaSettings
from app.shells.worker import WorkerSettings
from benchmarks import java
from benchmarks.java import Absent
from benchmarks.shapes import GRACE_NS, SIZE_NS
from models.time import NS_PER_MS, format_duration

ROOT = Path(__file__).parent.parent
CORES = psutil.cpu_count() or 1
#: How often every subject that commits transactions does, ms: what our workers do under load.
COMMIT_MS = WorkerSettings().busy_commit_interval // NS_PER_MS
EXACTLY, AT_LEAST = "exactly once", "at least once"
Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Run:
    """One run of one subject: its input, its output, a folder and a name of its own."""

    kafka: KafkaSettings
    source: str
    target: str
    folder: Path
    name: str

    @property
    def log(self) -> Path:
        """Where what the subject says goes."""
        return self.folder / f"{self.name}.log"

    def python(self, *arguments: str, number: int = 0, **environment: str) -> Process:
        """Start a Python process that writes into the log."""
        log = self.log.with_suffix(f".{number}.log")
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=file,
                stderr=file,
            )


@dataclass(frozen=True)
class Subject:
    """Something that computes the windows."""

    name: str
    guarantee: str
    #: Of all records: slow ones get a share of them, and their results are compared in it.
    share: float
    settings: str
    start: Callable[[Run], list[Process]]


def subjects() -> list[Subject]:
    """Peers first, the baseline of the ratios foremost."""
    return [
        Subject(
            "Kafka Streams DSL",
            EXACTLY,
            1.0,
            f"{CORES} threads, suppress(untilWindowCloses), {_STREAMS}",
            lambda run: _streams("Dsl", run, {"final": "suppress"}),
        ),
        Subject(
            "Kafka Streams DSL, emit on close",
            EXACTLY,
            1.0,
            f"{CORES} threads, EmitStrategy.onWindowClose, {_STREAMS}",
            lambda run: _streams("Dsl", run, {"final": "emit"}),
        ),
        Subject(
            "Kafka Streams, hand-tuned",
            EXACTLY,
            1.0,
            f"{CORES} threads, one processor, objects kept in memory, {_STREAMS}",
            lambda run: _streams("Tuned", run, {}),
        ),
        Subject(
            f"Bytewax, {CORES} processes",
            AT_LEAST,
            0.2,
            f"{BYTEWAX}, fold_window over blocks by numpy and orjson, batches of 1000",
            _bytewax,
        ),
        Subject(
            "quixstreams, row by row",
            EXACTLY,
            0.01,
            f"{version('quixstreams')}, tumbling_window().reduce().final(), one process",
            _rows,
        ),
        *(_ours(processes) for processes in sorted({1, CORES})),
    ]


_STREAMS = f"in-memory store with changelog and cache, commit {COMMIT_MS} ms"


def streams_properties(run: Run, **more: object) -> dict[str, str]:
    """Kafka Streams' settings in every benchmark."""
    settings: dict[str, object] = {
        "application.id": f"{run.kafka.prefix}{run.name}",
        "bootstrap.servers": run.kafka.bootstrap,
        "state.dir": run.folder / run.name,
        "num.stream.threads": CORES,
        "commit.interval.ms": COMMIT_MS,
        "statestore.cache.max.bytes": 64 << 20,
        "buffered.records.per.partition": 10_000,
        "consumer.auto.offset.reset": "earliest",
        "consumer.max.poll.records": 2000,
        "consumer.max.partition.fetch.bytes": 4 << 20,
        "consumer.fetch.max.bytes": 16 << 20,
        "producer.linger.ms": 5,
        "producer.batch.size": 256 << 10,
        "producer.compression.type": "lz4",
        **more,
    }
    return {name: str(value) for name, value in settings.items()}


def _streams(main: str, run: Run, more: Mapping[str, Any]) -> list[Process]:
    job = {
        "source": run.source,
        "target": run.target,
        "size_ns": SIZE_NS,
        "grace_ns": GRACE_NS,
        # Emission on close looks once a second by default, and loses the windows that the store
        # has let go by then when much waits to be processed.
        "properties": streams_properties(
            run, **{"__emit.interval.ms.kstreams.windowed.aggregation__": 0}
        ),
        **more,
    }
    return [java.start(main, job, run.log)]


# ---------------------------------------------------------------- Bytewax
_REQUIREMENTS = ROOT / "benchmarks" / "peers" / "bytewax.txt"
BYTEWAX = _REQUIREMENTS.read_text().split()[0]


def _bytewax(run: Run) -> list[Process]:
    job = {
        "bootstrap": run.kafka.bootstrap,
        "source": run.source,
        "target": run.target,
        "size_ns": SIZE_NS,
        "grace_ns": GRACE_NS,
    }
    path = os.pathsep.join(filter(None, [_bytewax_path(), os.environ.get("PYTHONPATH")]))
    ports: list[int] = []
    while len(ports) < CORES:
        ports.append(find_free(ports))
    addresses = ";".join(f"127.0.0.1:{port}" for port in ports)
    return [
        run.python(
            *("-m", "bytewax.run", "benchmarks.peers.flow:flow"),
            *(("-i", str(number), "-a", addresses) if CORES > 1 else ()),
            number=number,
            PYTHONPATH=path,
            BENCH_JOB=json.dumps(job),
        )
        for number in range(CORES)
    ]


def _bytewax_path() -> str:
    """The folder to import Bytewax from; installed once, by its hash, beside the other caches."""
    try:
        version("bytewax")
    except PackageNotFoundError:
        pass
    else:
        return ""
    tag = f"{BYTEWAX.replace('==', '-')}-{sys.implementation.cache_tag}"
    folder = cache_root() / "bench" / tag
    if not (folder / "bytewax").is_dir():
        # Its own dependencies are among ours.
        result = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:"),
                *("--target", str(folder), "-r", str(_REQUIREMENTS)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            reason = (result.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise Absent(f"{BYTEWAX} cannot be installed: {reason}")
    return str(folder)


# ---------------------------------------------------------------- quixstreams
def _rows(run: Run) -> list[Process]:
    job = {
        "bootstrap": run.kafka.bootstrap,
        "group": f"{run.kafka.prefix}{run.name}",
        "source": run.source,
        "target": run.target,
        "size_ns": SIZE_NS,
        "grace_ns": GRACE_NS,
        "commit_s": COMMIT_MS / 1000,
        "state": str(run.folder / run.name),
    }
    return [run.python("-m", "benchmarks.peers.rows", json.dumps(job))]


# ---------------------------------------------------------------- ours
def _ours(processes: int) -> Subject:
    busy = format_duration(WorkerSettings().busy_commit_interval)
    many = "1 process" if processes == 1 else f"{processes} processes"
    return Subject(
        f"Plantstream, {many}",
        EXACTLY,
        1.0,
        f"decode, window, heartbeats; commit {busy} under load",
        lambda run: our_workers(run, processes, {"aggregate": run.name}),
    )


def our_workers(run: Run, processes: int, more: Mapping[str, Any]) -> list[Process]:
    """Workers of one topology; all have one data folder, as on one machine."""
    job = {
        "kafka": run.kafka.model_dump(mode="json", exclude_none=True),
        "data_dir": str(run.folder / run.name),
        **more,
    }
    return [
        run.python("-m", "benchmarks.worker", json.dumps(job), number=number)
        for number in range(processes)
    ]


def stop(processes: list[Process]) -> None:
    """End processes that we started."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
