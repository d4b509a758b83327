"""The worker: runs one topology on its share of partitions, exactly-once, writing topics only."""

from app.shells.worker.run import run_worker
from app.shells.worker.settings import WorkerSettings

__all__ = ["WorkerSettings", "run_worker"]
