"""A worker of `tally` or `lines` in a process: ``python -m tests.worker_process JSON``.

The JSON holds ``kafka`` and ``worker`` settings, ``data_dir``, and perhaps ``topology``,
``instance``, ``inputs``, ``policy`` and ``log`` (a level).
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from app.kafka import KafkaSettings
from app.shells.worker import WorkerSettings, run_worker
from tests.merge_topology import lines
from tests.worker_topology import tally


def main(text: str) -> int:
    job = json.loads(text)
    logging.basicConfig(
        level=job.get("log", "INFO"), format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    topology = tally(tuple(job.get("inputs", ["opcua"])), job.get("policy", "dead-letter"))
    return run_worker(
        lines(grace="2s") if job.get("topology") == "lines" else topology,
        kafka=KafkaSettings(**job["kafka"]),
        worker=WorkerSettings(**job.get("worker", {})),
        data_dir=Path(job["data_dir"]),
        instance=job.get("instance"),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
