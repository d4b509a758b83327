"""What is tested of each tag: the catalogue's limits, looked up once per asset and tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.catalogue import Catalogue, FlatLine, Range, Tag, Thresholds
from topologies.core.layout import Groups, group

Floats = NDArray[np.float64]

#: Open ends of a range: an infinite value is outside, and MISSING anyway.
_MOST = float(np.finfo(np.float64).max)
_OPEN = Range(low=None, high=None)
_UNTESTED = Thresholds(suspect=None, fail=None)

#: Rows of :attr:`Limits.rows`.
FAIL_LOW, FAIL_HIGH, LOW, HIGH, RATE, RATE_FAIL, GAP, FLAT = range(8)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the tags of one block layout."""

    tags: tuple[str, ...]
    #: Per tag: whether the catalogue knows it, and whether anything is tested.
    known: NDArray[np.bool_]
    tested: NDArray[np.bool_]
    #: Per limit and tag, shape (8, tags).
    rows: Floats
    rate: bool
    gap: bool
    #: By place of the tag.
    flat: dict[int, FlatLine]
    spike: dict[int, Thresholds]


def look_up(catalogue: Catalogue, defaults: Tag, asset: str, tags: tuple[str, ...]) -> Limits:
    """The limits of an asset's tags; what the catalogue leaves out is as in ``defaults``."""
    found = [catalogue.tag(asset, tag) for tag in tags]
    rows = np.empty((8, len(tags)))
    flat: dict[int, FlatLine] = {}
    spike: dict[int, Thresholds] = {}
    tested = np.zeros(len(tags), dtype=bool)
    for place, known in enumerate(found):
        tag = known or defaults
        fail = tag.gross_range or defaults.gross_range
        suspect = tag.suspect_range or defaults.suspect_range
        rate = tag.rate_of_change or defaults.rate_of_change
        gap = tag.max_gap if tag.max_gap is not None else defaults.max_gap
        run = tag.flat_line or defaults.flat_line
        peak = tag.spike or defaults.spike
        tested[place] = any(limit is not None for limit in (fail, suspect, rate, gap, run, peak))
        fail, suspect, rate = fail or _OPEN, suspect or _OPEN, rate or _UNTESTED
        rows[:, place] = (
            -_MOST if fail.low is None else fail.low,
            _MOST if fail.high is None else fail.high,
            -_MOST if suspect.low is None else suspect.low,
            _MOST if suspect.high is None else suspect.high,
            np.inf if rate.suspect is None else rate.suspect,
            np.inf if rate.fail is None else rate.fail,
            np.inf if gap is None else gap,
            -1.0 if run is None else _below(run.tolerance),
        )
        if run is not None:
            flat[place] = run
        if peak is not None and (peak.suspect is not None or peak.fail is not None):
            spike[place] = peak
    return Limits(
        tags,
        np.array([tag is not None for tag in found], dtype=bool),
        tested,
        rows,
        bool((rows[RATE:GAP] < np.inf).any()),
        bool((rows[GAP] < np.inf).any()),
        flat,
        spike,
    )


def _below(tolerance: float) -> float:
    """The largest difference within a flat line's tolerance (values equal to it are not)."""
    return float(np.nextafter(tolerance, 0.0)) if tolerance > 0 else 0.0


class Tightest(NamedTuple):
    """Limits that hold for all samples of a layout."""

    low: float
    high: float
    rate: float
    gap: float
    flat: float


@dataclass(frozen=True, slots=True)
class Layout:
    """What follows from an asset, its tags and the ``tag`` column alone. Arrays by group or sample.

    Blocks of one device mostly repeat a layout, so this is looked up, not computed, for most.
    """

    limits: Limits
    #: Place of the tag, first sample and last sample of each group, shape (groups,).
    tag: NDArray[np.int32]
    start: NDArray[np.intp]
    last: NDArray[np.intp]
    #: Limits of each sample, shape (8, n), and the narrower of both ranges, shape (n,).
    rows: Floats
    low: Floats
    high: Floats
    #: The lower rate limit of each sample.
    rate: Floats
    all_known: bool
    #: Which remembered samples are kept, see :func:`ring_index`.
    ring: NDArray[np.intp]
    groups: Groups
    #: Time and value of the sample before each, an index (2, n) of the same array as ``ring``.
    before: NDArray[np.intp]
    #: The tightest limits of all samples: what keeps to these keeps to all.
    tightest: Tightest


def make_layout(limits: Limits, tag: NDArray[np.int32], remembered: int) -> Layout:
    """The layout of a ``tag`` column grouped by tag."""
    groups = group(tag)
    rows = limits.rows[:, tag]
    low, high = np.maximum(rows[FAIL_LOW], rows[LOW]), np.minimum(rows[FAIL_HIGH], rows[HIGH])
    rate = np.minimum(rows[RATE], rows[RATE_FAIL])
    return Layout(
        limits,
        groups.tag,
        groups.start,
        groups.stop - 1,
        rows,
        low,
        high,
        rate,
        bool(limits.known[groups.tag].all()),
        ring_index(groups.start, groups.stop, remembered),
        groups,
        before_index(groups.start, tag.size, remembered),
        Tightest(
            float(low.max()),
            float(high.min()),
            float(rate.min()),
            float(rows[GAP].min()),
            float(rows[FLAT].max()),
        ),
    )


def before_index(start: NDArray[np.intp], n: int, remembered: int) -> NDArray[np.intp]:
    """Where time and value of the sample before each are, in the array of :func:`ring_index`."""
    width, groups = 2 * remembered + 3, start.size
    index = groups * width - 1 + np.arange(2 * n).reshape(2, n)
    newest = np.arange(groups) * width + 2 * remembered
    index[0, start], index[1, start] = newest, newest + 1
    return index


def ring_index(
    start: NDArray[np.intp], stop: NDArray[np.intp], remembered: int
) -> NDArray[np.intp]:
    """Where the newest ``remembered`` samples of each group are, as an index of shape
    (groups, 2 × remembered + 3).

    They are taken from one array: what was kept of each group before (times, values, and the
    newest time and value, and the time before), then the times of the block, then its values.
    The last columns are those of the newest sample again.
    """
    groups = start.size
    width = 2 * remembered + 3
    size = (stop - start)[:, None]
    back = np.arange(remembered, 0, -1)[None, :]
    fresh = groups * width + stop[:, None] - back
    n = int(stop[-1]) if groups else 0
    old = np.arange(groups)[:, None] * width + remembered - back + size
    times = np.where(back <= size, fresh, old)
    values = np.where(back <= size, fresh + n, old + remembered)
    newest = fresh[:, -1:]
    prior = np.where(size > 1, newest - 1, np.arange(groups)[:, None] * width + 2 * remembered)
    return np.concatenate((times, values, newest, newest + n, prior), axis=1)
