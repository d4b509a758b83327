"""Laws of merging stages: what comes out depends on what each contributor sent, and on nothing
else: not on whose records came first, on crashes, or on how samples were split into records."""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.shells.driver import Driver
from models.records.block import Block
from models.records.heartbeat import State
from models.time import NS_PER_S
from tests.merge_topology import LINES, lines
from topologies.core import Emission

#: A run takes a tenth of a second: a failing example is shown as it was found.
LAW = settings(
    max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
S = NS_PER_S
T0 = 1_700_000_000 * S - (1_700_000_000 * S) % (60 * S)

#: Who sends what: (input, asset, tags).
WHO: tuple[tuple[str, str, tuple[str, ...]], ...] = tuple(
    who
    for line in LINES
    for who in (
        ("plc.readings", f"{line}/press", ("force", "power")),
        ("plc.readings", f"{line}/oven", ("power",)),
        ("lab.readings", f"{line}/press", ("purity",)),
    )
)


@dataclass(frozen=True)
class Sent:
    """A record of one contributor: samples (tag, t, v), or a heartbeat (``elapsed``)."""

    source: str
    asset: str
    samples: tuple[tuple[str, int, float], ...] = ()
    elapsed: int = 0
    received: int = 0


def block(asset: str, samples: Sequence[tuple[str, int, float]], received: int) -> Block:
    tags = tuple(dict.fromkeys(tag for tag, _, _ in samples))
    return Block(
        asset,
        tags,
        np.array([tags.index(tag) for tag, _, _ in samples], np.int32),
        np.array([t for _, t, _ in samples], np.int64),
        np.array([v for _, _, v in samples], np.float64),
        np.ones(len(samples), np.uint8),
        received=received,
    )


def feed(driver: Driver, sent: Sent) -> None:
    if sent.samples:
        driver.block(sent.source, block(sent.asset, sent.samples, sent.received))
    else:
        driver.heartbeat(
            sent.source, sent.asset, State.ALIVE, elapsed=sent.elapsed, received=sent.received
        )


#: Steps in time (s) of a sample after the one before, its tag and its value, and whether a new
#: record begins with it. Some are late by up to 2 s; several have the same time.
samples = st.lists(
    st.tuples(
        st.sampled_from([-2, -1, 0, 0, 1, 1, 2, 4, 9]),
        st.integers(0, 1),
        st.integers(-50, 50),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)
plants = st.tuples(*([samples] * len(WHO)))


def stories(plant: Sequence[Any]) -> list[list[Sent]]:
    """The records of each contributor, in order, with a heartbeat that closes all windows."""
    told = []
    for (source, asset, tags), drawn in zip(WHO, plant, strict=True):
        story: list[Sent] = []
        t, rows = T0, list[tuple[str, int, float]]()
        newest = T0
        for step, tag, value, cut in drawn:
            if cut and rows:
                story.append(Sent(source, asset, tuple(rows), received=newest))
                rows = []
            t += step * S
            newest = max(newest, t)
            rows.append((tags[tag % len(tags)], t, value / 8))
        story.append(Sent(source, asset, tuple(rows), received=newest))
        data = max(t for sent in story for _, t, _ in sent.samples)
        quiet = T0 + 300 * S - data
        story.append(Sent(source, asset, elapsed=quiet, received=data + quiet))
        told.append(story)
    return told


def mixed(told: Sequence[Sequence[Sent]], seed: int) -> list[Sent]:
    """All records in some order that keeps that of each contributor."""
    chance, rest, out = random.Random(seed), [list(story) for story in told], []
    while any(rest):
        # Not evenly: some contributors run far ahead of others.
        story = chance.choice([story for story in rest if story])
        many = chance.choice([1, 1, 2, 8])
        out += story[:many]
        del story[:many]
    return out


def outcome(driver: Driver) -> dict[tuple[str, bytes], list[Emission]]:
    """What was emitted behind merges, by output and key, in order."""
    found: dict[tuple[str, bytes], list[Emission]] = {}
    for emission in driver.emissions:
        if emission.output != "readings":
            found.setdefault((emission.output, emission.key), []).append(emission)
    return found


def run(told: Sequence[Sequence[Sent]], seed: int, **merge: Any) -> Driver:
    driver = Driver(lines(grace="2s", **merge))
    for sent in mixed(told, seed):
        feed(driver, sent)
    assert driver.dead_letters() == []
    return driver


@given(plants, st.integers(0, 2**32), st.integers(0, 2**32), st.booleans())
@LAW
def test_any_interleaving_gives_the_same_bytes(
    plant: Any, first: int, second: int, together: bool
) -> None:
    told = stories(plant)
    one, other = run(told, first, together=together), run(told, second, together=together)
    assert outcome(one) == outcome(other)
    assert {output for output, _ in outcome(one)} <= {"joined", "by_line", "by_plant"}


@given(plants, st.integers(0, 2**32), st.integers(1, 9), st.floats(0.02, 0.5))
@LAW
def test_a_crash_anywhere_gives_the_same_bytes(
    plant: Any, seed: int, every: int, often: float
) -> None:
    """Also between a stage and the next: commits fall between their records."""
    told = stories(plant)
    chance = random.Random(seed)
    driver = Driver(lines(grace="2s"), commit_every=every)
    for sent in mixed(told, seed):
        feed(driver, sent)
        if chance.random() < often:
            driver.crash()
    driver.commit()
    assert outcome(driver) == outcome(run(told, seed))


@given(plants, st.integers(0, 2**32))
@LAW
def test_other_splits_of_the_same_samples_join_and_fold_the_same(plant: Any, seed: int) -> None:
    together = [
        [
            Sent(s[0].source, s[0].asset, tuple(x for sent in s[:-1] for x in sent.samples),
                 received=s[-2].received),
            s[-1],
        ]
        for s in stories(plant)
    ]  # fmt: skip
    apart = [
        [
            *(
                Sent(s[0].source, s[0].asset, (x,), received=sent.received)
                for sent in s[:-1]
                for x in sent.samples
            ),
            s[-1],
        ]
        for s in stories(plant)
    ]
    one, other = run(together, seed), run(apart, seed)
    assert _readings(one) == _readings(other)
    for output in ("by_line", "by_plant"):
        _alike(one.features(output), other.features(output))


def _readings(driver: Driver) -> list[Any]:
    rows = [
        (a, tag, t, "-" if v is None else v, q) for a, tag, t, v, q in driver.readings("joined")
    ]
    # A crowd of equal times may be in several records; their order within one time is compared
    # tag by tag.
    return sorted(rows, key=lambda row: (row[0], row[2], row[1]))


def _alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert len(one) == len(other)
    order = operator.itemgetter("asset", "end", "tag")
    for a, b in zip(sorted(one, key=order), sorted(other, key=order), strict=True):
        for name, value in a.items():
            close = isinstance(value, float) and math.isclose(
                value, b[name], rel_tol=1e-12, abs_tol=1e-12
            )
            assert close or value == b[name] or (value != value and b[name] != b[name]), name


@given(plants, st.integers(0, 2**32))
@LAW
def test_joins_and_aggregates_are_those_of_a_plain_search(plant: Any, seed: int) -> None:
    """Against code that shares nothing with ours, over everything that was in time."""
    told = stories(plant)
    driver = run(told, seed)
    taken: dict[tuple[str, str], list[tuple[str, int, float]]] = {}
    for story in told:
        newest, rows = 0, list[tuple[str, int, float]]()
        for sent in story:
            for tag, t, v in sent.samples:
                if t >= newest - 2 * S:
                    rows.append((tag, t, v))
                newest = max(newest, t)
        taken[story[0].source, story[0].asset] = rows
    wanted = []
    for line in LINES:
        lab = taken["lab.readings", f"{line}/press"]
        force = [r for r in taken["plc.readings", f"{line}/press"] if r[0] == "force"]
        wanted += [(line, f"{line}/press:force", t, v) for _, t, v in force]
        for t in {t for _, t, _ in force}:
            before = [(at, number, v) for number, (_, at, v) in enumerate(lab) if at <= t]
            newest_lab = max(before, default=None)
            fresh = newest_lab is not None and newest_lab[0] >= t - 20 * S
            wanted.append((line, "purity", t, newest_lab[2] if fresh and newest_lab else None))
            wanted.append((line, "recipe", t, None))
    found = [(a, tag, t, v) for a, tag, t, v, _ in driver.readings("joined")]
    assert sorted(found, key=str) == sorted(wanted, key=str)

    for line_rows in driver.features("by_line"):
        line, start, end = line_rows["asset"], line_rows["start"], line_rows["end"]
        values = [
            v
            for machine in ("press", "oven")
            for v in _window(told, ("plc.readings", f"{line}/{machine}"), start, end)
        ]
        assert line_rows["count"] == len(values)
        assert math.isclose(line_rows["sum"], sum(values), abs_tol=1e-9)
        assert (line_rows["min"], line_rows["max"]) == (min(values), max(values))
    plant_rows = driver.features("by_plant")
    assert sum(r["count"] for r in plant_rows) == sum(
        r["count"] for r in driver.features("by_line")
    )
    assert all(r["contributors"] <= len(LINES) for r in plant_rows)


def _window(
    told: Sequence[Sequence[Sent]], who: tuple[str, str], start: int, end: int
) -> list[float]:
    """Values of ``power`` that were in time for the window."""
    values, newest = [], 0
    for story in told:
        if (story[0].source, story[0].asset) != who:
            continue
        for sent in story:
            for tag, t, v in sent.samples:
                if tag == "power" and start <= t < end and newest < end:
                    values.append(v)
                newest = max(newest, t)
    return values
