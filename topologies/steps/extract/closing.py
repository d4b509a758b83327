"""From open panes to rows of windows."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.records.features import EARLY, Features
from topologies.steps.extract.panes import Pane, Panes
from topologies.steps.extract.partials import STATISTICS, fold


class Shape(NamedTuple):
    """The windows of a step. Number e ends at e·hop and is ``size`` ns long."""

    name: str
    size: int
    hop: int
    grace: int
    statistics: tuple[str, ...]
    #: Whether windows are told of before they close.
    updates: bool

    @property
    def panes(self) -> int:
        """Hops in a window."""
        return self.size // self.hop


def due(held: Panes, count: int, before: int, after: int) -> tuple[list[Pane], list[int]]:
    """The panes and the windows after ``before`` up to ``after``."""
    concerned: list[Pane] = []
    windows: list[int] = []
    reached = before
    for pane in sorted(held.open, key=lambda one: one.since):
        first, last = max(pane.since, before) + 1, min(pane.number + count, after)
        if first <= last:
            concerned.append(pane)
            windows.extend(range(max(first, reached + 1), last + 1))
            reached = max(reached, last)
    return sorted(concerned), windows


def rows(
    asset: str,
    held: Panes,
    concerned: list[Pane],
    windows: list[int],
    shape: Shape,
    *,
    on_time: int,
    news: bool = False,
) -> Features:
    """One row a window and tag that had samples in it, ordered by (end, tag).

    Windows after ``on_time`` close before their time; with ``news`` they do not close, and only
    those are there that have samples nobody was told of.
    """
    tables = [held.table(pane) for pane in concerned]
    tags, place = _places(tuple(table.tags for table in tables))
    parts = [table["parts"] for table in tables]
    most = len(windows) * len(tags)
    tag, counts = np.empty(most, np.int32), np.empty((3, most), np.int64)
    said = np.empty((len(STATISTICS), most))
    filled = fold(
        np.array(concerned, np.int64),
        place,
        parts[0] if len(parts) == 1 else np.concatenate(parts),
        np.array(windows, np.int64),
        shape.panes,
        shape.hop,
        news,
        tag,
        counts,
        said,
    )
    if filled < most:
        tags, tag = _present(tags, tag[:filled])
        counts, said = counts[:, :filled], said[:, :filled]
    number, n, bad = counts
    end = number * shape.hop
    partial = _complete(filled)
    if windows[-1] > on_time and not news:
        partial = np.where(number > on_time, EARLY, 0).astype(np.uint8)
    stats = {name: said[place] for name, place in _columns(shape.statistics)}
    found = (asset, shape.name, tags, tag, end - shape.size, end, n, bad, stats, partial)
    if shape.updates:
        # Grows with every sample, and once more when the window closes.
        return Features(*found, n + bad + (not news), not news)
    return Features(*found)


@lru_cache(maxsize=256)
def _places(lists: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """All tags of some lists, in alphabetical order: the same whichever came first.

    And where each is, shape (lists, tags), in the lists one after another; −1 where it is not.
    """
    tags = tuple(sorted({tag for one in lists for tag in one}))
    column = {tag: place for place, tag in enumerate(tags)}
    places = np.full((len(lists), len(tags)), -1)
    passed = 0
    for row, one in enumerate(lists):
        for place, tag in enumerate(one):
            places[row, column[tag]] = passed + place
        passed += len(one)
    return tags, places


@lru_cache(maxsize=256)
def _columns(statistics: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    return tuple((name, STATISTICS.index(name)) for name in statistics)


@lru_cache(maxsize=1024)
def _complete(size: int) -> NDArray[np.uint8]:
    """Rows that lack nothing; shared, so read-only."""
    partial = np.zeros(size, np.uint8)
    partial.flags.writeable = False
    return partial


def _present(
    tags: tuple[str, ...], tag: NDArray[np.int32]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The tags that occur, and the column for them."""
    places, column = np.unique(tag, return_inverse=True)
    return tuple(tags[place] for place in places.tolist()), column.astype(np.int32)
