"""The states of keys between two commits.

The core asks for half a dozen small values per record and writes most of them again. Between two
commits they are kept here, so that the store sees each value once a commit instead of once a
record, and a value that does not exist is looked for once. What is here beyond the store belongs
to the open transaction: it is written to the store before every commit, and forgotten whenever
partitions move or a run ends (DESIGN: nothing cached in Python survives an aborted checkpoint or
a revoked partition).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

#: Bytes of state kept in memory; beyond it everything is forgotten at the next commit.
MEMORY_BYTES = 256 * 1024 * 1024
#: What a key takes beside its values, about.
_KEY_BYTES = 2048


class Transaction(Protocol):
    """The part of a partition's transaction in quixstreams' store that we use."""

    def get_bytes(self, key: bytes, prefix: bytes) -> bytes | None: ...
    def set_bytes(self, key: bytes, value: bytes, prefix: bytes) -> None: ...
    def delete(self, key: bytes, prefix: bytes) -> None: ...


#: The open transaction of a (topic, partition).
Transactions = Callable[[str, int], Transaction]


#: Names of a key's values in the store that begin with something, as of the last commit.
Names = Callable[[str, int, bytes, bytes], Iterable[bytes]]


class KeyState:
    """The state of one key, as the core sees it.

    The core turns what a step raises into a dead letter. A store that cannot be read is no fault of
    the record, so it is remembered in ``failure``, and the worker stops on it.
    """

    __slots__ = ("_cache", "changed", "failure", "key", "partition", "topic", "values")

    def __init__(self, cache: StateCache, topic: str, partition: int, key: bytes) -> None:
        self._cache = cache
        self.topic, self.partition, self.key = topic, partition, key
        #: Values by name; None: there is none.
        self.values: dict[str, bytes | None] = {}
        #: Names of values that the store does not know yet.
        self.changed: set[str] = set()
        self.failure: Exception | None = None

    def get(self, name: str) -> bytes | None:
        """The value, or None."""
        try:
            return self.values[name]
        except KeyError:
            return self._load(name)

    def set(self, name: str, value: bytes) -> None:
        """Keep a value."""
        if not self.changed:
            self._cache.changed.append(self)
        before = self.values.get(name)
        self._cache.size += len(value) - (len(before) if before is not None else 0)
        self.values[name] = value
        self.changed.add(name)

    def delete(self, name: str) -> None:
        """Forget a value."""
        if not self.changed:
            self._cache.changed.append(self)
        before = self.values.get(name)
        if before is not None:
            self._cache.size -= len(before)
        self.values[name] = None
        self.changed.add(name)

    def names(self, step: str) -> list[str]:
        """Names of all values of a step. It asks the store: not for every record."""
        begin = f"{step}/"
        try:
            stored = self._cache.names(self.topic, self.partition, self.key, begin.encode())
            found = dict.fromkeys(name.decode() for name in stored)
        except Exception as error:
            self.failure = error
            raise
        found |= dict.fromkeys(name for name in self.values if name.startswith(begin))
        return [name for name in found if self.values.get(name, b"") is not None]

    def _load(self, name: str) -> bytes | None:
        try:
            transaction = self._cache.transaction(self.topic, self.partition)
            value = transaction.get_bytes(name.encode(), self.key)
        except Exception as error:
            self.failure = error
            raise
        self.values[name] = value
        if value is not None:
            self._cache.size += len(value)
        return value


class StateCache:
    """The states of all keys met since partitions last moved."""

    def __init__(
        self, transaction: Transactions, names: Names, limit: int = MEMORY_BYTES
    ) -> None:
        self.transaction, self.names = transaction, names
        self._limit = limit
        self._keys: dict[tuple[str, int, bytes], KeyState] = {}
        #: Keys with changed values.
        self.changed: list[KeyState] = []
        #: Bytes of the values held.
        self.size = 0

    def of(self, topic: str, partition: int, key: bytes) -> KeyState:
        """The state of a key."""
        place = (topic, partition, key)
        state = self._keys.get(place)
        if state is None:
            state = self._keys[place] = KeyState(self, topic, partition, key)
        return state

    def write_back(self) -> None:
        """Hand what changed to the store. To be called before every commit."""
        for state in self.changed:
            transaction = self.transaction(state.topic, state.partition)
            for name in sorted(state.changed):
                value = state.values[name]
                if value is None:
                    transaction.delete(name.encode(), state.key)
                    # Such as a window's that is closed: its name will hardly be asked for again.
                    del state.values[name]
                else:
                    transaction.set_bytes(name.encode(), value, state.key)
            state.changed.clear()
        self.changed.clear()
        if self.size + _KEY_BYTES * len(self._keys) > self._limit:
            self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._keys.clear()
        self.changed.clear()
        self.size = 0
