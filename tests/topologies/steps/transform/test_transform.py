"""transform: calibration, units, derived tags, names."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.shells.driver import Driver
from models import quality
from models.catalogue import Asset, Catalogue, Knowledge, Linear, Table, Tag
from models.errors import ConfigError
from models.time import NS_PER_S
from topologies.core import Input, Output, Topology
from topologies.core.step import Context, Step
from topologies.steps import decode
from topologies.steps.transform import Derive, Rename, Scale
from topologies.steps.transform.expression import Expression
from topologies.steps.transform.units import conversion

T0 = 1_700_000_000 * NS_PER_S
BAD = 0x80000000


def driver(*steps: Step, **tags: Tag) -> Driver:
    topology = Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=steps,
        outputs=(Output(kind="readings"),),
    )
    known = Knowledge(catalogue=Catalogue(assets={"a": Asset(tags=tags)})) if tags else None
    return Driver(topology, known)


def second(n: float) -> int:
    return T0 + int(n * NS_PER_S)


def got(driver: Driver, tag: str) -> list[tuple[float, object, int]]:
    return [((t - T0) / NS_PER_S, v, q) for _, name, t, v, q in driver.readings() if name == tag]


@pytest.mark.parametrize(
    ("source", "target", "given_", "wanted"),
    [
        ("degF", "degC", 212.0, 100.0),
        ("K", "degC", 300.0, 26.85),
        ("bar", "Pa", 1.5, 150_000.0),
        ("m3/h", "l/min", 6.0, 100.0),
        ("kWh", "MJ", 1.0, 3.6),
    ],
)
def test_units(source: str, target: str, given_: float, wanted: float) -> None:
    gain, offset = conversion(source, target)
    assert given_ * gain + offset == pytest.approx(wanted, rel=1e-12)


def test_units_that_do_not_fit_name_the_tag() -> None:
    probe = driver(Scale(), x=Tag(unit="Pa", source_unit="degC"))
    with pytest.raises(ConfigError, match=r"catalogue\.a\.tags\.x\.source_unit.*'degC'.*'Pa'"):
        Scale().bind(Context("probe", 1, probe.knowledge, 0))


def test_calibration_comes_before_conversion() -> None:
    tag = Tag(unit="degC", source_unit="K", calibration=Linear(gain=2.0, offset=10.0))
    probe = driver(Scale(), x=tag)
    probe.opcua("a", [("x", second(0), 150.0), ("y", second(0), 7.0)])
    assert got(probe, "x")[0][1] == pytest.approx(36.85)
    assert got(probe, "y") == [(0.0, 7.0, quality.GOOD)]


def test_a_table_is_interpolated_and_held_at_its_ends() -> None:
    points = ((4.0, 0.0), (12.0, 50.0), (20.0, 200.0))
    probe = driver(Scale(), x=Tag(calibration=Table(points=points)))
    probe.opcua("a", [("x", second(n), v) for n, v in enumerate((2.0, 4.0, 8.0, 16.0, 30.0))])
    assert [v for _, v, _ in got(probe, "x")] == [0.0, 0.0, 25.0, 125.0, 200.0]


def test_exact_values_of_other_tags_stay_exact() -> None:
    probe = driver(Scale(), x=Tag(calibration=Linear(gain=0.5)))
    big = 2**60 + 1
    probe.opcua("a", [("n", second(0), big), ("x", second(0), big), ("s", second(0), "on")])
    assert got(probe, "n")[0][1] == big
    assert got(probe, "x")[0][1] == float(big) * 0.5
    assert got(probe, "s")[0][1] == "on"


def test_infinite_and_missing_values_stay_what_they_are() -> None:
    probe = driver(Scale(), x=Tag(calibration=Linear(gain=-1.0)))
    probe.opcua("a", [("x", second(0), math.inf), ("x", second(1), None), ("x", second(2), 1e308)])
    values = [v for _, v, _ in got(probe, "x")]
    assert values == [-math.inf, None, -1e308]


def test_a_derived_tag_uses_the_newest_of_the_others() -> None:
    probe = driver(Derive(tag="power", expression="torque * speed", on="speed"))
    probe.opcua("a", [("speed", second(0), 10.0)])
    assert got(probe, "power") == [], "torque was never seen"
    probe.opcua("a", [("torque", second(1), 2.0), ("speed", second(1), 11.0)])
    probe.opcua("a", [("speed", second(2), 12.0), ("torque", second(2), 3.0)])
    probe.opcua("a", [("speed", second(3), 13.0)])
    assert got(probe, "power") == [
        (1.0, 22.0, quality.GOOD), (2.0, 24.0, quality.GOOD), (3.0, 39.0, quality.GOOD),
    ]  # fmt: skip


def test_a_derived_tag_is_as_bad_as_its_worst_input() -> None:
    probe = driver(Derive(tag="s", expression="x + y", on="y"))
    probe.opcua("a", [("x", second(0), 1.0, BAD), ("y", second(1), 1.0)])
    probe.opcua("a", [("x", second(2), 1.0), ("y", second(3), 0.0)])
    assert [q for _, _, q in got(probe, "s")] == [quality.FAIL, quality.GOOD]


def test_a_result_that_is_no_number_is_missing_and_an_infinite_one_fails() -> None:
    probe = driver(Derive(tag="r", expression="x / y", on="y"))
    probe.opcua("a", [("x", second(0), 0.0), ("y", second(1), 0.0)])
    probe.opcua("a", [("x", second(2), 1.0), ("y", second(3), 0.0)])
    assert got(probe, "r") == [(1.0, None, quality.MISSING), (3.0, math.inf, quality.FAIL)]


def test_an_input_that_is_too_old_makes_the_result_missing() -> None:
    probe = driver(Derive(tag="s", expression="x + y", on="y", tolerance="5s"))
    probe.opcua("a", [("x", second(0), 1.0), ("y", second(4), 1.0), ("y", second(6), 1.0)])
    assert got(probe, "s") == [(4.0, 2.0, quality.GOOD), (6.0, None, quality.MISSING)]


samples = st.lists(
    st.tuples(st.sampled_from("xyz"), st.floats(-1e6, 1e6)), min_size=1, max_size=30
)


@given(samples, st.data())
def test_splitting_records_differently_derives_the_same(
    arriving: list[tuple[str, float]], data: st.DataObject
) -> None:
    steps = (Derive(tag="s", expression="x + 2 * y - max(x, y)", on="y"),)
    whole, cut = driver(*steps), driver(*steps)
    rows = [(tag, second(n), v) for n, (tag, v) in enumerate(arriving)]
    whole.opcua("a", rows, received=second(100))
    edges = sorted(data.draw(st.sets(st.integers(1, max(1, len(rows) - 1)), max_size=5)))
    for low, high in zip([0, *edges], [*edges, len(rows)], strict=True):
        if low < high:
            cut.opcua("a", rows[low:high], received=second(100))
    assert got(cut, "s") == got(whole, "s")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("__import__('os')", "__import__"),
        ("x.real", "x.real"),
        ("x[0]", "x[0]"),
        ("x if y else z", "if"),
        ("lambda: x", "lambda"),
        ("x @ y", "@"),
        ("'a' * x", "'a'"),
        ("sqrt(x, y)", "sqrt takes 1"),
        ("9 ** 9", "names no tag"),
        ("x +", "no expression"),
        ("x" * 1001, "1000 characters"),
        ("max(*x)", "*x"),
        ("1e999 * x", "beyond"),
        ("-" * 900 + "x", "nested"),
    ],
)
def test_what_is_no_arithmetic_is_refused_when_declared(text: str, word: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Derive(tag="t", expression=text)
    assert word in str(caught.value)


@given(st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_an_expression_is_what_python_would_say(x: float, y: float) -> None:
    text = "sqrt(y) + x ** 2 / (1 + y) - clip(x, -5, 5) % 3 + min(x, y, 7)"
    wanted = math.sqrt(y) + x**2 / (1 + y) - min(max(x, -5), 5) % 3 + min(x, y, 7)
    result = Expression(text)({"x": np.array([x]), "y": np.array([y])})
    assert result[0] == pytest.approx(wanted, rel=1e-12, abs=1e-9)


def test_rename_keeps_everything_but_the_name() -> None:
    probe = driver(Rename(tags={"T1": "crown"}))
    probe.opcua("a", [("T1", second(0), 2**60 + 1), ("other", second(0), 2.0)])
    assert [(tag, v) for _, tag, _, v, _ in probe.readings()] == [
        ("crown", 2**60 + 1), ("other", 2.0),
    ]  # fmt: skip


def test_two_tags_under_one_name_are_an_error_of_the_record() -> None:
    probe = driver(Rename(tags={"T1": "crown"}))
    probe.opcua("a", [("T1", second(0), 1.0), ("crown", second(0), 2.0)])
    assert "'T1' and 'crown' of a would both be called 'crown'" in probe.dead_letters()[0].error
