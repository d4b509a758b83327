"""Taking a partition over, and dying in the middle of it, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from quixstreams.state.rocksdb import RocksDBStorePartition

from app.deploy.gate import IncompatibleStart
from app.shells.driver import Driver
from app.shells.worker import takeover
from app.shells.worker.state import StateCache
from app.shells.worker.takeover import NOTE, Takeover
from topologies.core import Input, Output, Topology
from topologies.steps import decode, detect, extract

S = 1_000_000_000
T0 = 1_700_000_000 * S
PLACE = ("raw.opcua", 0)
ASSETS = [*(f"press-{number}" for number in range(8)), "a|unrest/b", "a"]


def version(window: int, name: str = "unrest", was: str = "") -> Topology:
    return Topology(
        name="line",
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=(
            extract.Window(size="10s"),
            detect.RobustZ(name=name, was=was, of="window", window=window, min_samples=5),
        ),
        outputs=(Output(kind="features"),),
    )


class Died(Exception):
    pass


class Store:
    """A partition's store; what was not committed when a worker died is gone."""

    def __init__(self, path: Path) -> None:
        self.partition = RocksDBStorePartition(str(path))
        self.open = self.partition.begin()
        self.commits_left = 10**6

    def transaction(self, topic: str, partition: int) -> Any:
        return self.open

    def names(self, topic: str, partition: int) -> Iterator[bytes]:
        return (name for name, _ in self.partition.iter_items(b""))

    def commit(self) -> None:
        if not self.commits_left:
            self.open = self.partition.begin()
            raise Died
        self.commits_left -= 1
        self.open.prepare()
        self.open.flush()
        self.open = self.partition.begin()

    def worker(self, topology: Topology, *accepted: str) -> Takeover:
        made = Takeover(
            topology,
            accepted,
            transaction=self.transaction,
            names=self.names,
            commit=self.commit,
        )
        made.assigned([PLACE])
        return made

    def content(self) -> dict[bytes, bytes]:
        found = dict(self.partition.iter_items(b""))
        found.pop(NOTE, None)
        return found


def fed() -> Driver:
    driver = Driver(version(30))
    for second in range(0, 300, 5):
        for asset in ASSETS:
            driver.opcua(asset, [("x", T0 + second * S, float((second + len(asset)) % 7))])
    return driver


def stored(driver: Driver) -> dict[bytes, bytes]:
    return {
        f"{asset}|{name}".encode(): value
        for asset in ASSETS
        for name, value in driver.state("opcua", asset).items()
    }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A partition that a worker of the first version has written."""
    made, driver = Store(tmp_path / "db"), fed()
    worker = made.worker(version(30))
    worker.run()
    states = StateCache(made.transaction, lambda *_: ())
    for asset in ASSETS:
        for name, value in driver.state("opcua", asset).items():
            states.of(*PLACE, asset.encode()).set(name, value)
    worker.sign(states.changed)
    states.write_back()
    made.commit()
    assert made.content() == stored(driver)
    yield made
    made.partition.close()  # type: ignore[no-untyped-call]


def test_all_keys_are_brought_along(store: Store) -> None:
    driver = fed()
    new = version(20, "restless", was="unrest")
    driver.deploy(new)
    store.worker(new).run()
    assert store.content() == stored(driver)
    assert not [name for name in store.content() if b"|unrest/0" in name]
    before, store.commits_left = store.content(), 0
    store.worker(new).run()  # nothing is left to do, so nothing is committed
    assert store.content() == before


@pytest.mark.parametrize("after", [0, 1, 3, 6])
@pytest.mark.parametrize("third", [False, True])
def test_a_worker_that_dies_in_between_leaves_nothing_half_done(
    store: Store, after: int, third: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "_BATCH", 1)  # a transaction for each key
    store.commits_left = after
    with pytest.raises(Died):
        store.worker(version(20)).run()
    store.commits_left = 10**6
    driver = fed()
    last = version(25) if third else version(20)
    store.worker(last).run()
    for name, value in stored(driver).items():
        if b"|unrest/0" not in name:
            assert store.content()[name] == value
    # A third version finds some keys with 20 values, and some with 30: all have its own now.
    fits = {len(value) for name, value in store.content().items() if name.endswith(b"|unrest/0")}
    driver.deploy(last)
    assert {len(v) for n, v in stored(driver).items() if n.endswith(b"|unrest/0")} == fits
    if not third:
        assert store.content() == stored(driver)


def test_what_was_not_accepted_is_not_lost(store: Store) -> None:
    other = version(30).model_copy(update={"steps": (extract.Window(size="20s"),)})
    before = store.content()
    with pytest.raises(IncompatibleStart, match=r"raw.opcua\[0\] holds state of version 1"):
        store.worker(other).run()
    assert store.content() == before
    store.worker(other, "window").run()
    assert {name.rpartition(b"|")[2] for name in store.content()} == {b"time/"}
