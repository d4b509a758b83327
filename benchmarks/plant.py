"""A plant of any size for the whole ``glass`` topology: assets of 10 tags, blocks of 10 samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.shapes import Raw, encode, head
from benchmarks.traffic import SAMPLES_A_TAG, STEP_NS, T0, TAGS, asset_name
from models.records import headers
from models.time import NS_PER_MS

#: Event time of a block: two seconds.
BLOCK_NS = SAMPLES_A_TAG * STEP_NS
#: Kelvin: what is normal, how much hotter an excursion is, and what is too hot.
NORMAL, HOTTER, LIMIT, DEADBAND = 1473.15, 400.0, 1773.15, 5.0
#: One asset in so many is too hot in every other block: an anomaly opens or closes in each.
HOT_EVERY = 10
_TAGS = [f"zone_{n}" for n in range(TAGS)]
_NODES = [f"ns=2;s=z{n}" for n in range(TAGS)]


def is_hot(place: int, turn: int) -> bool:
    """Whether an asset's block has the excursion."""
    return place % HOT_EVERY == 0 and turn % 2 == 1


def records(assets: int, turns: int) -> Iterator[Raw]:
    """A block of each asset a turn; assets follow one another evenly within the two seconds."""
    none = np.zeros((SAMPLES_A_TAG, TAGS), np.bool_)
    offsets = np.arange(SAMPLES_A_TAG) * STEP_NS
    sequence = 0
    for turn in range(turns):
        random = np.random.default_rng([11, turn])
        base = NORMAL + 20 * np.sin(turn / 150 + np.arange(TAGS))
        v = np.round(base + random.normal(0, 1.5, (assets, SAMPLES_A_TAG, TAGS)), 3)
        for place in range(assets):
            if is_hot(place, turn):
                v[place, :, 0] += HOTTER
            times = T0 + turn * BLOCK_NS + place * BLOCK_NS // assets + offsets
            received = int(times[-1])
            value = encode(_TAGS, _NODES, times, v[place], none, received)
            sequence += 1
            of = head(headers.RAW_OPCUA, sequence)
            yield asset_name(place).encode(), value, of, received // NS_PER_MS
