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

from topologies.core.jit import kernel
from topologies.core.state import Column, Columns

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

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


def nothing(*shape: int) -> tuple[Ints, Floats]:
    """Partials of no samples, in arrays of this shape and one more dimension."""
    return np.zeros((*shape, 3), np.int64), np.zeros((*shape, 8))


@kernel
def add(ints: Ints, floats: Floats, t: int, v: float, usable: bool) -> None:
    """Take one sample into a partial, ``ints`` (3,) and ``floats`` (8,)."""
    if not usable:
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
    usable: Mask,
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
            add(ints[at], floats[at], t[i], v[i], usable[i])


@kernel
def describe(ints: Ints, floats: Floats) -> Floats:
    """What partials say, shape (len(STATISTICS), m); NaN where undefined."""
    said = np.full((9, len(ints)), np.nan)
    for i in range(len(ints)):
        n, part = ints[i, N], floats[i]
        if n == 0:
            continue
        mean = part[REF] + part[MEAN]
        said[0, i] = mean
        said[2, i] = part[MIN]
        said[3, i] = part[MAX]
        said[5, i] = np.sqrt(mean * mean + part[M2] / n)
        said[6, i] = n * mean
        said[8, i] = part[MAX] - part[MIN]
        if n > 1:
            said[7, i] = part[M2] / (n - 1)
            said[1, i] = np.sqrt(said[7, i])
        if part[CTT] > 0:
            said[4, i] = part[CTV] / part[CTT]
    return said


def statistics(ints: Ints, floats: Floats, names: tuple[str, ...]) -> dict[str, Floats]:
    """The statistics of partials by name, each (m,); NaN where undefined."""
    said = describe(ints, floats)
    return {name: said[STATISTICS.index(name)] for name in names}
