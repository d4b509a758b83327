"""A record takes effect whole or not at all, and nothing a record holds stops the stream."""

from __future__ import annotations

import pytest

from app.shells.driver import Driver
from models.catalogue import Asset, Catalogue, Knowledge, Tag
from models.errors import ConfigError, StepFailed
from models.records import headers, heartbeat
from models.records.heartbeat import Heartbeat, State
from models.time import NS_PER_S
from tests.topologies.core.steps_for_tests import FailOver, Plain, Shout, Total
from topologies.core import Input, Output, Topology
from topologies.core.step import Step
from topologies.steps import detect, extract, transform

T0 = 1_700_000_000 * NS_PER_S


def make(*steps: Step, assets: tuple[str, ...] = ("*",), **fields: object) -> Topology:
    return Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=Plain(), assets=assets),),
        steps=steps,
        outputs=(Output(kind="readings"), Output(kind="alarms")),
        **fields,
    )


def second(n: float) -> int:
    return T0 + int(n * NS_PER_S)


def values(driver: Driver) -> list[float]:
    return [reading[3] for reading in driver.readings()]


def test_a_failing_record_leaves_state_and_outputs_as_they_were() -> None:
    driver = Driver(make(Total(), FailOver(limit=100)))
    driver.opcua("a", [("x", second(0), 1.0)])
    before = driver.state("opcua", "a")
    driver.opcua("a", [("x", second(1), 5.0), ("x", second(2), 500.0)])
    assert driver.state("opcua", "a") == before
    driver.opcua("a", [("x", second(3), 2.0)])
    assert values(driver) == [1.0, 3.0]


def test_a_dead_letter_has_bytes_reason_and_address() -> None:
    driver = Driver(make(FailOver(name="guard", limit=1)))
    driver.opcua("a", [("x", second(0), 7.0)])
    driver.raw("opcua", b"a", b"\x00not json", {headers.SCHEMA: b"raw-opcua/1"}, timestamp_ms=5)
    step, malformed = driver.dead_letters()
    assert (step.step, step.reason, step.topology) == ("guard", "step", "probe")
    assert "over 1" in step.error
    assert (malformed.step, malformed.reason) == ("decode", "malformed")
    assert (malformed.topic, malformed.partition, malformed.offset) == ("raw.opcua", 0, 1)
    assert (malformed.key, malformed.value) == (b"a", b"\x00not json")
    assert malformed.headers == {"schema": b"raw-opcua/1"}
    assert driver.counts["dead.malformed"] == driver.counts["dead.step"] == 1


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"a\nb", b"x" * 600])
def test_a_record_without_a_usable_key_is_a_dead_letter(key: bytes | None) -> None:
    driver = Driver(make())
    driver.raw("opcua", key, b"{}", {headers.SCHEMA: b"raw-opcua/1"})
    (letter,) = driver.dead_letters()
    assert (letter.reason, letter.key) == ("malformed", key)
    assert "key" in letter.error


def test_the_skip_policy_drops_and_counts() -> None:
    driver = Driver(make(Total(), FailOver(limit=1, on_error="skip")))
    driver.opcua("a", [("x", second(0), 7.0)])
    driver.opcua("a", [("x", second(1), 1.0)])
    assert (values(driver), driver.dead_letters()) == ([1.0], [])
    assert driver.counts["skipped.fail_over"] == 1


def test_the_fail_policy_stops_and_says_where() -> None:
    driver = Driver(make(FailOver(limit=1, on_error="fail")))
    with pytest.raises(StepFailed, match=r"'fail_over' of probe failed on raw.opcua\[0\]@0"):
        driver.opcua("a", [("x", second(0), 7.0)])


def test_an_output_too_large_is_a_dead_letter_without_state() -> None:
    driver = Driver(make(Shout(length=1), max_record_bytes=4096))
    driver.opcua("a", [("x", second(0), 10.0), ("x", second(1), 5000.0)])
    (letter,) = driver.dead_letters()
    assert (letter.reason, letter.step) == ("too-large", "output")
    assert driver.state("opcua", "a") == {}
    assert driver.alarms() == []
    driver.opcua("a", [("x", second(2), 10.0)])
    assert len(driver.alarms()) == 1


def test_assets_of_others_are_skipped_and_counted() -> None:
    driver = Driver(make(assets=("glass/*", "lehr")))
    for asset in ("glass/furnace", "factory/press", "lehr"):
        driver.opcua(asset, [("x", second(0), 1.0)])
    assert [reading[0] for reading in driver.readings()] == ["glass/furnace", "lehr"]
    assert driver.counts["skipped.asset"] == 1


def test_keys_do_not_share_state() -> None:
    driver = Driver(make(Total()))
    for n, asset in enumerate(("a", "b", "a", "b")):
        driver.opcua(asset, [("x", second(n), 10.0**n)])
    assert values(driver) == [1.0, 10.0, 101.0, 1010.0]


def test_two_steps_of_one_kind_keep_their_state_apart() -> None:
    driver = Driver(make(Total(name="first"), Total(name="second")))
    for n in range(3):
        driver.opcua("a", [("x", second(n), 1.0)])
    assert values(driver) == [1.0, 3.0, 6.0]


def test_a_crash_repeats_what_was_not_committed() -> None:
    calm, shaken = (Driver(make(Total()), commit_every=4) for _ in range(2))
    for n in range(11):
        for driver in (calm, shaken):
            driver.opcua("a", [("x", second(n), float(n))])
        if n in (2, 3, 9):
            shaken.crash()
    assert shaken.emissions == calm.emissions
    assert shaken.state("opcua", "a") == calm.state("opcua", "a")


