"""Tags that the catalogue does not know: only so many of an asset go on.

Whoever may publish under an asset's topic can make up names; without a bound the state of a key
would grow for ever, here and in all later steps.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.catalogue import Catalogue
from models.records.block import Block
from topologies.core.state import Table


def only(block: Block, wanted: NDArray[np.bool_]) -> Block:
    """The samples of some tags, a mask of shape (tags,), and no tags that have no samples.

    Steps give rows to all tags of a block, and readings name them.
    """
    left = block.take(wanted[block.tag])
    places, tag = np.unique(left.tag, return_inverse=True)
    tags = tuple(block.tags[place] for place in places.tolist())
    return replace(left, tags=tags, tag=tag.astype(np.int32))


class Rows:
    """The rows of a block's tags in a table, -1 for tags that have none and get none."""

    def __init__(self, catalogue: Catalogue, most: int) -> None:
        self._catalogue, self._most = catalogue, most
        self._fit = lru_cache(maxsize=1024)(self._look_up)

    def __call__(self, table: Table, block: Block) -> NDArray[np.intp]:
        """Shape (tags,). Unknown tags get rows in the order in which they first arrived."""
        if self._fit(block.asset, block.tags, table.tags):
            return table.rows(block.tags)
        known, seen = self._catalogue.tags(block.asset), set(table.tags)
        room = self._most - sum(tag not in known for tag in seen)
        assert block.arrival is not None
        arriving = block.tag[block.arrival.argsort(kind="stable")]
        places, first = np.unique(arriving, return_index=True)
        taken = {}
        for place in places[first.argsort()].tolist():
            tag = block.tags[place]
            if tag not in known and tag not in seen:
                if room <= 0:
                    continue
                room -= 1
            taken[place] = tag
        rows = np.full(len(block.tags), -1, np.intp)
        rows[list(taken)] = table.rows(tuple(taken.values()))
        return rows

    def _look_up(self, asset: str, tags: tuple[str, ...], seen: tuple[str, ...]) -> bool:
        """Whether all unknown tags may be remembered."""
        known = self._catalogue.tags(asset)
        return sum(tag not in known for tag in {*tags, *seen}) <= self._most
