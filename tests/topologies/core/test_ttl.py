"""State of keys that have fallen silent."""

from __future__ import annotations

from app.shells.driver import Driver
from topologies.core import Input, Output, Topology
from topologies.steps import decode, detect, extract

S = 1_000_000_000
T0 = 1_700_000_000 * S


def driver(ttl: str | None) -> Driver:
    window = extract.Window(size="10s", grace="1s")
    unrest = detect.RobustZ(name="unrest", of="window", window=20, min_samples=5, state_ttl=ttl)
    made = Driver(
        Topology(
            name="line",
            inputs=(Input(source="opcua", decode=decode.OpcUa()),),
            steps=(window, unrest),
            outputs=(Output(kind="features"), Output(kind="anomalies")),
        )
    )
    for second in range(0, 60, 2):
        made.opcua("press", [("x", T0 + second * S, float(second % 7))])
        made.opcua("other", [("x", T0 + second * S, float(second % 7))])
    return made


def kept(made: Driver, asset: str) -> set[str]:
    return {name.partition("/")[0] for name in made.state("opcua", asset)}


def test_the_heartbeat_that_says_so_ends_it_after_its_windows_have_closed() -> None:
    made = driver("5m")
    made.advance("opcua", "press", "5m")
    assert kept(made, "press") == {"time", "unrest"}
    made.advance("opcua", "press", "5m1s")
    assert kept(made, "press") == {"time"}
    assert made.counts["expired.unrest"] > 0
    assert "unrest" in kept(made, "other")
    ends = [row["end"] for row in made.features() if row["asset"] == "press"]
    assert ends == [T0 + end * S for end in range(10, 61, 10)]


def test_it_ends_once_and_what_comes_after_begins_anew() -> None:
    made = driver("5m")
    made.advance("opcua", "press", "6m")
    gone = made.counts["expired.unrest"]
    made.advance("opcua", "press", "20m")
    assert made.counts["expired.unrest"] == gone
    for second in range(1800, 1860, 2):
        made.opcua("press", [("x", T0 + second * S, float(second % 7))])
    assert "unrest" in kept(made, "press")


def test_without_a_limit_or_a_heartbeat_it_stays() -> None:
    endless = driver(None)
    endless.advance("opcua", "press", "400d")
    assert "unrest" in kept(endless, "press")
    made = driver("5m")
    made.opcua("press", [("x", T0 + 7200 * S, 1.0)])  # late or not: data is no silence
    made.heartbeat("opcua", "press", "disconnected", received=T0 + 7600 * S)  # time is held
    assert "unrest" in kept(made, "press")
