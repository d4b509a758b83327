"""What a running worker has committed of its keys' states, read from other threads.

The stores on disk hold the last commit; RocksDB may be read while the loop writes. A partition that
goes to another worker meanwhile is missing from the answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from app.shells.worker.stats import WorkerStats
from topologies.core.inspect import shown

#: So much of the time at most is spent counting bytes: the loop shares the interpreter with it.
_SHARE = 0.02
_EVERY_S = 15.0
_PAUSE_EVERY, _PAUSE_S = 500, 0.002
_SEPARATOR = b"|"


class StorePartition(Protocol):
    """The part of quixstreams' store partition that is read here."""

    def iter_items(
        self, lower_bound: bytes, upper_bound: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]: ...


#: The stores of the partitions held, by (topic, partition).
Stores = Callable[[], Mapping[tuple[str, int], StorePartition]]


def state_of(stats: WorkerStats, key: str) -> dict[str, Any]:
    """What is known of a key, by stage and step, for the page /state."""
    stages = {}
    for (topic, partition), store in sorted(stats.stores().items()):
        stage = stats.stages.get(topic)
        values = _values(store, key.encode())
        if stage is None or not values:
            continue
        stages[stage.stage.name] = {"topic": topic, "partition": partition, "steps": shown(values)}
    return {
        "topology": stats.topology,
        "instance": stats.instance,
        "key": key,
        "held": {topic: list(held) for topic, held in (stats.assigned or {}).items()},
        "stages": stages,
    }


def _values(store: StorePartition, key: bytes) -> dict[str, bytes]:
    prefix = key + _SEPARATOR
    found = {}
    for name, value in store.iter_items(prefix, key + bytes([_SEPARATOR[0] + 1])):
        rest = name[len(prefix) :]
        if _SEPARATOR not in rest:  # else of a longer key that begins like this one
            found[rest.decode("utf-8", "replace")] = value
    return found


class StateSizes:
    """Bytes of state by stage and step, counted now and then by a thread of its own."""

    def __init__(self, stats: WorkerStats) -> None:
        self._stats = stats
        #: By (stage, step).
        self.sizes: dict[tuple[str, str], int] = {}
        #: Keys with state, by stage.
        self.keys: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state-sizes", daemon=True)

    def __enter__(self) -> StateSizes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        pause = 1.0
        while not self._over.wait(pause):
            begun = time.monotonic()
            try:
                self.count()
            except Exception:  # a store that was closed under our hands: counted next time
                pause = 1.0
                continue
            pause = max(_EVERY_S, (time.monotonic() - begun) / _SHARE) if self.keys else 1.0

    def count(self) -> None:
        """Look at all that is kept."""
        sizes: dict[tuple[str, str], int] = {}
        keys: dict[str, int] = {}
        seen = 0
        for (topic, _), store in self._stats.stores().items():
            stage = self._stats.stages.get(topic)
            if stage is None:
                continue
            name = stage.stage.name
            for stored, value in store.iter_items(b""):
                key, _, rest = stored.rpartition(_SEPARATOR)
                if not key:
                    continue  # the worker's own notes
                step = rest.partition(b"/")[0].decode("utf-8", "replace")
                sizes[name, step] = sizes.get((name, step), 0) + len(stored) + len(value)
                keys[name] = keys.get(name, 0) + (step == "time")
                seen += 1
                if seen % _PAUSE_EVERY == 0 and (self._over.wait(_PAUSE_S) or self._gone(topic)):
                    return  # a store we go on reading could not be opened by its next owner
        self.sizes, self.keys = sizes, keys

    def _gone(self, topic: str) -> bool:
        return topic not in (self._stats.assigned or {})
