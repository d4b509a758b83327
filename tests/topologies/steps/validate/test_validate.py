"""What each test of validate does to samples that a user would look at."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from app.shells.driver import Driver
from models.catalogue import Asset, Catalogue, FlatLine, Knowledge, Range, Tag, Thresholds
from models.quality import FAIL, GOOD, MISSING, SUSPECT
from models.time import NS_PER_S
from tests.topologies.steps.feeding import Feed, second
from topologies.core import Input, Output, Topology
from topologies.core.step import Step
from topologies.steps.decode import OpcUa
from topologies.steps.extract import CountWindow
from topologies.steps.validate import TESTS, Qartod, explain


def known(**tags: Tag) -> Knowledge:
    return Knowledge(catalogue=Catalogue(assets={"a": Asset(tags=tags)}))


def make(*steps: Step, step: Qartod | None = None, **tags: Tag) -> Driver:
    topology = Topology(
        name="probe",
        inputs=(Input(source="opcua", decode=OpcUa()),),
        steps=steps or (step or Qartod(),),
        outputs=(Output(kind="readings"),),
    )
    return Driver(topology, known(**tags))


def flags(driver: Driver) -> list[tuple[str, float, int]]:
    return [(tag, (t - second(0)) / NS_PER_S, q) for _, tag, t, _, q in driver.readings()]


def reasons(driver: Driver) -> list[list[str]]:
    return [
        explain(int(bits))
        for block in driver.blocks()
        for bits in (block.why if block.why.size else np.zeros(len(block), int))
    ]


@pytest.mark.parametrize(
    ("policy", "expected", "dead"),
    [
        ("suspect", [("x", 0, GOOD), ("y", 0, SUSPECT)], 0),
        ("pass", [("x", 0, GOOD), ("y", 0, GOOD)], 0),
        ("drop", [("x", 0, GOOD)], 0),
        ("dead-letter", [], 1),
    ],
)
def test_a_tag_that_nobody_declared(
    policy: str, expected: list[tuple[str, float, int]], dead: int
) -> None:
    driver = make(step=Qartod(unknown_tag=policy), x=Tag())  # type: ignore[arg-type]
    driver.opcua("a", [("x", second(0), 1.0), ("y", second(0), 1.0)])
    assert flags(driver) == expected
    assert [("'y'" in letter.error or "y" in letter.error) for letter in driver.dead_letters()] == [
        True
    ] * dead
    assert driver.counts.get("dropped.unknown_tag", 0) == (policy == "drop")


def test_reasons_say_which_tests_failed() -> None:
    driver = make(x=Tag(gross_range=Range(high=10), rate_of_change=Thresholds(suspect=1)))
    driver.opcua("a", [("x", second(0), 5.0), ("x", second(1), 50.0), ("x", second(2), 50.0)])
    assert [q for *_, q in flags(driver)] == [GOOD, FAIL, FAIL]
    assert reasons(driver) == [[], ["gross_range", "rate_of_change"], ["gross_range"]]


def test_a_sample_from_the_future_fails_and_disturbs_nothing() -> None:
    driver = make(x=Tag(rate_of_change=Thresholds(suspect=1), max_gap="10s"))
    for n, t in enumerate((0, 1, 86400, 2, 3)):
        driver.opcua("a", [("x", second(t), float(n % 2))], received=second(n))
    assert flags(driver)[2] == ("x", 86400, FAIL)
    assert reasons(driver)[2] == ["future"]
    assert [q for *_, q in flags(driver)].count(GOOD) == 4


def test_repeats_are_dropped_and_contradictions_doubted() -> None:
    driver = make(x=Tag())
    driver.opcua("a", [("x", second(n), float(n)) for n in range(4)])
    driver.opcua("a", [("x", second(2), 2.0), ("x", second(3), 3.5), ("x", second(3), 3.5)])
    assert flags(driver)[4:] == [("x", 3, SUSPECT)]
    assert reasons(driver)[4] == ["duplicate"]
    assert driver.counts["duplicates"] == 2


def test_repeats_of_text_and_large_integers_are_told_apart() -> None:
    driver = make(x=Tag(), n=Tag())
    big = 2**60
    for _ in range(2):
        driver.opcua("a", [("x", second(0), "on"), ("n", second(0), big)])
    driver.opcua("a", [("x", second(0), "off"), ("n", second(0), big + 1)])
    assert [value for _, _, _, value, _ in driver.readings()] == ["on", big, "off", big + 1]
    assert driver.counts["duplicates"] == 2


def test_a_late_sample_is_judged_by_itself() -> None:
    driver = make(x=Tag(gross_range=Range(high=10), rate_of_change=Thresholds(suspect=1)))
    driver.opcua("a", [("x", second(10), 5.0), ("x", second(3), 9.0), ("x", second(11), 5.5)])
    driver.opcua("a", [("x", second(4), 20.0)])
    assert flags(driver) == [
        ("x", 10, GOOD), ("x", 3, GOOD), ("x", 11, GOOD), ("x", 4, FAIL)
    ]  # fmt: skip


def test_bad_values_are_no_neighbours() -> None:
    driver = make(x=Tag(rate_of_change=Thresholds(suspect=1)))
    driver.opcua("a", [("x", second(0), 5.0), ("x", second(1), 500.0, 0x80000000)])
    driver.opcua("a", [("x", second(2), 5.0), ("x", second(3), None), ("x", second(4), 5.0)])
    assert [q for *_, q in flags(driver)] == [GOOD, FAIL, GOOD, MISSING, GOOD]


def test_text_is_a_value() -> None:
    driver = make(x=Tag(gross_range=Range(low=0, high=1)))
    driver.opcua("a", [("x", second(0), "running"), ("x", second(1), None)])
    assert [q for *_, q in flags(driver)] == [GOOD, MISSING]


def test_a_stuck_sensor_is_seen_after_its_time_and_freed_when_it_moves() -> None:
    limit = FlatLine(tolerance=0.1, suspect="3s", fail="5s")
    driver = make(x=Tag(flat_line=limit))
    for n, value in enumerate([0, 1, 2, 2, 2, 2, 2, 2, 2, 5]):
        driver.opcua("a", [("x", second(n), float(value))])
    expected = [GOOD] * 5 + [SUSPECT] * 2 + [FAIL] * 2 + [GOOD]
    assert [q for *_, q in flags(driver)] == expected


def test_a_gap_is_failed_as_in_qartod_or_only_doubted() -> None:
    for policy, flag in (("fail", FAIL), ("suspect", SUSPECT)):
        driver = make(step=Qartod(gap_flag=policy), x=Tag(max_gap="5s"))  # type: ignore[arg-type]
        driver.opcua("a", [("x", second(n), 1.0 + n) for n in (0, 5, 11)])
        assert [q for *_, q in flags(driver)] == [GOOD, GOOD, flag]


def test_a_spike_waits_for_the_next_sample_and_is_flagged() -> None:
    driver = make(x=Tag(spike=Thresholds(suspect=2, fail=20)), y=Tag())
    driver.opcua("a", [("x", second(0), 1.0), ("y", second(0), 1.0)])
    assert flags(driver) == [("y", 0, GOOD)]
    driver.opcua("a", [("x", second(1), 50.0)])
    driver.opcua("a", [("x", second(2), 1.0), ("x", second(3), 1.0)])
    # The neighbours of a spike see it as well: |1 − (50 + 1) / 2| is over 20.
    assert flags(driver)[1:] == [("x", 0, GOOD), ("x", 1, FAIL), ("x", 2, FAIL)]
    assert reasons(driver)[2] == ["spike"]


def test_a_sample_that_waits_goes_on_with_a_heartbeat() -> None:
    driver = make(x=Tag(spike=Thresholds(suspect=2)))
    driver.opcua("a", [("x", second(0), 2**60 + 1)])
    driver.heartbeat("opcua", "a", "disconnected", elapsed="5s")
    assert flags(driver) == []
    driver.advance("opcua", "a", "5s")
    driver.advance("opcua", "a", "6s")
    assert [(t, v, q) for _, _, t, v, q in driver.readings()] == [(second(0), 2**60 + 1, GOOD)]


def test_a_heartbeat_that_moves_no_time_lets_nothing_go() -> None:
    driver = make(x=Tag(spike=Thresholds(fail=5)), y=Tag())
    driver.opcua("a", [("x", second(0), 1.0), ("x", second(1), 100.0), ("y", second(1.1), 1.0)])
    driver.heartbeat("opcua", "a", "disconnected", elapsed="1s")
    driver.opcua("a", [("x", second(2), 1.0)])
    assert [flag for flag in flags(driver) if flag[0] == "x"] == [("x", 0, GOOD), ("x", 1, FAIL)]
    # Of a link that stays broken, the sample that waits goes on in the end.
    driver.heartbeat("opcua", "a", "disconnected", elapsed="1d")
    assert [time for tag, time, _ in flags(driver) if tag == "x"] == [0, 1, 2]


def test_a_sample_does_not_wait_for_ever_when_only_other_tags_talk() -> None:
    driver = make(step=Qartod(spike_hold="10s"), x=Tag(spike=Thresholds(suspect=2)), y=Tag())
    driver.opcua("a", [("x", second(0), "open")])
    for n in (5, 10, 11, 12):
        driver.opcua("a", [("y", second(n), 1.0)])
    values = [(tag, value) for _, tag, _, value, _ in driver.readings()]
    assert values == [("y", 1.0), ("y", 1.0), ("y", 1.0), ("x", "open"), ("y", 1.0)] or (
        values.count(("x", "open")) == 1 and values.index(("x", "open")) >= 2
    )


def test_defaults_apply_where_the_catalogue_says_nothing() -> None:
    step = Qartod(gross_range=Range(low=0, high=10), unknown_tag="pass")
    driver = make(step=step, x=Tag(gross_range=Range(low=0, high=100)), y=Tag())
    driver.opcua("a", [(tag, second(0), 50.0) for tag in ("x", "y", "z")])
    assert flags(driver) == [("x", 0, GOOD), ("y", 0, FAIL), ("z", 0, FAIL)]


def test_arrays_that_come_in_are_not_written_to() -> None:
    feed = Feed(Qartod(), knowledge=known(x=Tag(spike=Thresholds(suspect=1)), y=Tag()))
    # Feed makes every array read-only.
    feed.samples([("x", second(0), 1.0), ("y", second(0), float("nan")), ("y", second(0), 1.0)])
    flow = feed.samples([("x", second(1), 9.0), ("y", second(9), 1.0), ("y", second(8), 2.0)])
    assert len(flow.block) == 3


def test_every_bit_has_a_name() -> None:
    assert explain(sum(TESTS.values())) == list(TESTS)
    assert explain(0) == []


def test_a_backlog_that_is_sent_again_among_newer_messages_counts_once() -> None:
    """A killed connector confirmed nothing: the broker sends all of it again, to new records."""
    driver = make(x=Tag(), y=Tag(spike=Thresholds(suspect=1e9)))

    def message(n: int) -> None:
        driver.opcua("a", [(tag, second(n + k / 10), n + k / 10) for tag in "xy" for k in range(5)])

    for n in range(200):
        message(n)
    for n in range(200):
        message(n)
        if n % 4 == 0:
            message(200 + n // 4)
    driver.crash()
    for n in range(200):
        message(n)
    driver.advance("opcua", "a", "1s")
    counted = Counter((tag, t, value) for _, tag, t, value, _ in driver.readings())
    assert set(counted.values()) == {1}
    assert len(counted) == 250 * 10
    assert driver.counts["duplicates"] == 400 * 10
    assert {q for *_, q in driver.readings()} == {GOOD}


def test_repeats_are_known_as_far_back_as_declared() -> None:
    driver = make(step=Qartod(repeats=600), x=Tag())
    for n in range(2000):
        driver.opcua("a", [("x", second(n), float(n))])
    kept = sum(map(len, driver.state("opcua", "a").values()))
    assert kept < 600 * 8 + 2 * 512 * 8 + 500, "old stamps are forgotten"
    driver.opcua("a", [("x", second(2000 - 600), 1400.0)])
    assert driver.counts["duplicates"] == 1
    driver.opcua("a", [("x", second(1000), 1000.0)])
    assert driver.counts["duplicates"] == 1
    assert len(driver.readings()) == 2001


def test_late_samples_do_not_push_out_newer_ones() -> None:
    driver = make(x=Tag())
    driver.opcua("a", [("x", second(n), float(n)) for n in range(1000, 1500)])
    for _ in range(3):
        driver.opcua("a", [("x", second(n), float(n)) for n in range(500)])
        driver.opcua("a", [("x", second(n), float(n)) for n in range(1000, 1500)])
    assert len(driver.readings()) == 1000
    assert driver.counts["duplicates"] == 2500


@pytest.mark.parametrize("policy", ["suspect", "pass"])
def test_made_up_tags_go_on_only_up_to_a_number(policy: str) -> None:
    step = Qartod(unknown_tag=policy, most_unknown=5, repeats=0)  # type: ignore[arg-type]
    driver = make(step, CountWindow(size=100), x=Tag(), late=Tag())
    for n in range(50):
        rows = [(f"made-up-{n}-{k}", second(n), 1.0) for k in range(10)]
        driver.opcua("a", [*rows, ("x", second(n), 1.0)])
    driver.opcua("a", [("more", second(50), 1.0)])
    driver.opcua("a", [("late", second(50), 1.0), ("made-up-0-2", second(50), 2.0)])
    assert len(driver.readings()) == 5 + 50 + 2
    assert driver.counts["dropped.unknown_tag"] == 500 - 5 + 1
    state = b"".join(driver.state("opcua", "a").values())
    assert [f"made-up-0-{k}".encode() in state for k in range(6)] == [True] * 5 + [False]
    assert b"made-up-1" not in state
    assert b"late" in state
    assert len(state) < 6000
    assert [(tag, q) for _, tag, _, _, q in driver.readings() if tag in ("x", "late")] == [
        *[("x", GOOD)] * 50, ("late", GOOD)
    ]  # fmt: skip
    assert driver.readings()[0][1] == "made-up-0-0"
    assert driver.readings()[0][-1] == (SUSPECT if policy == "suspect" else GOOD)


def test_dropped_tags_leave_nothing_behind() -> None:
    driver = make(Qartod(unknown_tag="drop"), CountWindow(size=100), x=Tag(), y=Tag())
    rows = [("made-up", second(0), "?"), ("y", second(0), "on"), ("x", second(0), 1.0)]
    driver.opcua("a", rows)
    driver.opcua("a", [("made-up", second(1), 1.0)])
    assert [reading[1:4:2] for reading in driver.readings()] == [("y", "on"), ("x", 1.0)]
    assert driver.blocks()[0].tags == ("y", "x")
    assert driver.counts["dropped.unknown_tag"] == 2
    assert not any(b"made-up" in value for value in driver.state("opcua", "a").values())


@pytest.mark.parametrize("policy", ["suspect", "drop"])
def test_tags_that_are_dropped_move_time_for_those_that_wait(policy: str) -> None:
    step = Qartod(unknown_tag=policy, most_unknown=0, spike_hold="10s")  # type: ignore[arg-type]
    driver = make(step, x=Tag(spike=Thresholds(suspect=2)))
    driver.opcua("a", [("x", second(0), 1.0)])
    driver.opcua("a", [("made-up", second(11), 1.0)])
    assert flags(driver) == [("x", 0, GOOD)]
