"""What a process shows of itself: logs, metrics, health, and that it runs.

    with observed("worker", "glass", data_dir=folder, log=site.log) as watched:
        watched.health.set("kafka", True)
        watched.metrics.source(export)
"""

from app.observe.health import Health
from app.observe.logging import configure, get_logger
from app.observe.metrics import Metrics, Values
from app.observe.observed import Observed, observed
from app.observe.processes import Process, announced, running
from app.observe.settings import LogSettings, MetricsSettings

__all__ = [
    "Health",
    "LogSettings",
    "Metrics",
    "MetricsSettings",
    "Observed",
    "Process",
    "Values",
    "announced",
    "configure",
    "get_logger",
    "observed",
    "running",
]
