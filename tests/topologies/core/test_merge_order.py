"""Contributors of a merge that are silent, or gone, while others go on."""

from __future__ import annotations

from app.shells.driver import Driver
from models.time import NS_PER_S
from topologies.core import Input, Output, Topology
from topologies.steps import combine, decode, detect, extract

T0 = 1_700_000_040 * NS_PER_S


def silences(order: str) -> list[tuple[str, float]]:
    """(state, onset in seconds): "a" is silent but alive for 190 s, "b" for 400 s."""
    d = Driver(
        Topology(
            name="probe",
            inputs=(Input(source="opcua", decode=decode.OpcUa()),),
            steps=(
                combine.Merge(keys={"*": "k"}, expects=("a", "b")),
                detect.Silence(after="30s"),
            ),
            outputs=(Output(kind="anomalies"),),
        )
    )

    def reading(asset: str, second: int) -> None:
        d.opcua(asset, [("x", T0 + second * NS_PER_S, 1.0)])

    for asset in order:
        reading(asset, 0)
        if asset == "b":
            reading("b", 400)
            continue
        reading("a", 5)
        for second in range(10, 200, 10):
            d.heartbeat(
                "opcua", "a", "alive",
                elapsed=(second - 5) * NS_PER_S, received=T0 + second * NS_PER_S,
            )  # fmt: skip
    reading("a", 401)
    reading("b", 402)
    return [(found.state, (found.onset - T0) / NS_PER_S) for found in d.anomalies()]


def test_heartbeats_released_together_with_rows_are_not_data_either() -> None:
    assert silences("ba") == [("open", 35.0), ("closed", 35.0)]
    assert silences("ab") == silences("ba")


def test_windows_open_when_their_source_went_are_waited_for_by_default() -> None:
    d = Driver(
        Topology(
            name="probe",
            inputs=(Input(source="opcua", decode=decode.OpcUa()),),
            steps=(
                extract.Window(name="w", size="1m", statistics=("sum",)),
                combine.Merge(keys={"*": "k"}, of=("w",), expects=("a", "b")),
                combine.Aggregate(of="w", statistics=("sum", "contributors")),
            ),
            outputs=(Output(kind="features", of=("aggregate",)),),
        )
    )
    for second in (5, 30):
        for asset in "ab":
            d.opcua(asset, [("x", T0 + second * NS_PER_S, 1.0)])
    for second in range(60, 5400, 60):
        d.opcua("b", [("x", T0 + second * NS_PER_S, 1.0)])
        d.heartbeat(
            "opcua", "a", "disconnected",
            elapsed=(second - 30) * NS_PER_S, received=T0 + second * NS_PER_S,
        )  # fmt: skip
    first, second_window = d.features()[:2]
    assert (first["sum"], first["contributors"]) == (4.0, 2.0)
    assert (second_window["sum"], second_window["contributors"]) == (1.0, 1.0)
    assert "late.merge" not in d.counts
