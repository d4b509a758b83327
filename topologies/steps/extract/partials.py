"""Mergeable, numerically stable partial aggregates of samples.

A *partial* is one row of two arrays, ``ints`` (m, 3) and ``floats`` (m, 8), columns named below.
Moments are kept relative to the partial's first sample (``REF``, ``TREF``), so that a large offset
(1e9 with noise of 1) takes no digits from them. Samples are added one by one in the order in which
they arrived, so a partial does not depend on how they were split into records, to the last bit.

Sources: Welford, "Note on a method for calculating corrected sums of squares and products", 1962
(adding a sample); Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances", 1979 (merging two). The slope is the least-squares one, from the co-moment of
time and value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality import USABLE
from topologies.core.jit import kernel
from topologies.core.state import Column, Columns

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: ints: samples, bad samples, time of the first sample, ns.
N, BAD, TREF = range(3)
#: floats: first value; lowest; highest; mean of value and of time (s), relative to the first;
#: centred sums of squares of value and of time, and their product.
REF, MIN, MAX, MEAN, TMEAN, M2, CTT, CTV = range(8)

#: Partials in a table, one a tag. A row of zeros is a partial of no samples.
COLUMNS = Columns(2, ints=Column(np.int64, 0, 3), floats=Column(np.float64, 0, 8))

#: What a window can say of its samples.
STATISTICS = ("mean", "std", "min", "max", "slope", "rms", "sum", "variance", "range")

_SECONDS = 1e-9


@kernel
def add(ints: Ints, floats: Floats, t: int, v: float, q: int) -> None:
    """Take one sample into a partial, ``ints`` (3,) and ``floats`` (8,)."""
    if not (USABLE[q] and np.isfinite(v)):
        ints[BAD] += 1
        return
    if ints[N] == 0:
        ints[TREF] = t
        floats[REF] = floats[MIN] = floats[MAX] = v
    ints[N] += 1
    n = ints[N]
    x = v - floats[REF]
    u = (t - ints[TREF]) * _SECONDS
    dx = x - floats[MEAN]
    du = u - floats[TMEAN]
    floats[MEAN] += dx / n
    floats[TMEAN] += du / n
    floats[M2] += dx * (x - floats[MEAN])
    floats[CTT] += du * (u - floats[TMEAN])
    floats[CTV] += du * (x - floats[MEAN])
    floats[MIN] = min(floats[MIN], v)
    floats[MAX] = max(floats[MAX], v)


@kernel
def merge(ints: Ints, floats: Floats, more_ints: Ints, more_floats: Floats) -> None:
    """Take the second partial into the first, which stays relative to its own first sample."""
    had, new = ints[N], more_ints[N]
    ints[BAD] += more_ints[BAD]
    if new == 0:
        return
    if had == 0:
        ints[N], ints[TREF] = new, more_ints[TREF]
        floats[:] = more_floats
        return
    total = had + new
    dx = more_floats[REF] - floats[REF] + more_floats[MEAN] - floats[MEAN]
    du = (more_ints[TREF] - ints[TREF]) * _SECONDS + more_floats[TMEAN] - floats[TMEAN]
    share = new / total
    cross = had * share
    ints[N] = total
    floats[MEAN] += dx * share
    floats[TMEAN] += du * share
    floats[M2] += more_floats[M2] + dx * dx * cross
    floats[CTT] += more_floats[CTT] + du * du * cross
    floats[CTV] += more_floats[CTV] + dx * du * cross
    floats[MIN] = min(floats[MIN], more_floats[MIN])
    floats[MAX] = max(floats[MAX], more_floats[MAX])


@kernel
def absorb(
    ints: Ints,
    floats: Floats,
    row: NDArray[np.intp],
    tag: NDArray[np.int32],
    t: Ints,
    v: Floats,
    q: NDArray[np.uint8],
    place: NDArray[np.int64],
    number: int,
    first: int,
    stop: int,
) -> None:
    """Take the samples from ``first`` to ``stop`` whose ``place`` is ``number`` into a table.

    ``ints``, ``floats``: its columns; ``row``: its row for each tag of the samples.
    """
    for i in range(first, stop):
        if place[i] == number:
            at = row[tag[i]]
            add(ints[at], floats[at], t[i], v[i], q[i])


@kernel
def describe(ints: Ints, floats: Floats, said: Floats) -> None:
    """Write what a partial says into ``said``, (len(STATISTICS),); NaN where undefined."""
    said[:] = np.nan
    n = ints[N]
    if n > 0:
        mean = floats[REF] + floats[MEAN]
        said[0] = mean
        said[2] = floats[MIN]
        said[3] = floats[MAX]
        said[5] = np.sqrt(mean * mean + floats[M2] / n)
        said[6] = n * mean
        said[8] = floats[MAX] - floats[MIN]
    if n > 1:
        said[7] = floats[M2] / (n - 1)
        said[1] = np.sqrt(said[7])
    if floats[CTT] > 0:
        said[4] = floats[CTV] / floats[CTT]


@kernel
def fold(
    panes: Ints, place: NDArray[np.intp], ints: Ints, floats: Floats, windows: Ints, count: int
) -> tuple[NDArray[np.int32], Ints, Ints, Ints, Floats, int]:
    """Windows of ``count`` panes each, from partials of panes, ``ints`` and ``floats``.

    ``panes``: (p, 2), number, and the window after which it counts; ``place``: (p, r), where the
    partial of pane and tag is, −1 where there is none; ``windows``: (w,).

    Gives a row a window and tag that had samples: tag, window, samples, bad samples, (rows,); their
    statistics, (len(STATISTICS), rows); and how many rows are filled.
    """
    tags = place.shape[1]
    most = windows.size * tags
    tag, window = np.empty(most, np.int32), np.empty(most, np.int64)
    n, bad = np.empty(most, np.int64), np.empty(most, np.int64)
    said = np.empty((9, most))
    whole, moments = np.empty(3, np.int64), np.empty(8)
    filled = 0
    for number in windows:
        for of in range(tags):
            whole[:] = 0
            moments[:] = 0.0
            for p in range(len(panes)):
                at = place[p, of]
                if at >= 0 and panes[p, 1] < number <= panes[p, 0] + count:
                    merge(whole, moments, ints[at], floats[at])
            if whole[N] + whole[BAD] > 0:
                tag[filled], window[filled] = of, number
                n[filled], bad[filled] = whole[N], whole[BAD]
                describe(whole, moments, said[:, filled])
                filled += 1
    return tag, window, n, bad, said, filled
