"""Flags equal those of ``ioos_qc`` in batch, however the series was split into records."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ioos_qc import qartod

from models.catalogue import Asset, Catalogue, FlatLine, Knowledge, Range, Tag, Thresholds
from models.quality import GOOD, MISSING, UNKNOWN
from models.time import NS_PER_S
from tests.topologies.steps.feeding import Feed, second
from topologies.steps.validate import TESTS, Qartod

#: Steps of a half make ties with limits likely; a few wild ones.
VALUE = st.one_of(
    st.integers(-8, 8).map(lambda n: n / 2),
    st.sampled_from([0.1, 0.2, 0.3, -0.1, 1e6]),
    st.floats(-20, 20),
)
SERIES = st.lists(VALUE, min_size=3, max_size=40)
GAPPY = st.lists(VALUE | st.just(float("nan")), min_size=3, max_size=40)
CUTS = st.sets(st.integers(1, 39), max_size=6)


def times(size: int, step: int = 1) -> list[int]:
    return [second(n * step) for n in range(size)]


def stream(
    tag: Tag, values: Sequence[float], cuts: set[int], step: int = 1, **fields: Any
) -> tuple[list[int], list[int]]:
    """Flags and bits of a series that came in records cut at the places given."""
    catalogue = Catalogue(assets={"a": Asset(tags={"x": tag})})
    feed = Feed(Qartod(**fields), knowledge=Knowledge(catalogue=catalogue))
    flags: list[int] = []
    bits: list[int] = []
    samples = [("x", t, v) for t, v in zip(times(len(values), step), values, strict=True)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(samples)), len(samples)]
    flows = [feed.samples(samples[a:b]) for a, b in itertools.pairwise(edges)]
    flows.append(feed.beat(2.0))
    for flow in flows:
        block = flow.block
        flags += block.q.tolist()
        bits += block.why.tolist() if block.why.size else [0] * len(block)
    return flags, bits


def batch(test: Any, *args: Any, **more: Any) -> list[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [int(flag) for flag in np.ma.getdata(test(*args, **more))]


def as_rolled_up(flags: list[int]) -> list[int]:
    """UNKNOWN of one test beside the source's GOOD is GOOD."""
    return [GOOD if flag == UNKNOWN else flag for flag in flags]


def stamps(size: int, step: int = 1) -> np.ndarray[Any, Any]:
    return np.array(times(size, step), dtype="datetime64[ns]")


def check_bits(flags: list[int], bits: list[int], test: str) -> None:
    for flag, bit in zip(flags, bits, strict=True):
        expected = {GOOD: 0, MISSING: TESTS["missing"]}.get(flag, TESTS[test])
        assert bit == expected


@given(GAPPY, CUTS)
@settings(max_examples=40, deadline=None)
def test_gross_range(values: list[float], cuts: set[int]) -> None:
    tag = Tag(gross_range=Range(low=-3, high=3.5), suspect_range=Range(low=-1, high=2))
    flags, bits = stream(tag, values, cuts)
    assert flags == batch(qartod.gross_range_test, values, (-3, 3.5), (-1, 2))
    check_bits(flags, bits, "gross_range")


@given(GAPPY, CUTS, st.sampled_from([1, 7, 60]))
@settings(max_examples=60, deadline=None)
def test_rate_of_change(values: list[float], cuts: set[int], step: int) -> None:
    tag = Tag(rate_of_change=Thresholds(suspect=0.5, fail=1.5))
    flags, bits = stream(tag, values, cuts, step)
    t = stamps(len(values), step)
    assert flags == batch(qartod.rate_of_change_test, values, t, 0.5, 1.5)
    check_bits(flags, bits, "rate_of_change")


@given(GAPPY, CUTS)
@settings(max_examples=60, deadline=None)
def test_spike(values: list[float], cuts: set[int]) -> None:
    tag = Tag(spike=Thresholds(suspect=0.5, fail=2))
    flags, bits = stream(tag, values, cuts)
    assert flags == as_rolled_up(batch(qartod.spike_test, values, 0.5, 2))
    check_bits(flags, bits, "spike")


@given(
    SERIES,
    CUTS,
    st.sampled_from([1, 5, 60]),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.5, 1.0, 3.0]),
)
@settings(max_examples=150, deadline=None)
def test_flat_line(
    values: list[float], cuts: set[int], step: int, suspect: int, fail: int, tolerance: float
) -> None:
    limit = FlatLine(
        tolerance=tolerance, suspect=suspect * step * NS_PER_S, fail=fail * step * NS_PER_S
    )
    flags, bits = stream(Tag(flat_line=limit), values, cuts, step)
    t = stamps(len(values), step)
    assert flags == batch(qartod.flat_line_test, values, t, suspect * step, fail * step, tolerance)
    check_bits(flags, bits, "flat_line")


@given(st.lists(st.integers(1, 9), min_size=3, max_size=30), CUTS)
@settings(max_examples=40, deadline=None)
def test_time_gap(steps: list[int], cuts: set[int]) -> None:
    """All but the first sample, whose flag ``ioos_qc`` takes from the second."""
    t = np.cumsum([0, *steps]) * 1800
    catalogue = Catalogue(assets={"a": Asset(tags={"x": Tag(max_gap="2h")})})
    feed = Feed(Qartod(), knowledge=Knowledge(catalogue=catalogue))
    samples = [("x", second(int(n)), 1.0) for n in t]
    edges = [0, *sorted(cut for cut in cuts if cut < len(samples)), len(samples)]
    flags = [
        flag
        for a, b in itertools.pairwise(edges)
        for flag in feed.samples(samples[a:b]).block.q.tolist()
    ]
    expected = batch(qartod.time_gap_test, np.array([s[1] for s in samples], "datetime64[ns]"), 2)
    assert flags[0] == GOOD
    assert flags[1:] == expected[1:]


def test_tests_add_up_as_in_the_roll_up_of_ioos() -> None:
    values = [0.0, 0.5, 9.0, 0.0, 0.0, 0.0, 0.0, float("nan"), 4.0]
    tag = Tag(
        gross_range=Range(low=-5, high=8),
        rate_of_change=Thresholds(suspect=3.0),
        flat_line=FlatLine(tolerance=0.1, suspect="2s", fail="3s"),
    )
    t = stamps(len(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [
            qartod.gross_range_test(values, (-5, 8)),
            qartod.rate_of_change_test(values, t, 3.0),
            qartod.flat_line_test(values, t, 2, 3, 0.1),
        ]
    expected = [int(flag) for flag in qartod.qartod_compare([np.asarray(p) for p in parts])]
    assert stream(tag, values, {2, 5})[0] == expected


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_an_infinite_value_is_missing(value: float) -> None:
    flags, bits = stream(Tag(gross_range=Range(low=0, high=1)), [0.5, value, 0.5], set())
    assert flags == [GOOD, MISSING, GOOD]
    assert bits[1] == TESTS["missing"]
