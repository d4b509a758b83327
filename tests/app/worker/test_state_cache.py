"""States between two commits: read once, written once, forgotten in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.shells.worker.state import StateCache


class Store:
    """A partition's store that counts how often it is asked."""

    def __init__(self) -> None:
        self.values: dict[tuple[bytes, bytes], bytes] = {}
        self.reads = self.writes = 0

    def get_bytes(self, key: bytes, prefix: bytes) -> bytes | None:
        self.reads += 1
        return self.values.get((prefix, key))

    def set_bytes(self, key: bytes, value: bytes, prefix: bytes) -> None:
        self.writes += 1
        self.values[prefix, key] = value

    def delete(self, key: bytes, prefix: bytes) -> None:
        self.writes += 1
        self.values.pop((prefix, key), None)


def names(_topic: str, _partition: int, _key: bytes, _begin: bytes) -> Iterator[bytes]:
    yield from ()


def cache_of(store: Store, limit: int = 1 << 20) -> StateCache:
    return StateCache(lambda _topic, _partition: store, names, limit)


def test_a_value_is_asked_for_once_and_written_once_a_commit() -> None:
    store = Store()
    cache = cache_of(store)
    for number in range(10):
        state = cache.of("raw", 0, b"a")
        assert state.get("absent/") is None
        state.get("window/")
        state.set("window/", bytes([number]))
    assert (store.reads, store.writes) == (2, 0)
    cache.write_back()
    assert store.writes == 1
    assert store.values == {(b"a", b"window/"): b"\x09"}
    cache.write_back()
    assert store.writes == 1


def test_what_was_not_written_back_is_forgotten_with_the_partition() -> None:
    store = Store()
    cache = cache_of(store)
    cache.of("raw", 0, b"a").set("window/", b"new")
    cache.clear()
    cache.write_back()
    assert cache.of("raw", 0, b"a").get("window/") is None
    assert store.values == {}


def test_deleted_values_leave_nothing_behind() -> None:
    store = Store()
    cache = cache_of(store)
    for pane in range(1000):
        state = cache.of("raw", 0, b"a")
        state.set(f"window/{pane}", b"x" * 50)
        cache.write_back()
        state.delete(f"window/{pane}")
        cache.write_back()
    assert store.values == {}
    assert cache.of("raw", 0, b"a").values == {}
    assert cache.size == 0


def test_more_than_the_limit_is_read_anew_after_a_commit() -> None:
    store = Store()
    cache = cache_of(store, limit=10_000)
    for number in range(20):
        cache.of("raw", 0, b"%d" % number).set("window/", b"x" * 1000)
    cache.write_back()
    assert cache.size == 0
    assert cache.of("raw", 0, b"7").get("window/") == b"x" * 1000


def test_a_store_that_cannot_be_read_is_remembered() -> None:
    class Broken(Store):
        def get_bytes(self, key: bytes, prefix: bytes) -> bytes | None:
            raise OSError("disk")

    state = cache_of(Broken()).of("raw", 0, b"a")
    with pytest.raises(OSError, match="disk"):
        state.get("window/")
    assert isinstance(state.failure, OSError)
