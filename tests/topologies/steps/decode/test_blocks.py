"""Readings of another topology come in as they were written, in the order of time."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import MalformedRecord
from models.records.block import Block, encode
from models.records.headers import BLOCK
from tests.topologies.steps.decode.reading import T0, read, rows
from topologies.steps.decode import Blocks


def written(asset: str, t: list[int]) -> Block:
    return Block(
        asset,
        ("x", "y"),
        np.array([0, 0, 0, 1, 1], np.int32),
        np.array(t) + T0,
        np.arange(5.0),
        np.array([1, 3, 1, 4, 9], np.uint8),
        why=np.array([0, 8, 0, 1, 0], np.uint32),
        typed=((4, "s", "on"),),
        received=T0,
    )


def test_tags_are_merged_by_time_and_late_samples_stay_behind_their_own() -> None:
    block = read(Blocks(), BLOCK, encode(written("a", [1, 5, 3, 2, 4])))
    assert rows(block) == [
        ("x", T0 + 1, 0.0, 1), ("y", T0 + 2, 3.0, 4), ("y", T0 + 4, "on", 9),
        ("x", T0 + 5, 1.0, 3), ("x", T0 + 3, 2.0, 1),
    ]  # fmt: skip
    assert block.why.tolist() == [0, 1, 0, 8, 0]


def test_a_block_of_another_asset_is_refused() -> None:
    with pytest.raises(MalformedRecord, match="block of 'b' under the key 'a'"):
        read(Blocks(), BLOCK, encode(written("b", [1, 2, 3, 4, 5])))
