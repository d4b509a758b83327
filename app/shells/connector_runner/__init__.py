"""The connector shell: runs a connector and lands what it reads on Kafka; watches over others.

Its parts are loaded when they are asked for: whoever needs `RunnerSettings` alone, which is every
process of a site, is spared Kafka's client.
"""

from typing import TYPE_CHECKING, Any

from app.shells.connector_runner.settings import RunnerSettings

if TYPE_CHECKING:
    from app.shells.connector_runner.export import watch, watch_watchdog
    from app.shells.connector_runner.run import make_connector, run_connector
    from app.shells.connector_runner.runner import ConnectorRunner
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

_WHERE = {
    "ConnectorRunner": "runner",
    "ConnectorStats": "stats",
    "Watchdog": "watchdog",
    "WatchdogStats": "watchdog",
    "make_connector": "run",
    "run_connector": "run",
    "watch": "export",
    "watch_watchdog": "export",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
