"""One of our workers, in a process of its own: ``python -m benchmarks.worker JSON``."""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.kafka import KafkaSettings
from app.shells.worker import WorkerSettings, WorkerStats, run_worker
from benchmarks.shapes import GRACE_NS, SIZE_NS, STATISTICS
from benchmarks.traffic import knowledge
from topologies.core import Input, Output, Topology
from topologies.core.discover import get
from topologies.steps import decode, extract


def aggregate(name: str) -> Topology:
    """Windows of all tags, and nothing else: decode, window, features."""
    return Topology(
        name=name,
        title="The benchmark's windowed aggregate",
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=(extract.Window(size=f"{SIZE_NS}ns", grace=f"{GRACE_NS}ns", statistics=STATISTICS),),
        outputs=(Output(kind="features"),),
    )


def declared(job: Mapping[str, Any]) -> Topology:
    """The topology a job names."""
    made = aggregate(job["aggregate"]) if "aggregate" in job else get("glass")
    return made.with_overrides(job.get("steps", {}))


def main(text: str) -> int:
    """Runs until SIGTERM.

    ``{"kafka", "data_dir", "worker": settings, "aggregate": its name, or none: glass,
    "steps": overrides, "assets": how many the catalogue has, "report": whether to print a line of
    JSON a second until it is ready}``. With PROFILE=FILE in the environment, profiles itself.
    """
    job = json.loads(text)
    topology = declared(job)
    stats = WorkerStats(topology.name)
    if job.get("report"):
        threading.Thread(target=_report, args=(stats,), daemon=True).start()

    def run() -> int:
        return run_worker(
            topology,
            kafka=KafkaSettings(**job["kafka"]),
            data_dir=Path(job["data_dir"]),
            worker=WorkerSettings(**job.get("worker", {})),
            knowledge=knowledge(job.get("assets", 0)),
            stats=stats,
        )

    target = os.environ.get("PROFILE")
    if target is None:
        return run()
    profile = cProfile.Profile()
    code = int(profile.runcall(run))
    with Path(target).open("w") as file:
        pstats.Stats(profile, stream=file).sort_stats("tottime").print_stats(60)
    return code


def _report(stats: WorkerStats) -> None:
    """Lines of JSON: what it waits for, and at last that it is ready; each with the time, s."""
    said = ""
    while (waiting := stats.waiting_for) is not None:
        if waiting != said:
            _say({"waiting_for": waiting, "remaining": stats.restore_remaining})
            said = waiting
        time.sleep(0.005)
    _say({"ready": True})


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"at": time.time(), **line}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
