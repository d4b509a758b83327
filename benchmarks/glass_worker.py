"""A worker of the topology ``glass`` with the benchmark's catalogue, in a process of its own."""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import sys
from pathlib import Path

from app.kafka import KafkaSettings
from app.shells.worker import run_worker
from benchmarks.traffic import knowledge
from topologies.core.discover import get


def main(text: str) -> int:
    """``{"kafka": …, "data_dir": …}``; with PROFILE=FILE in the environment, profiles itself."""
    job = json.loads(text)

    def run() -> int:
        return run_worker(
            get("glass"),
            kafka=KafkaSettings(**job["kafka"]),
            data_dir=Path(job["data_dir"]),
            knowledge=knowledge(),
        )

    target = os.environ.get("PROFILE")
    if target is None:
        return run()
    profile = cProfile.Profile()
    code = int(profile.runcall(run))
    with Path(target).open("w") as file:
        pstats.Stats(profile, stream=file).sort_stats("tottime").print_stats(60)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
