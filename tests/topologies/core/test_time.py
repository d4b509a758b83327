"""Time when nothing comes: sources that fall silent, are gone, come back with what they kept."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.shells.driver import Driver
from models.records.heartbeat import State
from models.time import NS_PER_S
from topologies.core import Input, Output, Topology
from topologies.steps import decode, extract

#: The beginning of a minute.
T0 = 1_700_000_040 * NS_PER_S
A = "plant/a"
Sample = tuple[str, int, float]


def topology(horizon: str = "1h") -> Topology:
    return Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=(extract.Window(size="1m", grace="5s", statistics=("mean", "min", "max")),),
        outputs=(Output(kind="readings"), Output(kind="features")),
        backfill_horizon=horizon,
    )


def second(n: float) -> int:
    return T0 + int(n * NS_PER_S)


def sample(n: int) -> Sample:
    return ("x", second(n), math.sin(n / 7))


def windows(driver: Driver) -> list[tuple[Any, ...]]:
    return [
        (row["tag"], row["end"], row["count"], row["mean"], row["min"], row["max"])
        for row in driver.features()
    ]


def feed(driver: Driver, numbers: range, received: int | None = None) -> None:
    for n in numbers:
        driver.opcua(A, [sample(n)], received=second(n if received is None else received))


def undisturbed(until: int) -> list[tuple[Any, ...]]:
    driver = Driver(topology())
    feed(driver, range(until))
    driver.heartbeat("opcua", A, State.ALIVE, elapsed="2m", received=second(until + 120))
    return windows(driver)


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(6)))
def test_a_backfill_after_an_outage_fills_the_windows_it_belongs_to(order: list[int]) -> None:
    driver = Driver(topology())
    feed(driver, range(300))
    for n in range(310, 900, 10):
        driver.heartbeat(
            "opcua", A, State.DISCONNECTED, elapsed=(n - 299) * NS_PER_S, received=second(n)
        )
    driver.heartbeat("opcua", A, State.BACKFILLING, elapsed="600s", received=second(900))
    # What the source kept comes in pieces, in any order, between new samples.
    for place, piece in enumerate(order):
        feed(driver, range(300 + piece * 100, 400 + piece * 100), received=901 + place)
        feed(driver, range(900 + place * 10, 910 + place * 10))
    driver.heartbeat("opcua", A, State.ALIVE, elapsed="0s", received=second(960))
    feed(driver, range(960, 1200))
    driver.heartbeat("opcua", A, State.ALIVE, elapsed="2m", received=second(1320))
    assert driver.counts.get("late", 0) == 0
    expected = undisturbed(1200)
    found = windows(driver)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert all(
            math.isclose(a, b, rel_tol=1e-12) for a, b in zip(ours[3:], theirs[3:], strict=True)
        )


def test_a_source_that_is_gone_keeps_its_windows_open_until_the_horizon() -> None:
    driver = Driver(topology("10m"))
    feed(driver, range(90))
    assert len(windows(driver)) == 1
    driver.heartbeat("opcua", A, State.DISCONNECTED, elapsed="10m", received=second(689))
    assert len(windows(driver)) == 1
    driver.heartbeat("opcua", A, State.DISCONNECTED, elapsed="11m", received=second(749))
    assert [row[:3] for row in windows(driver)] == [("x", second(60), 60), ("x", second(120), 30)]


def test_the_watchdog_which_heard_nothing_itself_closes_them_too() -> None:
    driver = Driver(topology("10m"))
    feed(driver, range(90))
    driver.heartbeat("opcua", A, State.DISCONNECTED, received=second(89 + 300))
    assert len(windows(driver)) == 1
    driver.heartbeat("opcua", A, State.DISCONNECTED, received=second(89 + 700))
    assert len(windows(driver)) == 2


def test_what_comes_after_the_horizon_is_late() -> None:
    driver = Driver(topology("10m"))
    feed(driver, range(90))
    driver.heartbeat("opcua", A, State.DISCONNECTED, elapsed="20m", received=second(1289))
    driver.heartbeat("opcua", A, State.BACKFILLING, elapsed="20m", received=second(1290))
    feed(driver, range(100, 110), received=1291)
    assert driver.counts["late"] == 10


def test_a_sensor_that_falls_silent_closes_its_last_window_by_heartbeat() -> None:
    driver = Driver(topology())
    feed(driver, range(90))
    driver.heartbeat("opcua", A, State.ALIVE, elapsed="20s", received=second(109))
    assert len(windows(driver)) == 1
    driver.heartbeat("opcua", A, State.ALIVE, elapsed="40s", received=second(129))
    data = Driver(topology())
    feed(data, range(90))
    data.opcua(A, [("y", second(200), 1.0)])
    assert windows(driver) == windows(data)


def test_a_backfill_that_never_ends_holds_windows_for_the_horizon_only() -> None:
    driver = Driver(topology("10m"))
    driver.heartbeat("opcua", A, State.BACKFILLING, received=second(-1))
    for n in range(0, 1200, 10):
        driver.opcua(A, [sample(n)])
    assert [row[1] for row in windows(driver)][:3] == [second(60), second(120), second(180)]
    assert len(windows(driver)) == 19
