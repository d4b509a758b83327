"""Windows alone, in processor time: ``python -m benchmarks.windows``.

Blocks of 10 tags × 10 samples, 5 samples a second and tag: a block is two seconds of an asset.
"""

from __future__ import annotations

import time

import numpy as np

from models.catalogue import Knowledge
from models.records.block import Block
from models.time import NS_PER_MS, NS_PER_S
from topologies.core.flow import Flow
from topologies.core.state import DictState, Memory, Overlay
from topologies.core.step import Context, Step
from topologies.core.time import KeyTime, enter
from topologies.steps.extract import CountWindow, Session, Sliding, Window

TAGS, SAMPLES = 10, 10
STEP_NS = 200 * NS_PER_MS
T0 = 1_700_000_000 * NS_PER_S
SKEW, HORIZON = 300 * NS_PER_S, 3600 * NS_PER_S

CASES: tuple[tuple[str, Step, int], ...] = (
    ("tumbling, blocks end with their panes", Window(size="10s", grace="1s"), 0),
    ("tumbling, every 5th block straddles", Window(size="10s", grace="1s"), NS_PER_S),
    ("tumbling, every block straddles", Window(size="2s", grace="1s"), NS_PER_S),
    ("hopping, 6 panes", Window(size="1m", hop="10s", grace="1s"), 0),
    ("tumbling, updates each second", Window(size="10s", emit="updates", every="1s"), 0),
    ("session", Session(gap="5s", longest="10s"), 0),
    ("count", CountWindow(size=50), 0),
    ("sliding 10 s, a row a sample", Sliding(size="10s"), 0),
    ("sliding 10 s, a row a second", Sliding(size="10s", every="1s"), 0),
)


def measure(step: Step, shift: int, count: int = 1000) -> tuple[float, float]:
    """Mean and median µs a record."""
    bound = step.bind(Context("bench", 1, Knowledge(), SKEW))
    state, known, spent = DictState(), KeyTime(), []
    tags = tuple(f"zone_{n}" for n in range(TAGS))
    tag = np.tile(np.arange(TAGS, dtype=np.int32), SAMPLES)
    random = np.random.default_rng(7)
    for number in range(count):
        t = T0 + shift + (number * SAMPLES + np.repeat(np.arange(SAMPLES), TAGS)) * STEP_NS
        v, q = random.normal(0, 1, t.size), np.ones(t.size, np.uint8)
        block = Block("a", tags, tag, t, v, q, received=int(t[-1]))
        block, after = enter(block, known, SKEW, HORIZON)
        flow = Flow("bench", "a", "e", known, after, block.received, block)
        overlay, known = Overlay(state), after
        begun = time.process_time()
        bound(flow, Memory(overlay, step.name))
        spent.append(time.process_time() - begun)
        overlay.apply()
    late = np.array(spent[count // 10 :]) * 1e6
    return float(late.mean()), float(np.median(late))


if __name__ == "__main__":
    for what, step, shift in CASES:
        mean, median = measure(step, shift)
        print(f"{what:40} {mean:8.1f} µs a record, median {median:6.1f}")
