"""Signals and faults: reproducible from the seed, and plausible."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from connectors.simulators.config import Fault, RandomFaults
from connectors.simulators.faults import AssetFaults
from connectors.simulators.signal_config import Signal
from connectors.simulators.signals import AssetSignals

S = 10**9
H = 3600 * S
TAGS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Signal])


def play(tags: dict[str, Any], rows: int, dt: int = S, seed: int = 1, start: int = 0) -> Any:
    """Values of shape (rows,) per tag."""
    signals = AssetSignals(seed, "asset", TAGS.validate_python(tags))
    found = [signals.row(start + index * dt, dt) for index in range(rows)]
    return {tag: np.array([row[tag] for row in found]) for tag in tags}


EVERYTHING: dict[str, Any] = {
    "torque": {"kind": "follow", "of": "speed", "gain": 0.2, "lag": "5s", "noise": 0.5},
    "speed": {"kind": "steps", "low": 100, "high": 200, "dwell": "1m", "gate": "running"},
    "running": {"kind": "switch", "on": "5m", "off": "1m"},
    "outside": {"kind": "daily", "mean": 10, "swing": 5, "noise": 0.1, "wander": 1},
    "light": {"kind": "solar"},
    "energy": {"kind": "counter", "of": "light", "per": "1h"},
    "force": {"kind": "cycle", "high": 800, "noise": 1},
    "crown": {"kind": "level", "at": 1550, "noise": 0.3, "wander": 3, "decimals": 2},
}


def test_a_seed_gives_the_same_rows_again_and_another_seed_others() -> None:
    first, again = play(EVERYTHING, 500), play(EVERYTHING, 500)
    other = play(EVERYTHING, 500, seed=2)
    for tag in EVERYTHING:
        np.testing.assert_array_equal(first[tag], again[tag])
    assert not np.array_equal(first["crown"], other["crown"])
    assert not np.array_equal(first["torque"], other["torque"])


def test_a_level_scatters_around_its_set_point_with_the_declared_spread() -> None:
    tag = {"kind": "level", "at": 1550, "noise": 0.5, "wander": 3, "tau": "10s"}
    values = play({"x": tag}, 50_000)["x"]
    assert np.mean(values) == pytest.approx(1550, abs=0.3)
    assert np.std(values) == pytest.approx(np.hypot(0.5, 3), rel=0.05)
    keep = np.exp(-1 / 10)  # the wander's own correlation from one second to the next
    correlation = np.corrcoef(values[:-1], values[1:])[0, 1]
    assert correlation == pytest.approx(keep * 9 / (9 + 0.25), abs=0.02)


def test_torque_goes_with_speed_and_a_stopped_drive_stands_still() -> None:
    found = play(EVERYTHING, 5000)
    stopped = found["running"] == 0
    assert 0 < np.count_nonzero(stopped) < 5000
    assert np.all(found["speed"][stopped] == 0)
    assert np.all(found["speed"][~stopped] >= 100)
    assert np.corrcoef(found["speed"], found["torque"])[0, 1] > 0.9


def test_the_sun_rises_and_sets_and_energy_is_its_integral() -> None:
    found = play(EVERYTHING, 24 * 60, dt=60 * S)
    light, hours = found["light"], np.arange(24 * 60) / 60
    assert np.all(light[(hours < 6) | (hours > 20)] == 0)
    assert 300 < np.max(light) <= 1000
    assert np.all(np.diff(found["energy"]) >= 0)
    assert found["energy"][-1] == pytest.approx(np.sum(light) / 60)
    peak = hours[
        np.argmax(play({"x": {"kind": "daily", "mean": 1, "swing": 2}}, 1440, 60 * S)["x"])
    ]
    assert peak == 15


def test_limits_and_a_tag_that_follows_nothing() -> None:
    tag = {"kind": "level", "at": 0, "noise": 5, "low": -1, "high": 2}
    values = play({"x": tag}, 1000)["x"]
    assert (np.min(values), np.max(values)) == (-1, 2)
    with pytest.raises(ValueError, match="'y', which is not one of: x"):
        play({"x": {"kind": "follow", "of": "y"}}, 1)
    with pytest.raises(ValueError, match="'x' follows itself"):
        play({"x": {"kind": "follow", "of": "y"}, "y": {"kind": "follow", "of": "x"}}, 1)


def faulty(*faults: Fault, random: RandomFaults | None = None, seed: int = 1) -> AssetFaults:
    return AssetFaults("a", ["x", "y"], faults, random, seed, lambda tag: 2.0)


def outcome(faults: AssetFaults, rows: int = 8) -> list[tuple[Any, ...] | None]:
    """(value, status) of tag x whose value is its row's number, a row a second."""
    found: list[tuple[Any, ...] | None] = []
    for index in range(rows):
        samples = {one.tag: one for one in faults.apply(index * S, {"x": index, "y": index})}
        assert samples["y"].v == index
        sample = samples.get("x")
        found.append(None if sample is None else (sample.v, sample.status))
    return found


