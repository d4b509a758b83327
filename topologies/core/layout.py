"""How samples lie in a block: which runs of equal tag they form, and in which order they came.

It follows from the ``tag`` column alone. A device's blocks mostly repeat one column, so layouts are
looked up by its bytes, and what steps derive from one is computed once, not for every record.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

#: Longer columns hardly repeat, and would fill the memory of layouts.
_LONGEST = 1024


@dataclass(frozen=True)
class Groups:
    """Runs of equal tag in a series. Arrays of shape (groups,)."""

    #: Index into the series' tags.
    tag: NDArray[np.int32]
    #: First sample, and one past the last.
    start: NDArray[np.intp]
    stop: NDArray[np.intp]

    @cached_property
    def size(self) -> NDArray[np.intp]:
        """Samples in each run."""
        return self.stop - self.start

    @cached_property
    def of(self) -> NDArray[np.intp]:
        """The run of each sample, shape (n,)."""
        return np.arange(self.size.size).repeat(self.size)

    @cached_property
    def counts_up(self) -> bool:
        """Whether run n is of tag n."""
        return bool((self.tag == np.arange(self.tag.size)).all())

    @cached_property
    def width(self) -> int:
        """Samples in each run where that is one number, else 0."""
        size = self.size
        return int(size[0]) if size.size and bool((size == size[0]).all()) else 0


def group(tag: NDArray[np.int32]) -> Groups:
    """The runs of equal values of an array grouped by tag."""
    if tag.size == 0:
        nothing = np.empty(0, np.intp)
        return Groups(tag, nothing, nothing)
    edges = (tag[1:] != tag[:-1]).nonzero()[0]
    bounds = np.empty(edges.size + 2, np.intp)
    bounds[0], bounds[-1] = 0, tag.size
    np.add(edges, 1, out=bounds[1:-1])
    start = bounds[:-1]
    return Groups(tag[start], start, bounds[1:])


@dataclass(frozen=True, slots=True)
class Layout:
    """A ``tag`` column put in order. Arrays are shared between records: never written to."""

    #: The column grouped by tag, in arrival order within a tag.
    tag: NDArray[np.int32]
    groups: Groups
    #: Where each of its samples was before, shape (n,); None: it was grouped already.
    order: NDArray[np.intp] | None
    #: The same as a block's ``arrival`` column.
    arrival: NDArray[np.int32]


def layout_of(tag: NDArray[np.int32]) -> Layout:
    """The layout of a ``tag`` column in any order."""
    return _known(tag.tobytes()) if tag.size <= _LONGEST else _layout(tag)


@lru_cache(maxsize=1024)
def _known(tag: bytes) -> Layout:
    return _layout(np.frombuffer(tag, np.int32))


def _layout(tag: NDArray[np.int32]) -> Layout:
    if bool((tag[1:] >= tag[:-1]).all()):
        arrival = np.arange(tag.size, dtype=np.int32)
        arrival.flags.writeable = False
        return Layout(tag, group(tag), None, arrival)
    order = tag.argsort(kind="stable")
    arrival = order.astype(np.int32)
    ordered = tag[order]
    for shared in (order, arrival, ordered):
        shared.flags.writeable = False
    return Layout(ordered, group(ordered), order, arrival)