def test_time_moves_by_data_and_live_heartbeats_only() -> None:
    driver = Driver(make())
    driver.opcua("a", [("x", second(10), 1.0), ("x", second(4), 1.0)])
    assert driver.time("opcua", "a").now == second(10)
    driver.heartbeat("opcua", "a", "disconnected", elapsed="30s")
    assert driver.time("opcua", "a").now == second(10)
    assert driver.time("opcua", "a").state is State.DISCONNECTED
    driver.advance("opcua", "a", "20s")
    assert driver.time("opcua", "a").now == second(30)
    assert driver.time("opcua", "a").data == second(10)
    driver.advance("opcua", "a", "5s")
    assert driver.time("opcua", "a").now == second(30), "time never goes back"


def test_a_sample_from_the_future_moves_no_time() -> None:
    driver = Driver(make(max_future_skew="1m"))
    driver.opcua("a", [("x", second(0), 1.0), ("x", second(86400), 1.0)], received=second(1))
    assert driver.time("opcua", "a").now == second(0)
    assert len(driver.readings()) == 2


def test_time_of_a_recording_moves_along_its_own_line() -> None:
    driver = Driver(make())
    now = second(10**8)
    driver.opcua("a", [("x", second(0), 1.0)], received=now)
    driver.heartbeat("opcua", "a", elapsed="5s", received=now + 5 * NS_PER_S)
    assert driver.time("opcua", "a").now == second(5)


def test_a_heartbeat_of_another_asset_is_refused() -> None:
    driver = Driver(make())
    value = heartbeat.encode(Heartbeat("b", State.ALIVE, T0, T0, 0))
    driver.raw("opcua", b"a", value, {headers.SCHEMA: b"heartbeat/1"})
    assert "'b' under the key 'a'" in driver.dead_letters()[0].error


def test_outputs_carry_schema_and_event_id() -> None:
    driver = Driver(make())
    (emission,) = driver.opcua("a", [("x", second(0), 1.0)])
    assert emission.headers[headers.SCHEMA] == b"block/1"
    assert emission.headers[headers.EVENT_ID] == b"raw.opcua:0:0"


def test_exact_values_pass_through() -> None:
    driver = Driver(make())
    given = [2**63, -(2**60) - 1, float("nan"), float("-inf"), "on", True, None, [1, 2]]
    driver.opcua("a", [("x", second(n), value) for n, value in enumerate(given)])
    got = values(driver)
    assert got[2] != got[2]
    assert [*got[:2], *got[3:]] == [*given[:2], *given[3:]]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"guard": {"limt": 3}}, ["topologies.probe.steps.guard.limt", "limit"]),
        ({"gard": {"limit": 3}}, ["topologies.probe.steps.gard", "guard"]),
        ({"guard": {"limit": "x"}}, ["topologies.probe.steps.guard.limit", "'x'", "number"]),
        ({"guard": {"on_error": "shrug"}}, ["on_error", "'shrug'", "'dead-letter'"]),
    ],
)
def test_a_wrong_override_names_file_field_value_and_what_is_allowed(
    overrides: dict[str, dict[str, object]], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(FailOver(name="guard")).with_overrides(overrides, file="plantstream.toml")
    for word in ["plantstream.toml", *words]:
        assert word in str(caught.value)


def test_overrides_change_what_runs() -> None:
    topology = make(FailOver(name="guard", limit=1)).with_overrides({"guard": {"limit": 50}})
    driver = Driver(topology)
    driver.opcua("a", [("x", second(0), 7.0)])
    assert values(driver) == [7.0]


def test_contradictions_are_refused_when_declared() -> None:
    with pytest.raises(ValueError, match="two steps are called 'total'"):
        make(Total(), Total())
    with pytest.raises(ValueError, match="called 'time'"):
        make(Total(name="time"))


def test_a_detector_of_a_statistic_that_no_window_makes_is_refused() -> None:
    with pytest.raises(ValueError, match="'skew' of 'window', which makes mean, std"):
        make(
            extract.Window(size="10s", statistics=("mean", "std")),
            detect.Ewma(of="window", statistic="skew"),
        )


def test_thousands_of_windows_closed_at_once_are_several_records() -> None:
    topology = Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=Plain()),),
        steps=(extract.Window(size="10s"),),
        outputs=(Output(kind="features"),),
    )
    driver = Driver(topology)
    for low in range(0, 6000, 500):
        driver.opcua("a", [(f"tag-{n:05d}", second(1), 1.0) for n in range(low, low + 500)])
    emitted = driver.advance("opcua", "a", "1m")
    assert [row["tag"] for row in driver.features()] == [f"tag-{n:05d}" for n in range(6000)]
    assert len(emitted) == 6
    assert driver.dead_letters() == []


def test_steps_that_do_not_fit_the_catalogue_are_no_fault_of_the_record() -> None:
    tag = Tag(unit="Pa", source_unit="degC")
    known = Knowledge(catalogue=Catalogue(assets={"a": Asset(tags={"x": tag})}))
    driver = Driver(make(transform.Scale()), known)
    with pytest.raises(ConfigError, match="cannot be converted"):
        driver.opcua("a", [("x", second(0), 1.0)])
    assert driver.emissions == []
