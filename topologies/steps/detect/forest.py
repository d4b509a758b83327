"""Detect combinations of features that an asset does not usually show: isolation forest."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.detectors import forest
from models.records.features import Features
from topologies.core.flow import Flow, Scores, Series
from topologies.core.state import CHUNK, Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps import chunks
from topologies.steps.detect.base import constant, unknown_statistics
from topologies.steps.detect.episodes import opened, track

#: Bytes of grown forests kept in memory by a process: 700 of 100 trees and 256 rows a tree.
_KEPT_BYTES = 128 * 1024 * 1024

Floats = NDArray[np.float64]


class IsolationForest(Step):
    """Score: how easily a vector of features is told from those the asset began with, 0 to 1.

    One vector a window end, of several tags' statistics. The first ``train_on`` complete ones are
    learnt and not judged; they stay in state, and the forest is a pure function of them and the
    seed: after a restart it is grown again, the same. Incomplete vectors are counted
    (``incomplete``) and not judged.

    Forests are kept in memory, up to 128 MB of them, and grown again when they are needed and not
    there (counted: ``forest.grown``).
    """

    kind: ClassVar[str] = "forest"
    reads: ClassVar[str] = "features"
    makes: ClassVar[str] = "scores"
    state_version: ClassVar[int] = 1
    state_parameters: ClassVar[tuple[str, ...]] = ("of", "features", "train_on")
    loses: ClassVar[str] = "what it learnt is lost, and its open anomalies are never closed"

    of: str = Field(description="The window step whose rows are judged")
    features: tuple[str, ...] = Field(
        min_length=1, max_length=64, description="What a vector is made of: '<tag>:<statistic>'"
    )
    train_on: int = Field(256, ge=16, le=4096, description="Complete vectors to learn from")
    threshold: float = Field(
        0.6, gt=0, lt=1, description="Anomalous above this score (the paper: 0.6 is suspicious)"
    )
    trees: int = Field(100, ge=1, le=500, description="Trees of the forest")
    rows_a_tree: int = Field(256, ge=2, description="Vectors each tree is grown from, at most")
    seed: int = Field(0, ge=0, lt=2**32, description="Of the random cuts")

    @model_validator(mode="after")
    def _well_named(self) -> IsolationForest:
        for name in self.features:
            tag, colon, statistic = name.rpartition(":")
            if not (tag and colon and statistic):
                raise ValueError(f"a feature is '<tag>:<statistic>', not {name!r}")
        if len(set(self.features)) != len(self.features):
            raise ValueError("a feature is named twice")
        if self.train_on * len(self.features) * 8 > 4 * CHUNK:
            raise ValueError("train_on × features is more than 1 MB of state: train on fewer")
        return self

    @property
    def summary(self) -> str:
        return f"score > {self.threshold:g}, {len(self.features)} features"

    def misfit(self, source: Step) -> str:
        return unknown_statistics(source, [name.rpartition(":")[2] for name in self.features])

    def bind(self, context: Context) -> Bound:
        name, of, threshold = self.name, self.of, self.threshold
        parts = [feature.rpartition(":") for feature in self.features]
        wanted = [(tag, statistic) for tag, _, statistic in parts]
        joined = (",".join(dict.fromkeys(tag for tag, _ in wanted)),)
        row_bytes = len(wanted) * 8

        def detect(flow: Flow, memory: Memory) -> None:
            flow.lane_time[name] = flow.lane_time.get(of, flow.time.now)
            rows = flow.features.get(of)
            if rows is None or not len(rows):
                return
            ends, vectors = _vectors(rows, wanted)
            if not ends.size:
                return
            complete = np.logical_and.reduce(np.isfinite(vectors), axis=1)
            flow.count("incomplete", int(complete.size - np.count_nonzero(complete)))
            learnt = chunks.get(memory, "rows") or b""
            judged = complete
            missing = self.train_on - len(learnt) // row_bytes
            if missing:
                taught = np.flatnonzero(complete)[:missing]
                learnt += vectors[taught].tobytes()
                chunks.put(memory, "rows", learnt)
                judged = complete.copy()
                judged[taught] = False
            score = np.full(ends.size, np.nan)
            if judged.any():
                before = _FORESTS.grown
                model = _FORESTS.of(learnt, len(wanted), self.trees, self.rows_a_tree, self.seed)
                flow.count("forest.grown", _FORESTS.grown - before)
                score[judged] = model.scores(vectors[judged])
            active = (score > threshold) & judged

            def why(place: int) -> str:
                return self._why(learnt, vectors[place], float(score[place]))

            tag = np.zeros(ends.size, np.int32)
            nothing = np.full(ends.size, np.nan)
            series = Series(flow.asset, joined, tag, ends, nothing, complete)
            thresholds = constant(ends.size, threshold)
            scores = Scores(name, series, score, thresholds, active, judged, why)
            flow.scores[name] = scores
            track(flow, memory, scores, opened(memory))

        return detect

    def _why(self, learnt: bytes, vector: Floats, score: float) -> str:
        rows = np.frombuffer(learnt).reshape(-1, len(self.features))
        median = np.median(rows, axis=0)
        spread = np.maximum(np.median(np.abs(rows - median), axis=0), 1e-9 * np.abs(median) + 1e-12)
        odd = np.argsort(-np.abs(vector - median) / spread, kind="stable")[:3].tolist()
        shown = ", ".join(
            f"{self.features[i]} {vector[i]:.4g} (usually {median[i]:.4g})" for i in odd
        )
        return (
            f"an unusual combination, score {score:.3g} (threshold {self.threshold:g});"
            f" furthest from usual: {shown}"
        )


class Forests:
    """Forests by what they were grown from: those asked for last, up to so many bytes.

    Each is a pure function of what it was grown from, so that remembering it cannot go stale.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._known: OrderedDict[tuple[bytes, int, int, int, int], forest.Forest] = OrderedDict()
        #: How many were grown so far.
        self.grown = 0

    def of(
        self, rows: bytes, columns: int, trees: int, rows_a_tree: int, seed: int
    ) -> forest.Forest:
        """The forest of rows of so many float64 each."""
        key = (rows, columns, trees, rows_a_tree, seed)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        learnt = np.frombuffer(rows).reshape(-1, columns)
        new = forest.grow(learnt, trees=trees, rows_a_tree=rows_a_tree, seed=seed)
        self.grown += 1
        self._known[key] = new
        self._size += len(rows) + new.nbytes
        while self._size > self._most and len(self._known) > 1:
            (other, *_), old = self._known.popitem(last=False)
            self._size -= len(other) + old.nbytes
        return new


_FORESTS = Forests(_KEPT_BYTES)


def _vectors(
    rows: Features, wanted: list[tuple[str, str]]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Window ends (n,) in order, and the vector of each (n, features); NaN where a row lacks."""
    place_of = {tag: place for place, tag in enumerate(rows.tags)}
    places = [place_of.get(tag, -1) for tag, _ in wanted]
    relevant = np.isin(rows.tag, [place for place in places if place >= 0])
    ends = np.unique(rows.end[relevant])
    vectors = np.full((ends.size, len(wanted)), np.nan)
    for column, (place, (_, statistic)) in enumerate(zip(places, wanted, strict=True)):
        mine = np.flatnonzero(rows.tag == place)
        vectors[np.searchsorted(ends, rows.end[mine]), column] = rows.stats[statistic][mine]
    return ends, vectors
