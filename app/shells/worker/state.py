"""The state of one key in quixstreams' store, as the core sees it."""

from __future__ import annotations

from typing import Protocol


class Store(Protocol):
    """The part of quixstreams' ``State`` that we use."""

    def get_bytes(self, key: str) -> bytes | None: ...
    def set_bytes(self, key: str, value: bytes) -> None: ...
    def delete(self, key: str) -> None: ...


class StoreState:
    """One record's view of its key's state. quixstreams puts the record's key before each name.

    The core turns what a step raises into a dead letter. A store that cannot be read is no fault of
    the record, so it is remembered here in ``failure``, and the worker stops on it.
    """

    __slots__ = ("_store", "failure")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failure: Exception | None = None

    def get(self, key: str) -> bytes | None:
        try:
            return self._store.get_bytes(key)
        except Exception as error:
            self.failure = error
            raise

    def set(self, key: str, value: bytes) -> None:
        try:
            self._store.set_bytes(key, value)
        except Exception as error:
            self.failure = error
            raise

    def delete(self, key: str) -> None:
        try:
            self._store.delete(key)
        except Exception as error:
            self.failure = error
            raise
