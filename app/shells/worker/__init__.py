"""The worker: runs one topology on its share of partitions, exactly-once, writing topics only."""

from app.shells.worker.export import export, watch
from app.shells.worker.run import run_worker
from app.shells.worker.settings import WorkerSettings
from app.shells.worker.stats import WorkerStats

__all__ = ["WorkerSettings", "WorkerStats", "export", "run_worker", "watch"]
