"""What of windows reaches outputs and documents: updates, final rows, late samples."""

from __future__ import annotations

import random
from typing import Any

import bson
import pytest

from app.shells.driver import Driver
from app.store.documents import Mapper, OutputSpec, Source, Write
from models.time import NS_PER_S
from topologies.core import Input, Output, Topology
from topologies.core.step import Step
from topologies.steps import decode
from topologies.steps.extract import CountWindow, Session, Sliding, Window

T0 = 1_700_000_000 * NS_PER_S
STEPS: list[Step] = [
    Window(size="10s", hop="5s", grace="2s", emit="updates", every="2s"),
    Sliding(size="5s", grace="1s"),
    Session(gap="2s", longest="20s"),
    CountWindow(size=6, hop=3),
]
by_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)


BOTH = (Output(kind="features"), Output(kind="late"))


def topology(*steps: Step, outputs: tuple[Output, ...] = BOTH) -> Topology:
    return Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=steps,
        outputs=outputs,
    )


def traffic(driver: Driver, assets: tuple[str, ...] = ("a",), seed: int = 1) -> None:
    """Samples of each asset out of order, some of them too late, and a silence at the end."""
    chance = random.Random(seed)
    times = dict.fromkeys(assets, T0)
    streams = {asset: random.Random(asset) for asset in assets}
    left = dict.fromkeys(assets, 60)
    while left:
        asset = chance.choice(list(left))
        own = streams[asset]
        rows = []
        for _ in range(own.randint(1, 8)):
            times[asset] += own.randint(0, 900) * 1_000_000
            t = times[asset] - own.choice([0, 0, 0, 1, 4, 30]) * NS_PER_S
            rows.append((own.choice("xy"), t, own.gauss(0, 1), 0))
        driver.opcua(asset, rows, received=times[asset])
        left[asset] -= 1
        if not left[asset]:
            del left[asset]
            driver.advance("opcua", asset, 100 * NS_PER_S)


def written(driver: Driver) -> list[Write]:
    mapper = Mapper("probe")
    return [
        write
        for place, emission in enumerate(driver.emissions)
        for write in mapper.writes(
            OutputSpec(emission.output, emission.output),
            Source(emission.output, 0, place, 0, emission.key, emission.value, emission.headers),
        )
    ]


def stored(writes: list[Write]) -> dict[str, dict[str, Any]]:
    """What a store holds afterwards: a higher revision stays."""
    kept: dict[str, Write] = {}
    for write in writes:
        held = kept.get(write.id)
        if held is None or write.revision is None or (held.revision or 0) < write.revision:
            kept[write.id] = write
    return {name: bson.decode(write.document.raw) for name, write in kept.items()}


@by_step
def test_late_samples_reach_their_output_with_step_and_window(step: Step) -> None:
    driver = Driver(topology(step))
    traffic(driver)
    late = driver.late()
    assert len(late) > 5
    assert {record.window for record in late} == {step.name}
    for record in late:
        assert (record.t <= record.end).all()
        assert record.asset == "a"
    documents = [d for d in stored(written(driver)).values() if "from_ns" in d]
    assert sum(d["n"] for d in documents) == sum(map(len, late))
    assert len(documents) == len(late)
    assert documents[0]["_id"].startswith(f"probe/late/{step.name}/")


def test_only_late_samples_of_the_steps_asked_for() -> None:
    steps = (Window(size="5s"), Session(gap="1s"))
    driver = Driver(topology(*steps, outputs=(Output(kind="late", of=("session",)),)))
    traffic(driver)
    assert {record.window for record in driver.late()} == {"session"}


def test_documents_converge_on_the_final_rows_in_whatever_order_they_come() -> None:
    driver = Driver(topology(STEPS[0]))
    traffic(driver)
    rows = driver.feature_records()
    assert any(not record.final for record in rows)
    writes = [write for write in written(driver) if "/features/" in write.id]
    final = {write.id for write in writes if bson.decode(write.document.raw)["final"]}
    for seed in range(5):
        random.Random(seed).shuffle(writes)
        documents = stored(writes)
        assert set(documents) == final
        assert all(document["final"] for document in documents.values())


@by_step
def test_assets_do_not_mix(step: Step) -> None:
    """Whatever the order in which the records of two assets come."""
    one, other = Driver(topology(step)), Driver(topology(step))
    traffic(one, ("a", "b"), seed=1)
    traffic(other, ("a", "b"), seed=2)

    def of(driver: Driver, key: bytes) -> list[bytes]:
        return [emission.value for emission in driver.emissions if emission.key == key]

    for key in (b"a", b"b"):
        assert of(one, key) == of(other, key)


@by_step
def test_crashes_anywhere_change_nothing(step: Step) -> None:
    calm, shaken = Driver(topology(step)), Driver(topology(step), commit_every=5)
    chance = random.Random(4)
    for seed in range(3):
        for driver in (calm, shaken):
            traffic(driver, seed=seed)
        if chance.random() < 0.7:
            shaken.crash()
    shaken.commit()
    assert shaken.emissions == calm.emissions
    assert shaken.state("opcua", "a") == calm.state("opcua", "a")
