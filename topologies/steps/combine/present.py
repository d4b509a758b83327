"""Blocks that name no tag but those they have samples of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.records.block import Block


def only_present(block: Block) -> Block:
    """The same samples, with those of the tags that occur in them."""
    present, tag = np.unique(block.tag, return_inverse=True)
    names = tuple(block.tags[place] for place in present.tolist())
    return replace(block, tags=names, tag=tag.astype(np.int32))
