"""Closing windows: from open panes to rows."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.records.features import Features
from topologies.steps.extract import panes, partials
from topologies.steps.extract.panes import Pane, Panes
from topologies.steps.extract.partials import BAD, N


def due(held: Panes, count: int, before: int, after: int) -> tuple[list[Pane], list[int]]:
    """The panes and the windows that close when time goes from window ``before`` to ``after``."""
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
    held: Panes,
    concerned: list[Pane],
    windows: list[int],
    count: int,
    *,
    asset: str,
    name: str,
    size: int,
    hop: int,
    statistics: tuple[str, ...],
) -> Features:
    """One row a window and tag that had samples in it, ordered by (end, tag)."""
    tables = [held.table(pane) for pane in concerned]
    tags = _sorted(tuple(dict.fromkeys(table.tags for table in tables)))
    parts = partials.nothing(len(tables), len(tags))
    for table, ints, floats in zip(tables, *parts, strict=True):
        row = _rows_of(tags, table.tags)
        ints[row], floats[row] = table["ints"], table["floats"]
    number = np.array(windows, np.int64)
    whole, moments = panes.fold(np.array(concerned, np.int64), *parts, number, count)
    whole, moments = whole.reshape(-1, 3), moments.reshape(-1, 8)
    tag = np.tile(np.arange(len(tags), dtype=np.int32), number.size)
    end = np.repeat(number * hop, len(tags))
    seen = whole[:, N] + whole[:, BAD] > 0
    if not seen.all():
        tag, end, whole, moments = tag[seen], end[seen], whole[seen], moments[seen]
        tags, tag = _present(tags, tag)
    return Features(
        asset,
        name,
        tags,
        tag,
        end - size,
        end,
        whole[:, N],
        whole[:, BAD],
        partials.statistics(whole, moments, statistics),
        np.zeros(tag.size, np.uint8),
    )


@lru_cache(maxsize=256)
def _sorted(lists: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """All tags of some lists, in alphabetical order: the same whichever came first."""
    return tuple(sorted({tag for tags in lists for tag in tags}))


@lru_cache(maxsize=256)
def _rows_of(among: tuple[str, ...], tags: tuple[str, ...]) -> NDArray[np.intp]:
    """The place of each tag among others."""
    place = {tag: row for row, tag in enumerate(among)}
    found = np.array([place[tag] for tag in tags], np.intp)
    found.flags.writeable = False
    return found


def _present(
    tags: tuple[str, ...], tag: NDArray[np.int32]
) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The tags that occur, and the column for them."""
    places, column = np.unique(tag, return_inverse=True)
    return tuple(tags[place] for place in places.tolist()), column.astype(np.int32)
