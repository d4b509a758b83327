"""Laws of every step and decoder found, whatever it does."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from app.shells.driver import Driver
from models.catalogue import Asset, Catalogue, FlatLine, Knowledge, Limits, Range, Tag, Thresholds
from models.records.block import Block
from models.time import NS_PER_S
from topologies.core import Input, Output, Topology
from topologies.core.discover import find, step_kinds
from topologies.core.flow import Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Decoder, Step
from topologies.steps import decode, extract

KINDS = {name: kind for name, kind in step_kinds().items() if issubclass(kind, Step)}
DECODERS = {name: kind for name, kind in step_kinds().items() if issubclass(kind, Decoder)}
T0 = 1_700_000_000 * NS_PER_S

#: Parameters of the steps that cannot do without.
NEEDED: dict[str, dict[str, Any]] = {
    "extract.window": {"size": "2s", "grace": "500ms", "emit": "updates"},
    "extract.sliding": {"size": "2s", "grace": "200ms"},
    "extract.session": {"gap": "300ms", "longest": "5s"},
    "extract.count_window": {"size": 6, "hop": 3},
    "transform.derive": {"tag": "sum", "expression": "x + y"},
    "transform.rename": {"tags": {"z": "zeta"}},
    "detect.forest": {"of": "window", "features": ("x:mean", "y:mean"), "train_on": 16},
    "alarm.alarm": {"of": "limits", "on_delay": "300ms"},
    "combine.as_of": {"left": ("x",), "columns": {"then": "y"}, "tolerance": "1s"},
    "combine.merge": {"keys": {"*": "{asset}"}, "grace": "100ms"},
}


def declared(name: str) -> Step:
    fields = dict(NEEDED.get(name, {}))
    return KINDS[name](**fields)  # type: ignore[return-value]


def chain(name: str) -> tuple[Step, ...]:
    """The step, behind those that make what it reads."""
    step = declared(name)
    if step.source == "window":
        return (extract.Window(size="2s"), step)
    if step.source == "limits":
        return (declared("detect.limits"), step)
    return (step,)


def topology(*steps: Step) -> Topology:
    kinds = ("readings", "features", "late", "anomalies", "alarms")
    return Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=steps,
        outputs=tuple(Output(kind=kind) for kind in kinds),
    )


def knowledge() -> Knowledge:
    tag = Tag(
        unit="degC",
        source_unit="K",
        gross_range=Range(low=-1e6, high=1e6),
        rate_of_change=Thresholds(suspect=1e3),
        flat_line=FlatLine(suspect=10 * NS_PER_S),
        spike=Thresholds(suspect=50.0),
        max_gap=5 * NS_PER_S,
        limits=Limits(low=-20, high=20, deadband=1),
    )
    return Knowledge(catalogue=Catalogue(assets={"a": Asset(tags={"x": tag, "y": tag})}))


def traffic(driver: Driver, seed: int, records: int = 60) -> None:
    """Three tags, spikes, gaps, bad status, text, lateness, repeats and heartbeats."""
    random = np.random.default_rng(seed)
    t = T0
    for _ in range(records):
        rows: list[tuple[Any, ...]] = []
        for _ in range(int(random.integers(1, 12))):
            t += int(random.integers(-50, 400)) * 1_000_000
            tag = str(random.choice(["x", "y", "z"]))
            value: Any = float(random.normal(0, 10))
            if random.random() < 0.05:
                value = str(random.choice(["on", "off"]))
            rows.append((tag, t, value, 0x80000000 if random.random() < 0.05 else 0))
        driver.opcua("a", rows, received=max(row[1] for row in rows))
        if random.random() < 0.1:
            driver.advance("opcua", "a", int(random.integers(0, 4)) * NS_PER_S)


by_kind = pytest.mark.parametrize("name", KINDS)


@by_kind
def test_running_twice_gives_the_same_bytes(name: str) -> None:
    first, second = (Driver(topology(*chain(name)), knowledge()) for _ in range(2))
    for driver in (first, second):
        traffic(driver, seed=1)
    assert first.emissions == second.emissions
    assert first.state("opcua", "a") == second.state("opcua", "a")
    assert first.emissions
    assert first.dead_letters() == []


@by_kind
def test_a_restart_between_records_changes_nothing(name: str) -> None:
    """What a step knows is in its state: a new process that has only that goes on the same."""
    calm, restarted = (Driver(topology(*chain(name)), knowledge()) for _ in range(2))
    for seed in range(4):
        for driver in (calm, restarted):
            traffic(driver, seed, records=10)
        restarted.crash()
    assert restarted.emissions == calm.emissions


@by_kind
def test_a_crash_with_records_under_way_changes_nothing(name: str) -> None:
    calm = Driver(topology(*chain(name)), knowledge())
    shaken = Driver(topology(*chain(name)), knowledge(), commit_every=7)
    for seed in range(5):
        for driver in (calm, shaken):
            traffic(driver, seed, records=11)
        shaken.crash()
    shaken.commit()
    assert shaken.emissions == calm.emissions
    assert shaken.state("opcua", "a") == calm.state("opcua", "a")


class Frozen(Step):
    """Passes everything on, with every array of the flow made read-only."""

    kind = "frozen"

    def bind(self, context: Context) -> Bound:
        def freeze(flow: Flow, memory: Memory) -> None:
            for holder in (flow.block, *flow.features.values(), *flow.scores.values()):
                for array in _arrays(holder):
                    array.flags.writeable = False

        return freeze


def _arrays(holder: object) -> list[np.ndarray[Any, Any]]:
    names = getattr(type(holder), "__slots__", ())
    found = [getattr(holder, name) for name in names]
    found += list(holder.stats.values()) if hasattr(holder, "stats") else []
    return [array for array in found if isinstance(array, np.ndarray)]


@by_kind
def test_a_step_writes_into_nothing_it_finds(name: str) -> None:
    *before, step = chain(name)
    free = Driver(topology(*before, step), knowledge())
    frozen = Driver(topology(Frozen(name="f0"), *before, Frozen(name="f1"), step), knowledge())
    for driver in (free, frozen):
        traffic(driver, seed=3)
    assert [e.value for e in frozen.emissions] == [e.value for e in free.emissions]


@by_kind
def test_state_stays_within_its_name_and_is_safe_for_the_store(name: str) -> None:
    steps = chain(name)
    driver = Driver(topology(*steps), knowledge())
    traffic(driver, seed=5)
    names = {step.name for step in steps} | {"time"}
    for key, value in driver.state("opcua", "a").items():
        assert key.split("/")[0] in names
        assert len(value) > 0
        assert len(value) != 8, "eight bytes confuse the store's time-to-live stamps"
    if steps[-1].state_version == 0:
        assert not any(key.startswith(f"{steps[-1].name}/") for key in driver.state("opcua", "a"))


@pytest.mark.parametrize("name", [*KINDS, *DECODERS])
def test_every_kind_and_parameter_is_described(name: str) -> None:
    kind: type[BaseModel] = step_kinds()[name]
    assert kind.__doc__, name
    for field, info in kind.model_fields.items():
        assert info.description, f"{name}.{field}"


@by_kind
def test_a_declaration_is_a_value(name: str) -> None:
    step = declared(name)
    assert pickle.loads(pickle.dumps(step)) == step
    assert type(step).model_validate(step.model_dump()) == step
    with pytest.raises(Exception, match="frozen"):
        step.name = "other"


def test_every_verb_of_the_topologies_is_under_these_laws() -> None:
    used = {type(step) for topology in find().values() for step in topology.steps}
    assert used <= set(KINDS.values())


def test_blocks_are_never_shared_with_what_is_written() -> None:
    """Guards the law above: a writable array would make it pass whatever a step does."""
    array = np.zeros(2)
    array.flags.writeable = False
    block = Block("a", ("x",), np.zeros(2, np.int32), np.zeros(2, np.int64), array,
                  np.ones(2, np.uint8))  # fmt: skip
    with pytest.raises(ValueError, match="read-only"):
        _arrays(block)[2][0] = 1.0
