"""Detectors: what is an anomaly, when it begins and ends, and what is said about it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from models import quality
from models.catalogue import Asset, Catalogue, Knowledge, Tag
from models.catalogue import Limits as TagLimits
from models.records.heartbeat import State
from tests.topologies.steps.feeding import SKEW, Feed, Sample, second
from topologies.core.state import Column, Columns, DictState, Memory, Overlay
from topologies.core.step import Kept, Step
from topologies.steps.detect import Ewma, IsolationForest, Limits, RobustZ, Silence
from topologies.steps.detect.forest import Forests
from topologies.steps.extract import Window

CROWN = Knowledge(
    catalogue=Catalogue(
        assets={
            "a": Asset(
                tags={
                    "crown": Tag(
                        unit="degC",
                        limits=TagLimits(low=1400, high=1600, high_high=1650, deadband=10),
                    ),
                    "door": Tag(),
                }
            )
        }
    )
)


def noise(size: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(1500, 2, size).tolist()


def crown(values: list[float], start: float = 0) -> list[Sample]:
    return [("crown", second(start + n), value) for n, value in enumerate(values)]


# ---------------------------------------------------------------- limits
def test_a_value_over_its_limit_is_one_anomaly_until_it_is_back_by_the_deadband() -> None:
    feed = Feed(Limits(), knowledge=CROWN)
    values = [1500.0, 1600.0, 1612.5, 1630.0, 1595.0, 1590.0, 1595.0]
    feed.samples(crown(values[:4]))
    (opened,) = feed.anomalies
    assert opened.id == f"limits/a/crown/{second(2)}"
    assert (opened.revision, opened.state, opened.onset, opened.end) == (0, "open", second(2), None)
    assert (opened.value, opened.score, opened.threshold) == (1612.5, 12.5, 0.0)
    assert (
        opened.why
        == "crown is 1612.5 degC, above its upper warning limit of 1600 degC by 12.5 degC"
    )
    feed.samples(crown(values[4:], start=4))
    closed = feed.anomalies[1]
    assert (closed.id, closed.revision, closed.state) == (opened.id, 1, "closed")
    assert (closed.onset, closed.end, closed.samples, closed.peak) == (
        second(2),
        second(4),
        3,
        30.0,
    )
    assert closed.why.startswith(opened.why)
    assert len(feed.anomalies) == 2


def test_limits_of_the_step_and_of_the_critical_level() -> None:
    feed = Feed(
        Limits(name="critical", level="critical"),
        Limits(name="own", low=0.0, deadband=0.0, tags=("door",)),
        knowledge=CROWN,
    )
    feed.samples([*crown([1620.0, 1651.0]), ("door", second(3), -1.0), ("lamp", second(3), -1.0)])
    assert [(a.detector, a.tag, a.value, a.score) for a in feed.anomalies] == [
        ("critical", "crown", 1651.0, 1.0),
        ("own", "door", -1.0, 1.0),
    ]
    assert "below its lower" in feed.anomalies[1].why


def test_bad_samples_neither_open_nor_close() -> None:
    feed = Feed(Limits(), knowledge=CROWN)
    feed.samples([("crown", second(0), 9999.0, quality.FAIL), ("crown", second(1), math.nan)])
    assert feed.anomalies == []
    feed.samples([("crown", second(2), 1700.0), ("crown", second(3), 1500.0, quality.FAIL)])
    assert [anomaly.state for anomaly in feed.anomalies] == ["open"]


# ---------------------------------------------------------------- ewma
def test_ewma_finds_a_spike_and_is_not_deafened_by_it() -> None:
    feed = Feed(Ewma(tau="5m", threshold=6.0), knowledge=CROWN)
    feed.samples(crown([*noise(200), 1560.0, *noise(20, 1), 1540.0, *noise(5, 2)]))
    assert [(a.onset, a.state) for a in feed.anomalies] == [
        (second(200), "open"),
        (second(200), "closed"),
        (second(221), "open"),
        (second(221), "closed"),
    ]
    first = feed.anomalies[0]
    assert first.score is not None
    assert 20 < first.score < 40
    assert first.threshold == 6.0
    assert "crown is 1560 degC" in first.why
    assert "its recent mean of 1" in first.why


def test_ewma_says_nothing_until_it_has_learnt() -> None:
    feed = Feed(Ewma(min_samples=50))
    feed.samples(crown([*noise(49), 9999.0]))
    assert feed.anomalies == []


@pytest.mark.parametrize(("learn", "closes"), [("clip", True), ("all", True), ("none", False)])
def test_a_lasting_new_level(learn: str, closes: bool) -> None:
    feed = Feed(Ewma(tau="60s", learn=learn))
    feed.samples(crown([*noise(300), *(v + 40 for v in noise(600, 1))]))
    assert feed.anomalies[0].onset == second(300)
    assert (len(feed.anomalies) > 1) == closes


def test_ewma_judges_a_statistic_of_windows() -> None:
    feed = Feed(Window(size="10s"), Ewma(of="window", statistic="std", min_samples=10, floor=0.1))
    random = np.random.default_rng(4)
    for n in range(400):
        wide = 20.0 if 300 <= n < 310 else 1.0
        feed.samples([("x", second(n), float(random.normal(0, wide)))])
    (opened, closed) = feed.anomalies
    assert (opened.onset, closed.end) == (second(310), second(310))
    assert (opened.tag, closed.samples) == ("x", 1)


def test_a_sample_from_the_future_is_not_judged_and_not_learnt() -> None:
    feed = Feed(Ewma())
    feed.samples(crown(noise(100)))
    now = second(100)
    feed.samples([("crown", now + SKEW + 1, 9e9)], received=now)
    assert feed.anomalies == []
    feed.samples([("crown", second(101), 1600.0)])
    assert [anomaly.onset for anomaly in feed.anomalies] == [second(101)]


# ---------------------------------------------------------------- robust z
def test_robust_z_finds_what_is_far_from_the_median() -> None:
    feed = Feed(RobustZ(window=40), knowledge=CROWN)
    values = noise(100)
    feed.samples(crown([*values, 1530.0, 1500.0]))
    (opened, closed) = feed.anomalies
    last = np.array(values[-40:])
    median = np.median(last)
    expected = 0.6745 * abs(1530 - median) / np.median(np.abs(last - median))
    assert opened.score == pytest.approx(expected, rel=1e-12)
    assert (opened.onset, closed.end, closed.revision) == (second(100), second(100), 1)
    assert f"median {median:.6g} degC" in opened.why


def test_robust_z_window_must_hold_its_warm_up() -> None:
    with pytest.raises(ValidationError, match="more than window"):
        RobustZ(window=10, min_samples=20)


def test_robust_z_takes_over_values_kept_by_the_first_version() -> None:
    """Until then a row was the last values as they came, NaN before the first."""
    step = RobustZ(window=5, min_samples=3)
    feed = Feed(step)
    feed.samples([("x", second(n), v) for n, v in enumerate([3.0, 1.0, 2.0])])
    old = DictState()
    overlay = Overlay(old)
    table = Memory(overlay, "").table(Columns(1, last=Column(np.float64, math.nan, 5)))
    row = table.rows(("x",))
    table["last"][row] = [math.nan, math.nan, 3.0, 1.0, 2.0]
    table.save()
    overlay.apply()
    before = Kept("robust_z", 1, {"of": "readings", "statistic": "mean", "window": 5})
    assert step.migrates(before)
    assert step.migrate(before, {"0": old.values["/0"]}) == {"0": feed.state.values["robust_z/0"]}


# ---------------------------------------------------------------- forest
def walk(feed: Feed, size: int, odd: int | None = None) -> None:
    """Ten seconds a window: pressure follows temperature, but for the odd window."""
    random = np.random.default_rng(9)
    for n in range(size):
        base = float(random.normal(0, 1))
        off = -2 * base + 8 if n == odd else base
        feed.samples(
            [
                ("temperature", second(10 * n + 2), 100 + base),
                ("pressure", second(10 * n + 5), 5 + off + float(random.normal(0, 0.1))),
            ]
        )
    feed.beat(100.0)


FOREST = IsolationForest(
    of="window", features=("temperature:mean", "pressure:mean"), train_on=100, trees=50, seed=3
)


def test_the_forest_learns_then_judges_vectors_as_scikit_learn_does() -> None:
    from sklearn.ensemble import IsolationForest as Reference

    feed = Feed(Window(size="10s"), FOREST)
    walk(feed, 150, odd=120)
    rows = feed.rows()
    vectors = np.array(
        [
            [row["mean"] for tag in ("temperature", "pressure") for row in rows
             if row["tag"] == tag and row["start"] == second(10 * n)]
            for n in range(150)
        ]
    )  # fmt: skip
    model = Reference(n_estimators=50, max_samples=100, random_state=3).fit(vectors[:100])
    scores = np.concatenate([one.score for one in feed.scores])
    assert np.isnan(scores[:100]).all()
    np.testing.assert_allclose(scores[100:], -model.score_samples(vectors[100:]), atol=1e-12)
    opened = next(anomaly for anomaly in feed.anomalies if anomaly.onset == second(1210))
    assert (opened.tag, opened.threshold) == ("temperature,pressure", 0.6)
    assert "pressure:mean" in opened.why


def test_the_forest_skips_incomplete_vectors() -> None:
    feed = Feed(Window(size="10s"), FOREST)
    feed.samples([("temperature", second(1), 1.0), ("other", second(1), 1.0)])
    feed.beat(100.0)
    assert feed.counts["incomplete"] == 1
    assert feed.anomalies == []


def test_growing_a_forest_is_counted() -> None:
    feed = Feed(Window(size="10s"), FOREST.model_copy(update={"trees": 3, "seed": 4711}))
    walk(feed, 110)
    assert feed.counts["forest.grown"] == 1


def test_forests_stay_in_memory_up_to_so_many_bytes() -> None:
    """More assets than there once was room for, each with a forest of its own."""
    random = np.random.default_rng(0)
    learnt = [random.normal(0, 1, (16, 2)).tobytes() for _ in range(80)]
    roomy = Forests(10**8)
    first = [roomy.of(rows, 2, 2, 16, 0) for rows in learnt]
    again = [roomy.of(rows, 2, 2, 16, 0) for rows in learnt]
    assert roomy.grown == 80
    assert all(one is other for one, other in zip(first, again, strict=True))
    tight = Forests(3 * (first[0].nbytes + len(learnt[0])))
    for rows in (*learnt[:2], *learnt[:2]):
        tight.of(rows, 2, 2, 16, 0)
    assert tight.grown == 2
    for rows in learnt:
        grown = tight.of(rows, 2, 2, 16, 0)
        assert grown.scores(np.ones((1, 2))) == roomy.of(rows, 2, 2, 16, 0).scores(np.ones((1, 2)))
    assert tight.grown >= 78
    tight.of(learnt[0], 2, 2, 16, 0)
    assert tight.grown >= 79


@pytest.mark.parametrize("name", ["temperature", ":mean", "temperature:"])
def test_a_forest_feature_names_tag_and_statistic(name: str) -> None:
    with pytest.raises(ValidationError, match="'<tag>:<statistic>'"):
        IsolationForest(of="window", features=(name,))


# ---------------------------------------------------------------- silence
def test_silence_opens_when_the_time_was_up_and_closes_with_data() -> None:
    feed = Feed(Silence(after="60s"))
    feed.samples([("x", second(0), 1.0)])
    feed.beat(59.0)
    feed.beat(60.0)
    assert feed.anomalies == []
    feed.beat(75.0)
    feed.beat(90.0, State.DISCONNECTED)
    (opened,) = feed.anomalies
    assert opened.id == f"silence/a/*/{second(60)}"
    assert (opened.value, opened.score, opened.threshold) == (75.0, 75.0, 60.0)
    assert opened.why == "nothing was heard of a for 1m15s (threshold 1m)"
    feed.samples([("x", second(100), 1.0)])
    closed = feed.anomalies[1]
    assert (closed.state, closed.end, closed.samples, closed.peak) == (
        "closed",
        second(90),
        2,
        90.0,
    )


def test_an_asset_never_heard_is_silent_since_its_first_heartbeat() -> None:
    feed = Feed(Silence(after="60s"))
    for at in (0, 30, 60, 61):
        feed.beat(None, State.DISCONNECTED, received=second(at))
    (opened,) = feed.anomalies
    assert (opened.onset, opened.score) == (second(60), 61.0)
    assert "never heard" not in opened.why
    assert "nothing was ever heard of a for 1m1s" in opened.why
    assert "disconnected" in opened.why


def test_silence_is_counted_from_the_data_where_the_connector_does_not_know() -> None:
    feed = Feed(Silence(after="60s"))
    feed.samples([("x", second(0), 1.0)], received=second(5))
    feed.beat(None, State.DISCONNECTED, received=second(66))
    assert [(a.onset, a.score) for a in feed.anomalies] == [(second(65), 61.0)]


# ---------------------------------------------------------------- all
def test_a_second_episode_of_the_same_time_goes_on_counting_revisions() -> None:
    feed = Feed(Limits(high=1.0))
    feed.samples([("x", second(0), 2.0), ("x", second(0), 0.0)])
    feed.samples([("x", second(0), 2.0), ("x", second(1), 0.0)])
    assert [(anomaly.revision, anomaly.state) for anomaly in feed.anomalies] == [
        (0, "open"),
        (1, "closed"),
        (2, "open"),
        (3, "closed"),
    ]
    assert len({anomaly.id for anomaly in feed.anomalies}) == 1


@pytest.mark.parametrize("step", [Ewma(), RobustZ(), Limits(high=1e9)])
def test_nothing_stays_in_state_of_tags_that_are_well_but_what_was_learnt(step: Step) -> None:
    feed = Feed(step)
    feed.samples(crown(noise(100)))
    assert not any(key.endswith("/open") for key in feed.state.values)
