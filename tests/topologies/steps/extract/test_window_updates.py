"""Windows that are told of before they close, samples that miss them, and too many of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models.records.features import EARLY
from models.records.heartbeat import State
from models.time import NS_PER_S
from tests.topologies.steps.feeding import Feed, Sample, play, second
from topologies.steps.extract import Window

FAR = second(10**6)


def test_updates_come_at_ticks_and_end_with_the_final_row() -> None:
    feed = Feed(Window(size="10s", emit="updates", every="4s", statistics=("sum",)))
    feed.samples([("x", second(1), 1.0), ("x", second(3), 1.0), ("y", second(3), 5.0)])
    assert [row["tag"] for row in feed.rows(feed.updates)] == ["x"]  # nothing was known before
    feed.samples([("x", second(4), 1.0), ("x", second(5), 1.0)])
    feed.samples([("x", second(9), 1.0)])
    feed.beat(20.0)
    assert [(row["tag"], row["sum"], row["revision"]) for row in feed.rows(feed.updates)[1:]] == [
        ("x", 3.0, 3),
        ("y", 5.0, 1),
        ("x", 5.0, 5),
    ]
    assert [(row["tag"], row["sum"], row["revision"]) for row in feed.rows()] == [
        ("x", 5.0, 6),
        ("y", 5.0, 2),
    ]
    assert all(record.final for record in feed.features)
    assert not any(record.final for record in feed.updates)


def test_a_window_that_is_told_of_at_its_end_is_told_of_once() -> None:
    feed = Feed(Window(size="10s", emit="updates", every="10s"))
    feed.samples([("x", second(1), 1.0)])
    feed.updates.clear()
    feed.samples([("x", second(2), 1.0), ("x", second(10), 1.0)])
    assert [row["end"] for row in feed.rows(feed.updates)] == [second(20)]
    assert [row["end"] for row in feed.rows()] == [second(10)]


def test_without_updates_rows_have_no_revision() -> None:
    feed = Feed(Window(size="10s"))
    feed.samples([("x", second(1), 1.0), ("x", second(11), 1.0)])
    assert "revision" not in feed.rows()[0]
    assert feed.updates == []


def test_late_samples_are_told_of_with_their_window() -> None:
    feed = Feed(Window(size="10s", grace="1s"))
    feed.samples([("x", second(2), 1.0), ("y", second(11), 2.0)])
    feed.samples([("x", second(3), 7.0), ("z", second(4), math.nan), ("y", second(12), 1.0)])
    x, z = feed.late_samples()
    assert x == ("x", second(3), 7.0, second(0), second(10))
    assert (z[0], z[3:]) == ("z", (second(0), second(10)))
    assert [record.window for record in feed.late] == ["window"]
    assert feed.counts["late"] == 2


def test_a_sample_late_for_some_windows_names_the_newest_of_them() -> None:
    feed = Feed(Window(size="30s", hop="10s"))
    feed.samples([("x", second(21), 1.0)])
    feed.samples([("x", second(5), 2.0), ("x", second(1000), 0.0)])
    feed.samples([("x", second(22), 3.0)])
    assert feed.late_samples() == [
        ("x", second(5), 2.0, second(-10), second(20)),
        ("x", second(22), 3.0, second(20), second(50)),
    ]
    assert [(row["end"], row["count"]) for row in feed.rows()[:3]] == [
        (second(30), 2),
        (second(40), 1),
        (second(50), 1),
    ]


def test_of_too_many_open_windows_the_oldest_closes_early() -> None:
    feed = Feed(Window(size="10s", most_open=3, statistics=("sum",)))
    feed.samples([("x", second(0), 1.0)])
    # While the source sends what it kept, time stands still and windows wait.
    feed.beat(0.0, State.BACKFILLING)
    for n in range(1, 6):
        feed.samples([("x", second(10 * n), float(n))])
    early = [(second(10), 1.0), (second(20), 1.0), (second(30), 2.0)]
    assert [(row["end"], row["sum"]) for row in feed.rows()] == early
    assert {row["partial"] for row in feed.rows()} == {EARLY}
    assert feed.counts == {"early": 3}
    # They stay closed.
    feed.samples([("x", second(22), 100.0), ("x", second(33), 1.0)])
    assert feed.late_samples() == [("x", second(22), 100.0, second(20), second(30))]
    feed.beat(1.0)
    feed.beat(1000.0)
    assert [(row["end"], row["sum"], row["partial"]) for row in feed.rows()[3:]] == [
        (second(40), 4.0, 0),
        (second(50), 4.0, 0),
        (second(60), 5.0, 0),
    ]
    feed.samples([("x", second(2000), 1.0)])
    assert len(feed.rows()) == 6
    assert not any("floor" in key for key in feed.state.values)


def test_more_windows_than_may_be_open_are_refused() -> None:
    with pytest.raises(ValidationError, match="longer hop"):
        Window(size="10s", hop="1s", most_open=9)


sample = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 30_000).map(lambda ms: second(ms / 1000)),
    st.floats(-1e3, 1e3),
    st.sampled_from([1, 1, 1, 4]),
)
scripts = st.lists(st.one_of(sample, sample, st.sampled_from([0.5, 3.0])), max_size=50)
steps = st.sampled_from(
    [
        Window(size="5s", emit="updates", every="2s"),
        Window(size="6s", hop="2s", grace="3s", emit="updates", every="1500ms"),
    ]
)


@settings(max_examples=80, deadline=None)
@given(steps, scripts, st.sets(st.integers(0, 50), max_size=10))
def test_updates_do_not_depend_on_the_split_and_converge(
    step: Window, script: list[Sample | float], cuts: set[int]
) -> None:
    whole_script: list[Sample | float] = [*script, 100.0]
    whole = play(Feed(step), whole_script, received=FAR)
    split = play(Feed(step), whole_script, cuts, received=FAR)
    plain = play(Feed(step.model_copy(update={"emit": "final"})), whole_script, received=FAR)
    assert repr(split.rows()) == repr(whole.rows())
    assert repr(split.rows(split.updates)) == repr(whole.rows(whole.updates))
    assert sorted(split.late_samples()) == sorted(whole.late_samples())
    told = [{k: v for k, v in row.items() if k != "revision"} for row in whole.rows()]
    assert repr(told) == repr(plain.rows())
    # What a store keeps, whatever the order in which rows reach it.
    final = {_id(row): row["revision"] for row in whole.rows()}
    for row in whole.rows(whole.updates):
        assert row["revision"] < final[_id(row)]
    revisions = [(*_id(row), row["revision"]) for row in whole.rows(whole.updates)]
    assert len(set(revisions)) == len(revisions)


def _id(row: dict[str, Any]) -> tuple[str, int]:
    return row["tag"], row["start"]


def test_updates_are_at_least_as_far_apart_as_declared() -> None:
    feed = Feed(Window(size="1m", emit="updates", every="10s"))
    for n in range(600):
        feed.samples([("x", second(n / 10), 1.0)])
    assert len(feed.rows(feed.updates)) == 1 + 5
    assert all(record.end[0] == second(0) + 60 * NS_PER_S for record in feed.updates)
