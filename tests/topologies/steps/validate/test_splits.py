"""How samples were split into records changes no flag, no reason, no clock and no order."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalogue import Asset, Catalogue, FlatLine, Knowledge, Range, Tag, Thresholds
from models.records.block import Block
from models.records.values import split
from models.time import NS_PER_MS, NS_PER_S
from tests.topologies.steps.feeding import HORIZON, SKEW, Feed, second
from topologies.core.time import enter
from topologies.steps.validate import Qartod

RECEIVED = second(1000)
TAG = {
    "range": Range(low=-5, high=5),
    "rate": Thresholds(suspect=2.0, fail=6.0),
    "flat": FlatLine(tolerance=0.6, suspect="3s", fail="700ms"),
}
EVERYTHING = Tag(
    gross_range=TAG["range"],
    rate_of_change=TAG["rate"],
    flat_line=TAG["flat"],
    max_gap="2s",
    spike=Thresholds(suspect=0.7, fail=3.0),
)
WITHOUT_SPIKE = EVERYTHING.model_copy(update={"spike": None})
KNOWLEDGE = Knowledge(
    catalogue=Catalogue(
        assets={
            "a": Asset(
                tags={
                    "spiky": EVERYTHING,
                    "plain": WITHOUT_SPIKE,
                    "dense": Tag(flat_line=FlatLine(tolerance=0.0, suspect="100s")),
                }
            )
        }
    )
)
#: Milliseconds since the sample before: mostly forward, sometimes none or back.
STEP = st.one_of(
    st.sampled_from([1, 100, 500, 1000, 1000, 1000]),
    st.integers(-3000, 4000),
    st.just(0),
)
VALUE: st.SearchStrategy[Any] = st.one_of(
    st.integers(-4, 4).map(lambda n: n / 2),
    st.sampled_from([0.0, 7.0, float("nan"), None, "text", 2**60 + 1, True]),
)
SAMPLE = st.tuples(
    st.sampled_from(["spiky", "plain", "dense", "unknown"]),
    STEP,
    VALUE,
    st.sampled_from([1, 1, 1, 1, 1, 2, 3, 4, 9]),
    st.sampled_from([0, 0, 0, 0, 0, 0, 0, 3600]),
)
SCRIPT = st.lists(SAMPLE, min_size=1, max_size=40)
CUTS = st.sets(st.integers(1, 39), max_size=8)


def block_of(samples: list[tuple[str, int, Any, int]]) -> Block:
    tags = tuple(dict.fromkeys(sample[0] for sample in samples))
    v, typed = split([sample[2] for sample in samples])
    return Block(
        "a",
        tags,
        np.array([tags.index(sample[0]) for sample in samples], np.int32),
        np.array([sample[1] for sample in samples], np.int64),
        v,
        np.array([sample[3] for sample in samples], np.uint8),
        typed=typed,
        received=RECEIVED,
    )


def outcome(script: list[Any], cuts: set[int], beats: set[int]) -> tuple[dict[str, Any], Any]:
    samples, t = [], second(0)
    for tag, step, value, q, ahead in script:
        t += step * NS_PER_MS
        samples.append((tag, t + ahead * NS_PER_S, value, q))
    feed = Feed(Qartod(spike_hold="3s"), knowledge=KNOWLEDGE)
    found: dict[str, list[Any]] = {}
    edges = sorted({0, len(samples), *(c for c in cuts | beats if c < len(samples))})
    for a, b in itertools.pairwise(edges):
        block, after = enter(block_of(samples[a:b]), feed.time, SKEW, HORIZON)
        flows = [feed._run(block, after, None)]
        if b in beats or b == len(samples):
            flows.append(feed.beat(1.5, received=RECEIVED))
        for flow in flows:
            out = flow.block
            assert out.clock is not None
            assert out.arrival is not None
            assert (np.diff(out.tag) >= 0).all(), "grouped by tag"
            why = out.why if out.why.size else np.zeros(len(out), np.uint32)
            for place, value in enumerate(out.exact()):
                found.setdefault(out.tags[out.tag[place]], []).append(
                    (
                        int(out.t[place]),
                        repr(value),
                        int(out.q[place]),
                        int(why[place]),
                        int(out.clock[place]),
                    )
                )
    return found, {k: v for k, v in feed.counts.items() if k == "duplicates"}


@given(SCRIPT, CUTS, st.sets(st.integers(1, 39), max_size=2))
@settings(max_examples=150, deadline=None)
def test_any_split_gives_the_same(script: list[Any], cuts: set[int], beats: set[int]) -> None:
    whole = outcome(script, set(), beats)
    assert outcome(script, cuts, beats) == whole
    assert outcome(script, set(range(1, len(script))), beats) == whole


@given(SCRIPT)
@settings(max_examples=50, deadline=None)
def test_nothing_is_lost_but_repeats(script: list[Any]) -> None:
    found, counts = outcome(script, set(), set())
    came = sum(map(len, found.values())) + counts.get("duplicates", 0)
    # The last sample of a spiky tag may wait: its time need not have been passed.
    assert len(script) - 1 <= came <= len(script)
