"""Windows: what is in them, when they close, and that nothing else changes them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from models import quality
from models.records.heartbeat import State
from models.time import NS_PER_S
from tests.topologies.steps.extract import naive
from tests.topologies.steps.feeding import SKEW, Feed, Sample, play, second
from topologies.steps.extract import Window

FAR = second(10**6)


def test_a_tumbling_window_has_the_statistics_of_its_samples() -> None:
    feed = Feed(Window(size="10s", statistics=("mean", "std", "min", "max", "slope", "rms", "sum")))
    feed.samples([("x", second(0), 1.0), ("x", second(4), 3.0), ("x", second(8), 8.0)])
    assert feed.rows() == []
    feed.samples([("x", second(10), 0.0)])
    (row,) = feed.rows()
    assert (row["tag"], row["start"], row["end"]) == ("x", second(0), second(10))
    assert (row["count"], row["bad"]) == (3, 0)
    assert row["mean"] == pytest.approx(4.0, rel=1e-14)
    assert row["std"] == pytest.approx(math.sqrt(13.0), rel=1e-14)
    assert (row["min"], row["max"]) == (1.0, 8.0)
    assert row["slope"] == pytest.approx(28 / 32, rel=1e-14)
    assert row["rms"] == pytest.approx(math.sqrt(74 / 3), rel=1e-14)
    assert row["sum"] == pytest.approx(12.0, rel=1e-14)


def test_a_heartbeat_closes_the_last_window_once() -> None:
    feed = Feed(Window(size="10s", grace="2s"))
    feed.samples([("x", second(3), 1.0)])
    feed.beat(8.9)
    assert feed.rows() == []
    feed.beat(9.0)
    feed.beat(30.0)
    (row,) = feed.rows()
    assert (row["end"], row["count"], row["mean"]) == (second(10), 1, 1.0)
    assert math.isnan(row["std"])
    assert math.isnan(row["slope"])


def test_a_disconnected_connector_holds_its_windows() -> None:
    feed = Feed(Window(size="10s"))
    feed.samples([("x", second(3), 1.0)])
    feed.beat(60.0, State.DISCONNECTED)
    assert feed.rows() == []
    feed.samples([("x", second(5), 3.0), ("x", second(12), 9.0)])
    (row,) = feed.rows()
    assert (row["count"], row["mean"]) == (2, 2.0)


def test_late_samples_are_left_out_and_counted() -> None:
    feed = Feed(Window(size="10s", grace="5s"))
    feed.samples([("x", second(2), 1.0), ("x", second(14), 2.0)])
    feed.samples([("x", second(3), 5.0)])  # key time 14: within grace
    feed.samples([("x", second(15), 2.0)])  # closes the first window
    feed.samples([("x", second(9), 100.0)])
    assert feed.counts["late"] == 1
    (row,) = feed.rows()
    assert (row["count"], row["mean"]) == (2, 3.0)
    feed.beat(60.0)
    assert [(row["end"], row["count"]) for row in feed.rows()] == [(second(10), 2), (second(20), 2)]


def test_a_sample_late_within_one_record_is_late_too() -> None:
    feed = Feed(Window(size="10s"))
    feed.samples([("x", second(2), 1.0), ("y", second(10), 2.0), ("x", second(3), 5.0)])
    assert feed.counts["late"] == 1
    assert [(row["tag"], row["count"], row["mean"]) for row in feed.rows()] == [("x", 1, 1.0)]


def test_bad_samples_are_counted_and_left_out() -> None:
    feed = Feed(Window(size="10s"))
    feed.samples(
        [
            ("x", second(0), 1e9, quality.FAIL),
            ("x", second(1), 2.0),
            ("x", second(2), math.nan),
            ("x", second(3), math.inf),
            ("x", second(4), 4.0, quality.SUSPECT),
            ("y", second(5), 1.0, quality.MISSING),
        ]
    )
    feed.beat(60.0)
    x, y = feed.rows()
    assert (x["count"], x["bad"], x["mean"], x["min"], x["max"]) == (2, 3, 3.0, 2.0, 4.0)
    assert x["slope"] == pytest.approx(2 / 3, rel=1e-14)
    assert (y["count"], y["bad"]) == (0, 1)
    assert all(math.isnan(y[name]) for name in ("mean", "std", "min", "max", "slope"))


def test_hopping_windows_overlap() -> None:
    feed = Feed(Window(size="30s", hop="10s", statistics=("mean", "max")))
    feed.samples([("x", second(5), 1.0), ("x", second(15), 2.0), ("x", second(25), 6.0)])
    feed.beat(100.0)
    assert [
        (row["start"] - second(0), row["end"] - second(0), row["count"], row["mean"])
        for row in feed.rows()
    ] == [
        (-20 * NS_PER_S, 10 * NS_PER_S, 1, 1.0),
        (-10 * NS_PER_S, 20 * NS_PER_S, 2, 1.5),
        (0, 30 * NS_PER_S, 3, 3.0),
        (10 * NS_PER_S, 40 * NS_PER_S, 2, 4.0),
        (20 * NS_PER_S, 50 * NS_PER_S, 1, 6.0),
    ]


def test_a_sample_late_for_some_hopping_windows_counts_in_the_others() -> None:
    feed = Feed(Window(size="20s", hop="10s", statistics=("mean",)))
    feed.samples([("x", second(1), 1.0), ("x", second(11), 2.0), ("x", second(2), 6.0)])
    feed.beat(60.0)
    assert [(row["end"] - second(0), row["count"], row["mean"]) for row in feed.rows()] == [
        (10 * NS_PER_S, 1, 1.0),
        (20 * NS_PER_S, 3, 3.0),
        (30 * NS_PER_S, 1, 2.0),
    ]
    assert feed.counts["late"] == 1


def test_a_sample_from_the_future_opens_and_closes_nothing() -> None:
    feed = Feed(Window(size="10s"))
    feed.samples([("x", second(1), 1.0)])
    now = second(2)
    feed.samples([("x", now + SKEW + 1, 7.0), ("x", now, 3.0)], received=now)
    assert feed.rows() == []
    assert feed.counts["future"] == 1
    feed.beat(10.0)
    feed.beat(10**6)
    assert [(row["end"], row["mean"]) for row in feed.rows()] == [(second(10), 2.0)]


def test_only_tags_asked_for() -> None:
    feed = Feed(Window(size="10s", tags=("zone_*",)))
    feed.samples([("zone_1", second(1), 1.0), ("door", second(2), 0.0), ("zone_2", second(3), 2.0)])
    feed.beat(60.0)
    assert [row["tag"] for row in feed.rows()] == ["zone_1", "zone_2"]


def test_rows_are_ordered_by_end_and_tag_whichever_came_first() -> None:
    feed = Feed(Window(size="10s", grace="1m"))
    feed.samples([("b", second(11), 1.0)])
    feed.samples([("c", second(1), 1.0), ("a", second(12), 1.0)])
    feed.samples([("a", second(2), 1.0)])
    feed.beat(200.0)
    (record,) = feed.features
    assert [(row["end"] - second(0), row["tag"]) for row in feed.rows()] == [
        (10 * NS_PER_S, "a"),
        (10 * NS_PER_S, "c"),
        (20 * NS_PER_S, "a"),
        (20 * NS_PER_S, "b"),
    ]
    assert record.tags == ("a", "b", "c")


def test_times_around_1970_and_before() -> None:
    feed = Feed(Window(size="10s"))
    feed.samples([("x", -NS_PER_S, -1.0), ("x", 0, 5.0), ("x", NS_PER_S, 7.0)])
    feed.samples([("x", 2 * NS_PER_S, 9.0)])
    feed.beat(20.0)
    assert [(row["start"], row["count"], row["min"]) for row in feed.rows()] == [
        (-10 * NS_PER_S, 1, -1.0),
        (0, 3, 5.0),
    ]


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e12])
def test_equals_pandas_on_noise_with_an_offset(offset: float) -> None:
    random = np.random.default_rng(3)
    t = second(0) + np.sort(random.integers(0, 600 * NS_PER_S, 3000))
    v = offset + random.normal(0, 1, 3000)
    feed = Feed(Window(size="1m", statistics=("mean", "std", "min", "max", "rms", "slope")))
    for piece in np.array_split(np.arange(3000), 41):
        feed.samples([("x", int(t[i]), float(v[i])) for i in piece])
    feed.beat(3600.0)
    rows = pd.DataFrame(feed.rows()).set_index("start")
    frame = pd.DataFrame({"start": t - t % (60 * NS_PER_S), "t": t, "v": v}).groupby("start")
    expected = frame["v"].agg(["count", "mean", "min", "max"])
    assert (rows["count"] == expected["count"]).all()
    for name in ("mean", "min", "max"):
        np.testing.assert_allclose(rows[name], expected[name], rtol=1e-15, atol=1e-14)
    for start, part in frame:
        # Two passes over the differences to the offset, in extended precision.
        x = (part["v"].to_numpy() - offset).astype(np.longdouble)
        u = (part["t"].to_numpy() - start).astype(np.longdouble) / NS_PER_S
        row = rows.loc[start]
        assert row["std"] == pytest.approx(float(x.std(ddof=1)), rel=1e-12)
        slope = ((x - x.mean()) * (u - u.mean())).sum() / ((u - u.mean()) ** 2).sum()
        assert row["slope"] == pytest.approx(float(slope), rel=1e-9, abs=1e-12)
        full = part["v"].to_numpy().astype(np.longdouble)
        assert row["rms"] == pytest.approx(float(np.sqrt((full**2).mean())), rel=1e-13)


def test_a_long_hopping_window_over_many_tags_keeps_its_state_in_chunks() -> None:
    tags = [f"tag{n:03d}" for n in range(150)]
    feed = Feed(Window(size="1m", hop="1s", statistics=("mean",)))
    for n in range(60):
        feed.samples([(tag, second(n), float(n)) for tag in tags])
    assert sum(len(value) for value in feed.state.values.values()) > 500_000
    assert all(len(value) <= 256 * 1024 for value in feed.state.values.values())
    feed.beat(0.0 + 1)
    whole = [row for row in feed.rows() if row["end"] == second(60)]
    assert [(row["count"], row["mean"]) for row in whole] == [(60, 29.5)] * 150
    feed.beat(500.0)
    assert sum(len(value) for value in feed.state.values.values()) < 40_000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": "10s", "hop": "3s"}, "must divide"),
        ({"size": "10s", "statistics": ("mode",)}, "unknown statistics"),
        ({"size": "0s"}, "greater than 0"),
        ({"size": "1d", "hop": "1ms"}, "longer hop"),
    ],
)
def test_nonsense_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Window(**fields)


sample = st.tuples(
    st.sampled_from("abc"),
    st.integers(0, 40_000).map(lambda ms: second(ms / 1000)),
    st.floats(-1e3, 1e3).map(lambda v: 1e6 + v),
    st.sampled_from([1, 1, 1, 1, 3, 4]),
)
scripts = st.lists(
    st.one_of(sample, sample, sample, st.sampled_from([0.5, 3.0, 20.0])), max_size=60
)
windows = st.sampled_from(
    [
        Window(size="10s"),
        Window(size="10s", grace="7s"),
        Window(size="8s", hop="2s"),
        Window(size="6s", hop="2s", grace="3s"),
    ]
)


@settings(max_examples=120, deadline=None)
@given(windows, scripts, st.sets(st.integers(0, 60), max_size=12))
def test_the_split_into_records_changes_no_bit(
    step: Window, script: list[Sample | float], cuts: set[int]
) -> None:
    end: list[Sample | float] = [100.0, 1e5]
    whole = play(Feed(step), [*script, *end], received=FAR)
    split = play(Feed(step), [*script, *end], cuts, received=FAR)
    single = play(Feed(step), [*script, *end], range(80), received=FAR)
    for other in (split, single):
        assert other.counts == whole.counts
        assert repr(other.rows()) == repr(whole.rows())
    naive.same(whole.rows(), _naive(step, [*script, *end]))


def _naive(step: Window, script: list[Sample | float]) -> list[dict[str, object]]:
    """The same by the definition: one sample at a time, every window a list of samples."""
    hop = step.hop or step.size
    held: dict[tuple[int, str], list[naive.Point]] = {}
    rows: list[dict[str, object]] = []
    for clock, tag, point in naive.moments(script):
        for end, of in sorted(held):
            if end + step.grace <= clock:
                rows.append(naive.row(of, end - step.size, end, held.pop((end, of))))
        if point is None:
            continue
        first = point[0] // hop * hop + hop
        for end in range(first, first + step.size, hop):
            if end + step.grace > clock:
                held.setdefault((end, tag), []).append(point)
    return rows
