"""The connector shell: runs a connector and lands what it reads on Kafka; watches over others."""

from app.shells.connector_runner.export import watch, watch_watchdog
from app.shells.connector_runner.run import make_connector, run_connector
from app.shells.connector_runner.runner import ConnectorRunner, RunnerSettings
from app.shells.connector_runner.stats import ConnectorStats
from app.shells.connector_runner.watchdog import Watchdog, WatchdogStats

__all__ = [
    "ConnectorRunner",
    "ConnectorStats",
    "RunnerSettings",
    "Watchdog",
    "WatchdogStats",
    "make_connector",
    "run_connector",
    "watch",
    "watch_watchdog",
]
