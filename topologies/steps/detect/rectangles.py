"""Runs of different lengths as rectangles, so that recursions run over all tags at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from topologies.core.flow import Groups


class Rectangle(NamedTuple):
    """Some runs, one a row, shape (g, n)."""

    #: Which runs, shape (g,).
    runs: NDArray[np.intp]
    #: Position of each sample; in padding that of the run's last. None: the samples as they are.
    places: NDArray[np.intp] | None
    #: False in padding; None: there is none.
    real: NDArray[np.bool_] | None
    shape: tuple[int, int]

    def of(self, column: NDArray[Any]) -> NDArray[Any]:
        """A column of samples as a rectangle."""
        return column.reshape(self.shape) if self.places is None else column[self.places]

    def back(self, values: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        """Put a rectangle's values where its samples are."""
        if self.places is None:
            out[:] = values.ravel()
        elif self.real is None:
            out[self.places] = values
        else:
            out[self.places[self.real]] = values[self.real]


def rectangles(groups: Groups) -> Iterator[Rectangle]:
    """All runs; those of similar length together, so that padding stays below the samples."""
    size = groups.size
    longest, count, samples = int(np.maximum.reduce(size)), size.size, int(groups.stop[-1])
    if longest * count == samples:
        yield Rectangle(np.arange(count), None, None, (count, longest))
        return
    if longest * count <= 2 * samples + 256:
        yield _padded(groups, np.arange(count))
        return
    power = np.ceil(np.log2(size)).astype(np.int64)
    for one in np.unique(power).tolist():
        yield _padded(groups, np.flatnonzero(power == one))


def _padded(groups: Groups, runs: NDArray[np.intp]) -> Rectangle:
    size = groups.size[runs][:, None]
    places = np.arange(int(size.max()))
    index = groups.start[runs][:, None] + np.minimum(places, size - 1)
    real = places < size
    return Rectangle(runs, index, None if real.all() else real, index.shape)
