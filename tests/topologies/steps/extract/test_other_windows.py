"""Sliding windows, sessions and windows of a number of samples."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models import quality
from models.records.features import EARLY
from models.time import MIN_NS, NS_PER_S
from tests.topologies.steps.extract import naive
from tests.topologies.steps.feeding import SKEW, Feed, Sample, play, second
from topologies.steps.extract import CountWindow, Session, Sliding, Window
from topologies.steps.extract.base import Windowed

FAR = second(10**6)


def brief(feed: Feed, *names: str) -> list[tuple[Any, ...]]:
    """Rows as tuples, times in seconds, sums rounded."""

    def short(row: dict[str, Any], name: str) -> Any:
        if name in ("start", "end"):
            return (row[name] - second(0)) / NS_PER_S
        return round(row[name], 9) if name == "sum" else row[name]

    return [tuple(short(row, name) for name in names) for row in feed.rows()]


def test_a_sliding_window_holds_what_came_before_each_sample() -> None:
    feed = Feed(Sliding(size="10s", statistics=("sum",)))
    feed.samples([("x", second(0), 1.0), ("x", second(4), 2.0), ("x", second(10), 4.0)])
    feed.samples([("x", second(11), 8.0), ("x", second(11), 16.0)])
    feed.beat(5.0)
    assert brief(feed, "start", "end", "count", "sum") == [
        (-10, 0, 1, 1.0),
        (-6, 4, 2, 3.0),
        (0, 10, 3, 7.0),
        (1, 11, 4, 30.0),
    ]


def test_a_sliding_window_waits_for_older_samples_within_grace() -> None:
    feed = Feed(Sliding(size="10s", grace="3s", statistics=("sum",)))
    feed.samples([("x", second(5), 1.0), ("x", second(8), 2.0), ("x", second(6), 4.0)])
    feed.samples([("x", second(9), 8.0), ("x", second(3), 16.0)])
    feed.beat(60.0)
    assert brief(feed, "end", "sum") == [(5, 1.0), (6, 21.0), (8, 23.0), (9, 31.0)]
    assert feed.late_samples() == [("x", second(3), 16.0, second(-7), second(3))]


def test_sliding_windows_are_thinned() -> None:
    feed = Feed(Sliding(size="10s", every="2s", statistics=("sum",)))
    feed.samples([("x", second(n / 2), 1.0) for n in range(13)])
    assert brief(feed, "end", "sum") == [(0, 1.0), (2, 5.0), (4, 9.0)]


def test_too_many_samples_for_a_sliding_window() -> None:
    feed = Feed(Sliding(size="10s", most_samples=3, statistics=("sum",)))
    for n in range(6):
        feed.samples([("x", second(n), 1.0)])
    feed.beat(1.0)
    assert brief(feed, "end", "sum", "partial")[2:] == [
        (2, 3.0, 0),
        (3, 3.0, EARLY),
        (4, 3.0, EARLY),
        (5, 3.0, EARLY),
    ]
    assert feed.counts["early"] == 3


@pytest.mark.parametrize("cuts", [(), range(20)], ids=["one record", "a record each"])
def test_too_many_samples_are_too_many_however_records_are_split(cuts: Any) -> None:
    step = Sliding(size="10s", most_samples=3, statistics=("sum",))
    feed = play(Feed(step), [("x", second(n), 1.0) for n in range(6)] + [1.0], cuts)
    assert brief(feed, "sum", "partial")[2:] == [(3.0, 0), (3.0, EARLY), (3.0, EARLY), (3.0, EARLY)]


@pytest.mark.parametrize("cuts", [(), range(20)], ids=["one record", "a record each"])
def test_a_sample_too_late_for_its_own_sliding_window_counts_in_others_alone(cuts: Any) -> None:
    feed = Feed(Sliding(size="3s", statistics=("sum",)))
    play(feed, [("x", second(0), 1.0), ("x", second(3.25), 2.0), ("x", second(0.25), 4.0)], cuts)
    feed.beat(60.0)
    assert brief(feed, "end", "sum") == [(0, 1.0), (3.25, 6.0)]
    assert feed.late_samples() == [("x", second(0.25), 4.0, second(-2.75), second(0.25))]


def test_a_session_ends_with_a_silence() -> None:
    feed = Feed(Session(gap="5s", grace="1s", statistics=("sum",)))
    feed.samples([("x", second(0), 1.0), ("x", second(4), 2.0), ("x", second(9), 4.0)])
    assert feed.rows() == []
    feed.samples([("y", second(10), 1.0)])
    assert brief(feed, "tag", "start", "end", "sum") == [("x", 0, 9, 3.0)]
    feed.beat(60.0)
    assert brief(feed, "tag", "start", "end", "sum")[1:] == [
        ("x", 9, 14, 4.0),
        ("y", 10, 15, 1.0),
    ]


def test_a_sample_in_between_joins_sessions() -> None:
    feed = Feed(Session(gap="5s", grace="10s", statistics=("sum", "slope")))
    feed.samples([("x", second(0), 1.0), ("x", second(8), 9.0), ("x", second(4), 5.0)])
    feed.beat(60.0)
    (row,) = feed.rows()
    assert (row["start"], row["end"], row["sum"]) == (second(0), second(13), 15.0)
    assert row["slope"] == pytest.approx(1.0, rel=1e-14)


def test_a_session_is_cut_at_its_greatest_length() -> None:
    feed = Feed(Session(gap="5s", longest="10s", statistics=("sum",)))
    feed.samples([("x", second(n), 1.0) for n in range(25)])
    feed.beat(60.0)
    assert brief(feed, "start", "end", "sum") == [(0, 10, 10.0), (10, 20, 10.0), (20, 29, 5.0)]


def test_of_too_many_open_sessions_the_oldest_closes_early() -> None:
    feed = Feed(Session(gap="1s", grace="1m", most_open=2, statistics=("sum",)))
    feed.samples([("x", second(10 * n), float(n)) for n in range(4)])
    assert brief(feed, "start", "sum", "partial") == [(0, 0.0, EARLY), (10, 1.0, EARLY)]
    assert feed.counts["early"] == 2
    feed.beat(200.0)
    assert brief(feed, "start", "partial")[2:] == [(20, 0), (30, 0)]


def test_a_sample_of_no_open_session_is_late() -> None:
    feed = Feed(Session(gap="5s"))
    feed.samples([("x", second(0), 1.0), ("y", second(20), 1.0), ("x", second(14), 3.0)])
    feed.samples([("x", second(16), 3.0)])
    assert feed.late_samples() == [("x", second(14), 3.0, second(14), second(19))]


def test_windows_of_a_number_of_samples() -> None:
    feed = Feed(CountWindow(size=3, statistics=("sum", "max")))
    feed.samples([("x", second(0), 1.0), ("y", second(0), 7.0), ("x", second(2), 5.0)])
    feed.samples([("x", second(3), 9.0, quality.FAIL), ("x", second(1), 2.0), ("x", second(9), 0)])
    assert brief(feed, "tag", "start", "end", "count", "bad", "sum", "max") == [
        ("x", 0, 3, 3, 1, 8.0, 5.0)
    ]


def test_hopping_windows_of_a_number_of_samples() -> None:
    feed = Feed(CountWindow(size=4, hop=2, statistics=("sum",)))
    for n in range(9):
        feed.samples([("x", second(n), float(n))])
    assert brief(feed, "start", "end", "sum") == [(0, 3, 6.0), (2, 5, 14.0), (4, 7, 22.0)]


def test_a_sample_older_than_a_full_window_is_late() -> None:
    feed = Feed(CountWindow(size=2))
    feed.samples([("x", second(0), 1.0), ("x", second(5), 1.0), ("x", second(3), 8.0)])
    assert feed.late_samples() == [("x", second(3), 8.0, second(0), second(5))]
    assert feed.counts == {"late": 1}


@pytest.mark.parametrize(
    "step", [Sliding(size="10s"), Session(gap="5s"), CountWindow(size=1)], ids=lambda s: s.kind
)
def test_a_sample_from_the_future_opens_and_closes_nothing(step: Any) -> None:
    feed = Feed(step)
    now = second(2)
    feed.samples([("x", now + SKEW + 1, 7.0), ("x", now, 3.0)], received=now)
    feed.beat(10.0)
    assert [(row["count"], row["mean"]) for row in feed.rows()] == [(1, 3.0)]
    assert feed.counts == {"future": 1}


@pytest.mark.parametrize(
    "step", [Sliding(size="10s"), Session(gap="5s"), CountWindow(size=1)], ids=lambda s: s.kind
)
def test_only_tags_asked_for(step: Any) -> None:
    feed = Feed(step.model_copy(update={"tags": ("x*",)}))
    feed.samples([("y", second(1), 7.0), ("x1", second(1), 3.0), ("x2", second(2), 3.0)])
    feed.beat(100.0)
    assert {row["tag"] for row in feed.rows()} == {"x1", "x2"}


def test_state_of_silent_tags_is_small() -> None:
    feed = Feed(Sliding(size="1m"))
    for n in range(200):
        feed.samples([(f"x{k}", second(n), 1.0) for k in range(20)])
    assert sum(map(len, feed.state.values.values())) > 20 * 60 * 17
    feed.beat(1000.0)
    assert sum(map(len, feed.state.values.values())) < 20 * 60


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Session, {"gap": "10s", "longest": "3s"}, "less than the gap"),
        (CountWindow, {"size": 10, "hop": 3}, "must divide"),
        (CountWindow, {"size": 1000, "hop": 1}, "at most 100"),
        (Sliding, {"size": "1s", "statistics": ("mode",)}, "unknown statistics"),
    ],
)
def test_nonsense_is_refused(kind: Any, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**fields)


sample = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 80).map(lambda quarter: second(quarter / 4)),
    st.floats(-1e3, 1e3).map(lambda v: 1e5 + v),
    st.sampled_from([1, 1, 1, 4]),
)
scripts = st.lists(st.one_of(sample, sample, sample, st.sampled_from([0.5, 3.0, 8.0])), max_size=50)
S = NS_PER_S


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [
            (Sliding(size="3s"), lambda s: naive.sliding(s, 3 * S, 0)),
            (Sliding(size="4s", grace="2s"), lambda s: naive.sliding(s, 4 * S, 2 * S)),
            (
                Session(gap="2s", longest="6s", most_open=64),
                lambda s: naive.sessions(s, 2 * S, 6 * S, 0),
            ),
            (
                Session(gap="1s", longest="4s", grace="5s", most_open=64),
                lambda s: naive.sessions(s, S, 4 * S, 5 * S),
            ),
            (CountWindow(size=3), lambda s: naive.counts(s, 3, 3)),
            (CountWindow(size=6, hop=2), lambda s: naive.counts(s, 6, 2)),
        ]
    ),
    scripts,
    st.sets(st.integers(0, 50), max_size=10),
)
def test_windows_are_those_of_their_definition_however_records_are_split(
    pair: tuple[Any, Any], script: list[Sample | float], cuts: set[int]
) -> None:
    step, definition = pair
    full: list[Sample | float] = [*script, 100.0, 1e5]
    whole = play(Feed(step), full, received=FAR)
    for other in (cuts, range(80)):
        split = play(Feed(step), full, other, received=FAR)
        assert repr(_ordered(split)) == repr(_ordered(whole))
        assert split.counts == whole.counts
        assert sorted(split.late_samples()) == sorted(whole.late_samples())
    rows, late = definition(full)
    naive.same(whole.rows(), rows)
    assert whole.counts.get("late", 0) == late


def _ordered(feed: Feed) -> list[dict[str, Any]]:
    """Rows of one record are in order of their ends; those of several are as they came."""
    return sorted(feed.rows(), key=lambda row: (row["tag"], row["end"], row["start"]))


@pytest.mark.parametrize("cuts", [(), range(9)], ids=["one record", "a record each"])
@pytest.mark.parametrize("old", [MIN_NS, MIN_NS + 1, MIN_NS + 10**18])
@pytest.mark.parametrize(
    "step",
    [
        Window(size="10s", statistics=("sum",)),
        Window(size="60s", hop="20s", grace="5s", statistics=("sum",)),
        Window(size="10s", emit="updates", statistics=("sum",)),
        Sliding(size="10s", statistics=("sum",)),
        Sliding(size="10s", grace="3s", statistics=("sum",)),
        Session(gap="10s", statistics=("sum",)),
        CountWindow(size=2, statistics=("sum",)),
    ],
    ids=lambda step: f"{step.kind} {step.summary}",
)
def test_times_at_the_beginning_of_int64_spoil_no_window(
    step: Windowed, old: int, cuts: Any
) -> None:
    """A row of others is as it is without them."""
    some: list[Any] = [("x", second(n), float(n)) for n in range(1, 5)]
    clean = play(Feed(step), [*some, 200.0], cuts, received=second(5))
    ancient = [("x", old, 100.0), ("x", old + 1, 100.0)]
    spoilt = play(
        Feed(step), [*ancient, *some[:2], ancient[0], *some[2:], 200.0], cuts,
        received=second(5),
    )  # fmt: skip
    assert spoilt.rows() == clean.rows() != []
    assert spoilt.rows(spoilt.updates) == clean.rows(clean.updates)
    assert spoilt.late_samples() == []
    assert spoilt.counts == clean.counts | {"too_old": 3}
