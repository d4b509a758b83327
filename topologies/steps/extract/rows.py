"""Rows of windows that have bounds of their own: sessions, sliding and count windows."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.records.features import EARLY, Features
from topologies.core.flow import Flow
from topologies.core.jit import kernel
from topologies.steps.extract.partials import BAD, STATISTICS, Floats, Ints, N, describe

#: Columns of what is told: row in the step's table, start, end, samples, bad samples, closed early.
ROW, START, END, COUNT, BADS, HURRIED = range(6)


class Told(NamedTuple):
    """Rows as kernels write them; kernels return how many they wrote."""

    #: (6, most): columns named above.
    ints: Ints
    #: (len(STATISTICS), most).
    said: Floats


def room(most: int) -> Told:
    """Room for so many rows."""
    return Told(np.empty((6, most), np.int64), np.empty((len(STATISTICS), most)))


@kernel
def tell(
    ints: Ints, said: Floats, at: int, row: int, start: int, end: int, part: Floats, early: bool
) -> None:
    """Write the row of a window's partial."""
    ints[ROW, at], ints[START, at], ints[END, at] = row, start, end
    ints[COUNT, at], ints[BADS, at], ints[HURRIED, at] = part[N], part[BAD], early
    describe(part, said[:, at])


def put(
    flow: Flow,
    name: str,
    tags: tuple[str, ...],
    told: Told,
    filled: int,
    statistics: tuple[str, ...],
) -> None:
    """Put rows into the flow, ordered by (end, tag). ``tags``: the tag of each row of the table."""
    if not filled:
        return
    names, rank = _ranked(tags)
    ints, said = told.ints[:, :filled], told.said[:, :filled]
    tag = rank[ints[ROW]]
    # Stable: windows of one tag and end stay in their order.
    order = np.lexsort((tag, ints[END]))
    ints, said = ints[:, order], said[:, order]
    present, column = np.unique(tag[order], return_inverse=True)
    early = ints[HURRIED] != 0
    flow.count("early", int(np.count_nonzero(early)))
    flow.features[name] = Features(
        flow.asset,
        name,
        tuple(names[place] for place in present.tolist()),
        column.astype(np.int32),
        ints[START],
        ints[END],
        ints[COUNT],
        ints[BADS],
        {statistic: said[STATISTICS.index(statistic)] for statistic in statistics},
        np.where(early, EARLY, 0).astype(np.uint8),
    )


@lru_cache(maxsize=256)
def _ranked(tags: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Tags in alphabetical order, and the place there of each."""
    order = sorted(range(len(tags)), key=tags.__getitem__)
    rank = np.empty(len(tags), np.int64)
    rank[order] = np.arange(len(tags))
    return tuple(tags[place] for place in order), rank
