"""Mergeable, numerically stable partial aggregates of samples.

A *partial* is a row of numbers, columns named below. Moments are kept relative to its first sample
(``REF``, ``TREF``), so that a large offset (1e9 with noise of 1) takes no digits from them, and
times are ns from an origin that whoever keeps the partial knows, so that float64 holds them
exactly. Samples are added one by one in the order in which they arrived, so a partial does not
depend on how they were split into records, to the last bit.

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

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Samples; bad samples; first value; its time, ns from the origin; lowest; highest; mean of value
#: and of time (s), relative to the first; centred sums of squares of both, and their product;
#: samples, bad ones too, that were told of before its window closed.
N, BAD, REF, TREF, MIN, MAX, MEAN, TMEAN, M2, CTT, CTV, TOLD = range(12)
#: Numbers in a partial. All 0: no samples.
WIDTH = 12

#: What a partial can say of its samples.
STATISTICS = ("mean", "std", "min", "max", "slope", "rms", "sum", "variance", "range")

_SECONDS = 1e-9


@kernel
def add(part: Floats, t: int, v: float, q: int) -> None:
    """Take one sample into a partial; ``t`` in ns from its origin."""
    if not (USABLE[q] and np.isfinite(v)):
        part[BAD] += 1
        return
    if part[N] == 0:
        part[REF] = part[MIN] = part[MAX] = v
        part[TREF] = t
    part[N] += 1
    x = v - part[REF]
    u = (t - part[TREF]) * _SECONDS
    dx = x - part[MEAN]
    du = u - part[TMEAN]
    part[MEAN] += dx / part[N]
    part[TMEAN] += du / part[N]
    part[M2] += dx * (x - part[MEAN])
    part[CTT] += du * (u - part[TMEAN])
    part[CTV] += du * (x - part[MEAN])
    part[MIN] = min(part[MIN], v)
    part[MAX] = max(part[MAX], v)


@kernel
def merge(part: Floats, more: Floats, later: int) -> None:
    """Take a second partial, whose origin is ``later`` ns after the first's, into the first.

    It stays relative to its own first sample.
    """
    part[BAD] += more[BAD]
    part[TOLD] += more[TOLD]
    if more[N] == 0:
        return
    if part[N] == 0:
        part[N] = more[N]
        part[REF:TOLD] = more[REF:TOLD]
        part[TREF] += later
        return
    total = part[N] + more[N]
    dx = more[REF] - part[REF] + more[MEAN] - part[MEAN]
    du = (later + more[TREF] - part[TREF]) * _SECONDS + more[TMEAN] - part[TMEAN]
    share = more[N] / total
    cross = part[N] * share
    part[N] = total
    part[MEAN] += dx * share
    part[TMEAN] += du * share
    part[M2] += more[M2] + dx * dx * cross
    part[CTT] += more[CTT] + du * du * cross
    part[CTV] += more[CTV] + dx * du * cross
    part[MIN] = min(part[MIN], more[MIN])
    part[MAX] = max(part[MAX], more[MAX])


@kernel
def describe(part: Floats, said: Floats) -> None:
    """Write what a partial says into ``said``, (len(STATISTICS),); NaN where undefined."""
    said[:] = np.nan
    n = part[N]
    if n > 0:
        mean = part[REF] + part[MEAN]
        said[0] = mean
        said[2] = part[MIN]
        said[3] = part[MAX]
        said[5] = np.sqrt(mean * mean + part[M2] / n)
        said[6] = n * mean
        said[8] = part[MAX] - part[MIN]
    if n > 1:
        said[7] = part[M2] / (n - 1)
        said[1] = np.sqrt(said[7])
    if part[CTT] > 0:
        said[4] = part[CTV] / part[CTT]


@kernel
def absorb(
    parts: Floats,
    row: NDArray[np.intp],
    tag: NDArray[np.int32],
    t: Ints,
    v: Floats,
    q: NDArray[np.uint8],
    place: Ints,
    number: int,
    first: int,
    stop: int,
    origin: int,
) -> None:
    """Take the samples from ``first`` to ``stop`` whose ``place`` is ``number`` into a table.

    ``parts``: its partials; ``row``: which of them is each tag's.
    """
    for i in range(first, stop):
        if place[i] == number:
            add(parts[row[tag[i]]], t[i] - origin, v[i], q[i])


@kernel
def fold(
    panes: Ints,
    place: NDArray[np.intp],
    parts: Floats,
    windows: Ints,
    count: int,
    hop: int,
    news: bool,
    tag: NDArray[np.int32],
    counts: Ints,
    said: Floats,
) -> int:
    """Windows of ``count`` panes of ``hop`` ns each, from partials of panes.

    ``panes``: (p, 2), number, and the window after which it counts; ``place``: (p, r), where in
    ``parts`` that of pane and tag is, −1 where there is none; ``windows``: (w,).

    Fills a row a window and tag that had samples (``news``: that nobody was told of): ``tag``,
    (w·r,); ``counts``, (3, w·r), window, samples and bad samples; ``said``, (len(STATISTICS), w·r).
    Gives how many rows.
    """
    whole = np.empty(WIDTH)
    filled = 0
    for window in windows:
        for of in range(place.shape[1]):
            whole[:] = 0.0
            for p in range(len(panes)):
                at = place[p, of]
                if at >= 0 and panes[p, 1] < window <= panes[p, 0] + count:
                    merge(whole, parts[at], (panes[p, 0] - window) * hop)
            if whole[N] + whole[BAD] > (whole[TOLD] if news else 0):
                tag[filled] = of
                counts[0, filled] = window
                counts[1, filled], counts[2, filled] = whole[N], whole[BAD]
                describe(whole, said[:, filled])
                filled += 1
    return filled
