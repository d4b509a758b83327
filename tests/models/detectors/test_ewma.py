"""EWMA: the recursion in closed form, and what it makes of gaps, steps and outliers."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detectors import ewma
from models.time import NS_PER_S

T0 = 1_700_000_000 * NS_PER_S


def judged(
    x: np.ndarray,
    t: np.ndarray,
    *,
    state: ewma.Ewma | None = None,
    usable: np.ndarray | None = None,
    tau: int = 60,
    minimum: int = 5,
    floor: float = 0.0,
    threshold: float = 1e9,
    learn: int = ewma.ALL,
) -> ewma.Judged:
    """What is said of samples of one signal; ``tau`` in seconds."""
    said = ewma.Judged.of(x.size)
    ewma.judge(
        np.zeros(x.size, np.intp), x, t, np.ones(x.size, bool) if usable is None else usable,
        *(state or ewma.fresh(1)), tau * NS_PER_S, minimum, floor, threshold, learn, *said,
    )  # fmt: skip
    return said


def seconds(size: int) -> np.ndarray:
    return T0 + np.arange(size) * NS_PER_S


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(ewma).failed == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.sampled_from([1, 30, 3600]),
    st.sampled_from([0.0, 1e9]),
    st.floats(0.3, 1.0),
)
def test_mean_and_variance_are_the_weighted_ones_of_all_before(
    seed: int, size: int, tau: int, offset: float, share: float
) -> None:
    """The weights written out: α of each sample times (1 − α) of all that came after it."""
    random = np.random.default_rng(seed)
    x = offset + random.normal(0, 1, size).cumsum()
    # Irregular, sometimes backwards, sometimes with a gap of many tau.
    gaps = random.choice([0, 1, 2, -3, 40_000], size, p=[0.1, 0.5, 0.3, 0.09, 0.01])
    t = T0 + (gaps * NS_PER_S).cumsum()
    usable = random.random(size) < share
    said = judged(x, t, usable=usable, tau=tau)
    assert np.isnan(said.mean[~usable]).all()
    assert np.isnan(said.score[~usable]).all()
    taught, times = x[usable], t[usable]
    newest = np.maximum.accumulate(times) if times.size else times
    step = np.diff(newest, prepend=newest[:1]) / (tau * NS_PER_S)
    alpha = np.maximum(1 / np.arange(1, times.size + 1), np.minimum(1 - np.exp(-step), 1 / 5))
    weight = np.empty(0)
    for i, now in enumerate(alpha):
        if i:
            mean = float(weight @ taught[:i])
            assert said.mean[usable][i] == pytest.approx(mean, rel=1e-12, abs=1e-9)
            spread = float(weight @ (taught[:i] - mean) ** 2)
            assert said.var[usable][i] == pytest.approx(
                spread, rel=1e-6 if offset else 1e-9, abs=1e-12
            )
        weight = np.append(weight * (1 - now), now)


def test_signals_are_judged_apart() -> None:
    random = np.random.default_rng(3)
    x, t = random.normal(0, 1, (3, 200)), seconds(200)
    said, state = ewma.Judged.of(600), ewma.fresh(3)
    ewma.judge(
        np.tile(np.arange(3), 200), x.T.ravel(), t.repeat(3), np.ones(600, bool), *state,
        60 * NS_PER_S, 5, 0.0, 3.0, ewma.CLIP, *said,
    )  # fmt: skip
    for g in range(3):
        alone = judged(x[g], t, threshold=3.0, learn=ewma.CLIP)
        assert said.score[g::3].tobytes() == alone.score.tobytes()


def test_even_sampling_equals_pandas_once_warmed_up() -> None:
    x = np.random.default_rng(5).normal(20, 3, 4000)
    said = judged(x, seconds(4000), minimum=10)
    alpha = -math.expm1(-1 / 60)
    series = pd.Series(x).ewm(alpha=alpha, adjust=False)
    np.testing.assert_allclose(said.mean[2001:], series.mean().to_numpy()[2000:-1], rtol=1e-9)
    variance = series.var(bias=True).to_numpy()[2000:-1]
    np.testing.assert_allclose(said.var[2001:], variance, rtol=1e-6)


def test_a_gap_does_not_make_the_next_sample_an_anomaly() -> None:
    x = np.append(np.random.default_rng(1).normal(0, 1, 500), [1.0, 1.2])
    t = seconds(502)
    t[500:] += 10**6 * NS_PER_S
    assert judged(x, t, tau=30, minimum=20).score[500:].max() < 3


def test_a_constant_signal_scores_nothing_and_its_first_step_the_cap() -> None:
    x = np.append(np.full(100, 0.1), 0.2)
    assert judged(x[:100], seconds(100), tau=1).score.max() == 0
    assert judged(x, seconds(101), tau=1).score[100] == ewma.CAP
    assert judged(x, seconds(101), tau=1, floor=0.05).score[100] == pytest.approx(2.0)


def test_nothing_is_judged_before_enough_was_learnt() -> None:
    x = np.append(np.tile([0.0, 1.0], 10), 50.0)
    for minimum, known in ((20, True), (21, False)):
        said = judged(x, seconds(21), minimum=minimum, threshold=3.0)
        assert (bool(said.judged[20]), bool(said.active[20])) == (known, known)


@pytest.mark.parametrize(
    ("learn", "moved"), [(ewma.CLIP, 0.02), (ewma.NOTHING, 0.0), (ewma.ALL, 1e4)]
)
def test_what_an_outlier_teaches(learn: int, moved: float) -> None:
    x = np.append(np.tile([0.0, 1.0], 50), 1e6)
    state = ewma.fresh(1)
    said = judged(x, seconds(101), state=state, tau=100, minimum=10, threshold=4.0, learn=learn)
    assert said.active.tolist() == [False] * 100 + [True]
    assert state.mean[0] - said.mean[-1] == pytest.approx(moved, rel=0.02, abs=0.001)


@pytest.mark.parametrize("garbage", [1e200, -1.7e308])
@pytest.mark.parametrize("place", [0, 1, 10, 40])
@pytest.mark.parametrize("learn", [ewma.ALL, ewma.CLIP, ewma.NOTHING])
def test_garbage_that_overflows_does_not_blind_it(garbage: float, place: int, learn: int) -> None:
    x = 1.0 + 0.1 * (np.arange(60) % 2)
    x[place], x[-1] = garbage, 1e6
    said = judged(x, seconds(60), minimum=20, threshold=6.0, learn=learn)
    assert said.active[-1]
    assert np.flatnonzero(said.active).tolist() == ([place, 59] if place >= 20 else [59])
    assert np.isfinite(said.var[1:]).all()
    clean = judged(np.delete(x, place), seconds(59), minimum=20, threshold=6.0, learn=learn)
    assert said.mean[-1] == pytest.approx(clean.mean[-1], rel=1e-2)
