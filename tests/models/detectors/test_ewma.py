"""EWMA in one scan equals the recursion by its definition."""

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


def by_definition(
    x: np.ndarray, t: np.ndarray, learn: np.ndarray, tau: int, minimum: int
) -> tuple[list[float], list[float]]:
    mean = var = 0.0
    n, last = 0, 0
    means, variances = [], []
    for value, at, taught in zip(x.tolist(), t.tolist(), learn.tolist(), strict=True):
        if n == 0 and taught:
            mean, last = value, at
        means.append(mean)
        variances.append(var)
        if taught:
            n += 1
            alpha = max(1 / n, min(1 - math.exp(-max(at - last, 0) / tau), 1 / minimum))
            last = max(last, at)
            off = value - mean
            mean += alpha * off
            var = (1 - alpha) * (var + alpha * off * off)
    return means, variances


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(ewma).failed == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 700),
    st.sampled_from([1, 30, 3600]),
    st.sampled_from([0.0, 1e9]),
    st.floats(0.3, 1.0),
)
def test_the_scan_equals_the_recursion(
    seed: int, groups: int, size: int, tau: int, offset: float, share: float
) -> None:
    random = np.random.default_rng(seed)
    x = offset + random.normal(0, 1, (groups, size)).cumsum(axis=1)
    # Irregular, sometimes backwards, sometimes with a gap of many tau.
    gaps = random.choice([0, 1, 2, -3, 40_000], (groups, size), p=[0.1, 0.5, 0.3, 0.09, 0.01])
    t = T0 + (gaps * NS_PER_S).cumsum(axis=1)
    learn = random.random((groups, size)) < share
    state = ewma.fresh(groups)
    cut = int(random.integers(0, size + 1))
    parts = [
        ewma.scan(state, x[:, part], t[:, part], learn[:, part], tau=tau * NS_PER_S, minimum=5)
        for part in (slice(0, cut), slice(cut, size))
        if part.start < part.stop
    ]
    mean = np.concatenate([part[0] for part in parts], axis=1)
    var = np.concatenate([part[1] for part in parts], axis=1)
    for g in range(groups):
        means, variances = by_definition(x[g], t[g], learn[g], tau * NS_PER_S, 5)
        known = np.cumsum(learn[g]) - learn[g] > 0
        np.testing.assert_allclose(mean[g][known], np.array(means)[known], rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(var[g], variances, rtol=1e-6 if offset else 1e-9, atol=1e-12)


def test_even_sampling_equals_pandas_once_warmed_up() -> None:
    random = np.random.default_rng(5)
    x = random.normal(20, 3, (1, 4000))
    t = T0 + np.arange(4000)[None, :] * NS_PER_S
    mean, var = ewma.scan(ewma.fresh(1), x, t, None, tau=60 * NS_PER_S, minimum=10)
    alpha = -math.expm1(-1 / 60)
    series = pd.Series(x[0]).ewm(alpha=alpha, adjust=False)
    np.testing.assert_allclose(mean[0, 2001:], series.mean().to_numpy()[2000:-1], rtol=1e-9)
    np.testing.assert_allclose(var[0, 2001:], series.var(bias=True).to_numpy()[2000:-1], rtol=1e-6)


def test_a_gap_does_not_make_the_next_sample_an_anomaly() -> None:
    random = np.random.default_rng(1)
    state = ewma.fresh(1)
    x = random.normal(0, 1, (1, 500))
    t = T0 + np.arange(500)[None, :] * NS_PER_S
    ewma.scan(state, x, t, None, tau=30 * NS_PER_S, minimum=20)
    later = t[:, -1:] + 10**6 * NS_PER_S
    mean, var = ewma.scan(
        state,
        np.array([[1.0, 1.2]]),
        np.hstack((later, later + 1)),
        None,
        tau=30 * NS_PER_S,
        minimum=20,
    )
    assert ewma.score(np.array([[1.0, 1.2]]), mean, var, 0.0).max() < 3


def test_a_constant_signal_scores_nothing_and_its_first_step_the_cap() -> None:
    x = np.full((1, 100), 0.1)
    t = T0 + np.arange(100)[None, :] * NS_PER_S
    state = ewma.fresh(1)
    mean, var = ewma.scan(state, x, t, None, tau=NS_PER_S, minimum=5)
    assert ewma.score(x, mean, var, 0.0).max() == 0
    assert ewma.score(np.array([0.2]), state.mean, state.var, 0.0)[0] == ewma.CAP
    assert ewma.score(np.array([0.2]), state.mean, state.var, 0.05)[0] == pytest.approx(2.0)


@pytest.mark.parametrize("reject", [False, True])
def test_an_outlier_teaches_no_more_than_the_limit(reject: bool) -> None:
    x = np.append(np.tile([0.0, 1.0], 50), 1e6)
    t = T0 + np.arange(101) * NS_PER_S
    taught = np.ones(101, dtype=bool)
    state = ewma.fresh(1)
    means, _ = ewma.clipped(
        state, 0, x, t, taught,
        tau=100 * NS_PER_S, minimum=10, floor=0.0, threshold=4.0, reject=reject,
    )  # fmt: skip
    plain = ewma.fresh(1)
    mean, _ = ewma.scan(plain, x[None, :], t[None, :], None, tau=100 * NS_PER_S, minimum=10)
    np.testing.assert_allclose(means, mean[0], rtol=1e-12)
    assert plain.mean[0] > 1000
    assert state.mean[0] == pytest.approx(means[-1] + (0.0 if reject else 0.02), abs=0.001)