def good(*values: float) -> list[tuple[float, str]]:
    return [(value, "Good") for value in values]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("spike", good(0, 1, 14, 3, 4, 5, 6, 7)),  # six times the spread of 2
        ("offset", good(0, 1, 14, 15, 16, 17, 6, 7)),
        ("drift", good(0, 1, 2, 6, 10, 14, 6, 7)),
        ("stuck", good(0, 1, 1, 1, 1, 1, 6, 7)),
        ("dropout", [*good(0, 1), None, None, None, None, *good(6, 7)]),
        ("bad", [*good(0, 1), *[(None, "BadSensorFailure")] * 4, *good(6, 7)]),
    ],
)
def test_each_fault_has_its_mark(kind: str, expected: list[Any]) -> None:
    fault = {"asset": "a", "tag": "x", "kind": kind, "at": "2s", "for": "4s"}
    assert outcome(faulty(Fault.model_validate(fault))) == expected


def test_random_faults_come_at_their_rate_and_again_with_the_seed() -> None:
    random = RandomFaults(rate_per_hour=60, longest=10 * S)
    first = outcome_of_random(faulty(random=random))
    assert first == outcome_of_random(faulty(random=random))
    assert first != outcome_of_random(faulty(random=random, seed=2))
    begun = [kind for before, kind in pairwise(first) if kind != before and kind]
    assert 400 < len(begun) < 600  # ten hours, less the time spent in faults
    assert {"spike", "drift", "offset", "stuck", "bad", "gone"} == set(begun)


def outcome_of_random(faults: AssetFaults) -> list[str | None]:
    found: list[str | None] = []
    for index in range(10 * 3600):
        samples = faults.apply(index * S, {"x": float(index)})
        found.append(samples[0].fault if samples else "gone")
    return found


def test_a_fault_can_come_again_and_again() -> None:
    second = 1_000_000_000
    planned = Fault.model_validate(
        {"asset": "a", "tag": "x", "kind": "offset", "at": "5s", "for": "2s", "every": "10s",
         "size": 100}
    )  # fmt: skip
    spike = Fault.model_validate(
        {"asset": "a", "tag": "y", "kind": "spike", "at": "3s", "every": "4s", "size": 50}
    )
    away = Fault.model_validate(
        {"asset": "a", "kind": "dropout", "at": "8s", "for": "1s", "every": "10s"}
    )
    faults = AssetFaults("a", ["x", "y"], (planned, spike, away), None, 0, lambda _: 1.0)
    seen: dict[str, list[int]] = {"x": [], "y": [], "silent": []}
    for n in range(40):
        if faults.silent(n * second):
            seen["silent"].append(n)
        for sample in faults.apply(n * second, {"x": 0.0, "y": 0.0}):
            if sample.fault is not None:
                seen[sample.tag].append(n)
    assert seen["x"] == [5, 6, 15, 16, 25, 26, 35, 36]
    assert seen["y"] == [3, 7, 11, 15, 19, 23, 27, 31, 35, 39]
    assert seen["silent"] == [8, 18, 28, 38]
