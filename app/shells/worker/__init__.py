"""The worker: runs one topology on its share of partitions, exactly-once, writing topics only.

Its parts are loaded when they are asked for: whoever needs `WorkerSettings` alone, which is every
process of a site, is spared quixstreams.
"""

from typing import TYPE_CHECKING, Any

from app.shells.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from app.shells.worker.export import export, watch
    from app.shells.worker.run import run_worker
    from app.shells.worker.stats import WorkerStats

__all__ = ["WorkerSettings", "WorkerStats", "export", "run_worker", "watch"]

_WHERE = {"export": "export", "watch": "export", "run_worker": "run", "WorkerStats": "stats"}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(name)
    from importlib import import_module

    where = _WHERE[name]
    module = import_module(f"{__name__}.{where}")
    # All of it at once: importing the submodule `export` has set that name to the module.
    globals().update({n: getattr(module, n) for n, place in _WHERE.items() if place == where})
    return globals()[name]
