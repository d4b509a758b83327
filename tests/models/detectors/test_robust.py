"""Median and MAD over the last values equal the batch formula; limits hold by their deadband."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detectors import limits, robust


def judged(
    x: np.ndarray, state: robust.Windows, *, minimum: int = 1, floor: float = 0.0
) -> robust.Judged:
    """What is said of values of one signal, which then are in its window."""
    said = robust.Judged.of(x.size)
    nothing, usable = np.zeros(x.size, np.intp), np.isfinite(x)
    robust.judge(nothing, x, usable, *state, minimum, floor, 3.0, *said)
    return said


@pytest.mark.parametrize("module", [robust, limits])
def test_the_example_in_the_docstring(module: object) -> None:
    assert doctest.testmod(module).failed == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.integers(-3, 3).map(float), st.floats(-1e9, 1e9, width=32)),
        min_size=1,
        max_size=120,
    ),
    st.integers(5, 31),
)
def test_equals_the_formula_on_every_window(values: list[float], window: int) -> None:
    x = np.array(values)
    said = judged(x, robust.fresh(1, window))
    assert np.isnan(said.score[0])
    for i in range(1, x.size):
        before = x[max(0, i - window) : i]
        median = np.median(before)
        away = np.abs(before - median)
        mad = np.median(away)
        expected = mad / 0.6745 if mad else 1.253314 * away.mean()
        assert said.median[i] == pytest.approx(median, rel=1e-15)
        assert said.spread[i] == pytest.approx(expected, rel=1e-12)


def test_values_mostly_equal_are_judged_by_their_mean_deviation() -> None:
    said = judged(np.array([5.0] * 9 + [6.0, 7.0]), robust.fresh(1, 10))
    assert said.score[10] == pytest.approx(2.0 / (1.253314 * 0.1))


def test_values_all_equal_score_nothing_or_the_cap() -> None:
    x = np.array([5.0] * 10 + [5.0, 5.1])
    assert judged(x, robust.fresh(1, 10)).score[10:].tolist() == [0.0, robust.CAP]
    assert judged(x, robust.fresh(1, 10), floor=0.1).score[11] == pytest.approx(1.0)


def test_nothing_is_judged_before_enough_values_are_known() -> None:
    said = judged(np.arange(8.0), robust.fresh(1, 10), minimum=5)
    assert said.judged.tolist() == [False] * 5 + [True] * 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3).map(float), max_size=40), st.integers(5, 12))
def test_a_window_is_a_pure_function_of_its_values_and_their_number(
    values: list[float], window: int
) -> None:
    state = robust.fresh(1, window)
    judged(np.array([*values[:3], np.nan, *values[3:]]), state)
    last = robust.arrived(state)
    assert last[0][np.isfinite(last[0])].tolist() == values[-window:]
    again = robust.windows(last, np.array([len(values)]))
    for one, other in zip(again, state, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_a_deadband_wider_than_the_band_is_held_to_its_middle() -> None:
    x = np.array([3.0, 1.5, 1.0, 3.0])
    score, active, judged_ = np.empty(4), np.empty(4, bool), np.empty(4, bool)
    low, high, deadband = np.array([0.0]), np.array([2.0]), np.array([9.0])
    limits.judge(
        np.zeros(4, np.int32), x, np.array([True, True, True, False]), low, high, deadband,
        np.array([False]), score, active, judged_,
    )  # fmt: skip
    assert active.tolist() == [True, True, False, False]
    assert judged_.tolist() == [True, True, True, False]
