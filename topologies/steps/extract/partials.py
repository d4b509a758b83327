"""Mergeable, numerically stable partial aggregates of samples.

A *partial* is one row of two arrays, ``ints`` (m, 5) and ``floats`` (m, 8), columns named below.
Moments are kept relative to the partial's first sample (``REF``, ``TREF``), so that a large offset
(1e9 with noise of 1) takes no digits from them, and merged by Chan's formulas: never Σx² − (Σx)².

Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances", 1979; the slope is the least-squares one, from the co-moment of time and value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

#: ints: pane, the window after which it counts, samples, bad samples, time of the first sample, ns.
PANE, FROM, N, BAD, TREF = range(5)
#: floats: first value; lowest; highest; mean of value and of time (s), relative to the first;
#: centred sums of squares of value and of time, and their product.
REF, MIN, MAX, MEAN, TMEAN, M2, CTT, CTV = range(8)

#: A partial of no samples.
EMPTY = np.array([0.0, np.inf, -np.inf, 0.0, 0.0, 0.0, 0.0, 0.0])

_SECONDS = 1e-9


def nothing(size: int) -> tuple[Ints, Floats]:
    """Partials of no samples."""
    floats = np.empty((size, 8))
    floats[:] = EMPTY
    return np.zeros((size, 5), np.int64), floats


def absorb(
    ints: Ints,
    floats: Floats,
    v: Floats,
    t: Ints,
    start: Index,
    size: Index,
    of: Index,
    usable: Mask | None,
) -> None:
    """Take runs of samples into their partials, in place.

    ``ints``, ``floats``: (g, ·), one partial a run; ``v``, ``t``: (n,) samples; ``start``,
    ``size``: (g,) the runs, which follow one another; ``of``: (n,) the run of each sample;
    ``usable``: (n,), None where all are.
    """
    had = ints[:, N]
    added = size
    first = start
    if usable is not None:
        added = np.add.reduceat(usable.astype(np.int64), start)
        places = np.arange(v.size)
        first = np.minimum.reduceat(np.where(usable, places, v.size - 1), start)
        v = np.where(usable, v, 0.0)
    known = np.count_nonzero(had)
    if not known and usable is None:
        floats[:, REF] = v.take(start)
        ints[:, TREF] = t.take(start)
    elif known < had.size:
        fresh = had == 0
        floats[:, REF] = np.where(fresh, v[first], floats[:, REF])
        ints[:, TREF] = np.where(fresh, t[first], ints[:, TREF])
    x = np.empty((2, v.size))
    np.subtract(v, floats[:, REF].take(of), out=x[0])
    np.multiply(t - ints[:, TREF].take(of), _SECONDS, out=x[1])
    if usable is None:
        low = np.minimum.reduceat(v, start)
        high = np.maximum.reduceat(v, start)
    else:
        x[:, ~usable] = 0.0
        low = np.minimum.reduceat(np.where(usable, v, np.inf), start)
        high = np.maximum.reduceat(np.where(usable, v, -np.inf), start)
    number = added if usable is None else np.maximum(added, 1)
    mean = np.add.reduceat(x, start, axis=1)
    mean /= number
    x -= mean.take(of, axis=1)
    if usable is not None:
        x[:, ~usable] = 0.0
    products = np.empty((3, v.size))
    np.multiply(x, x, out=products[:2])
    np.multiply(x[0], x[1], out=products[2])
    sums = np.add.reduceat(products, start, axis=1)
    parts = floats.T
    if not known and usable is None:
        # Nothing to merge with.
        parts[MIN], parts[MAX] = low, high
        parts[MEAN : TMEAN + 1], parts[M2 : CTV + 1] = mean, sums
        ints[:, N] = added
        return
    total = had + added
    share = added / (total if usable is None else np.maximum(total, 1))
    delta = mean - parts[MEAN : TMEAN + 1]
    cross = had * share
    parts[MEAN : TMEAN + 1] += delta * share
    parts[M2 : CTT + 1] += sums[:2] + delta * delta * cross
    parts[CTV] += sums[2] + delta[0] * delta[1] * cross
    np.minimum(parts[MIN], low, out=parts[MIN])
    np.maximum(parts[MAX], high, out=parts[MAX])
    ints[:, N] = total
    if usable is not None:
        ints[:, BAD] += size - added


def fold(ints: Ints, floats: Floats, start: Index) -> tuple[Ints, Floats]:
    """Merge segments of partials into one each: segment i is ``start[i]:start[i + 1]``.

    Relative to the first partial of a segment that holds samples. PANE and FROM are the first's.
    """
    if start.size == len(ints):
        return ints, floats
    size = np.diff(start, append=len(ints))
    n = ints[:, N]
    last = np.repeat(start + size - 1, size)
    lead = np.minimum.reduceat(np.where(n > 0, np.arange(len(n)), last), start)
    result, merged = ints[lead], floats[lead]
    result[:, : FROM + 1] = ints[start, : FROM + 1]
    result[:, N] = np.add.reduceat(n, start)
    result[:, BAD] = np.add.reduceat(ints[:, BAD], start)
    moved = np.empty((2, len(n)))
    np.subtract(floats[:, REF], np.repeat(merged[:, REF], size), out=moved[0])
    np.subtract(ints[:, TREF], np.repeat(result[:, TREF], size), out=moved[1])
    moved[1] *= _SECONDS
    moved += floats[:, MEAN : TMEAN + 1].T
    moved[:, n == 0] = 0.0
    mean = np.add.reduceat(moved * n, start, axis=1) / np.maximum(result[:, N], 1)
    moved -= np.repeat(mean, size, axis=1)
    merged[:, MEAN : TMEAN + 1] = mean.T
    centred = floats[:, M2 : CTV + 1].T + n * np.stack(
        (moved[0] * moved[0], moved[1] * moved[1], moved[0] * moved[1])
    )
    merged[:, M2 : CTV + 1] = np.add.reduceat(centred, start, axis=1).T
    merged[:, MIN] = np.minimum.reduceat(floats[:, MIN], start)
    merged[:, MAX] = np.maximum.reduceat(floats[:, MAX], start)
    return result, merged


def _mean(n: Floats, p: Floats) -> Floats:
    return _where(n > 0, p[REF] + p[MEAN])


def _variance(n: Floats, p: Floats) -> Floats:
    return _where(n > 1, p[M2] / np.maximum(n - 1, 1))


def _slope(n: Floats, p: Floats) -> Floats:
    defined = p[CTT] > 0
    return _where(defined, p[CTV] / np.where(defined, p[CTT], 1.0))


def _rms(n: Floats, p: Floats) -> Floats:
    mean = _mean(n, p)
    result: Floats = np.sqrt(mean * mean + p[M2] / np.maximum(n, 1))
    return result


def _where(defined: Mask, value: Floats) -> Floats:
    result: Floats = np.where(defined, value, np.nan)
    return result


#: What a window can say of its samples: name -> function of (samples, floats transposed).
STATISTICS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "mean": _mean,
    "std": lambda n, p: np.sqrt(_variance(n, p)),
    "min": lambda n, p: _where(n > 0, p[MIN]),
    "max": lambda n, p: _where(n > 0, p[MAX]),
    "slope": _slope,
    "rms": _rms,
    "sum": lambda n, p: _where(n > 0, n * (p[REF] + p[MEAN])),
    "variance": _variance,
    "range": lambda n, p: _where(n > 0, p[MAX] - p[MIN]),
}


def statistics(ints: Ints, floats: Floats, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The statistics of partials by name, each (m,); NaN where undefined."""
    n = ints[:, N].astype(np.float64)
    parts = floats.T
    return {name: STATISTICS[name](n, parts) for name in names}
