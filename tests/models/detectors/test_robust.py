"""Median and MAD over the last values equal the batch formula."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from models.detectors import limits, robust


@pytest.mark.parametrize("module", [robust, limits])
def test_the_example_in_the_docstring(module: object) -> None:
    assert doctest.testmod(module).failed == 0


def test_equals_the_formula_on_every_window() -> None:
    random = np.random.default_rng(2)
    x = np.round(random.normal(1e6, 3, 300), 1)
    window = 31
    history = np.full((1, window), np.nan)
    medians, spreads = [], []
    for piece in np.array_split(x, 13):
        median, spread = robust.windows(history, piece[None, :])
        history = robust.following(history, piece[None, :], np.array([piece.size]))
        medians += median[0].tolist()
        spreads += spread[0].tolist()
    for i in range(1, 300):
        before = x[max(0, i - window) : i]
        median = np.median(before)
        mad = np.median(np.abs(before - median))
        expected = mad / 0.6745 if mad else 1.253314 * np.abs(before - median).mean()
        assert medians[i] == pytest.approx(median, rel=1e-15)
        assert spreads[i] == pytest.approx(expected, rel=1e-12)


def test_values_mostly_equal_are_judged_by_their_mean_deviation() -> None:
    history = np.array([[5.0] * 9 + [6.0]])
    median, spread = robust.windows(history, np.array([[7.0]]))
    z = robust.score(np.array([[7.0]]), median, spread, 0.0)
    assert z[0, 0] == pytest.approx(2.0 / (1.253314 * 0.1))


def test_values_all_equal_score_nothing_or_the_cap() -> None:
    x = np.array([[5.0, 5.1]])
    median, spread = robust.windows(np.full((1, 10), 5.0), x)
    assert robust.score(x, median, spread, 0.0).tolist() == [[0.0, robust.CAP]]
    assert robust.score(x, median, spread, 0.1)[0, 1] == pytest.approx(1.0)


def test_the_history_keeps_the_newest_values() -> None:
    history = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, 9.0]])
    x = np.array([[4.0, 5.0, 6.0, 7.0], [8.0, np.nan, np.nan, np.nan]])
    kept = robust.following(history, x, np.array([4, 1]))
    np.testing.assert_array_equal(kept, [[5.0, 6.0, 7.0], [np.nan, 9.0, 8.0]])
