"""Aggregates over assets: of a line, of a plant."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from models.records.features import Features, take
from topologies.core.flow import Flow, Origins
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps.patterns import Matcher

Floats = NDArray[np.float64]

STATISTICS = ("mean", "sum", "min", "max", "contributors")
#: Any of these of the windows below serves.
_NEEDS = {"mean": ("sum", "mean"), "sum": ("sum", "mean"), "min": ("min",), "max": ("max",)}


class Aggregate(Step):
    """One row per window and tag over all assets of a key, from the windows of each.

    ``count`` and ``bad`` are sums over the assets; the mean is that of all their samples;
    ``contributors`` says how many assets had samples. Windows without samples take no part. The
    merge before it keeps one partial of each asset until all are there; they are folded in the
    order of (input, asset), so that the same windows give the same bytes. Aggregates of aggregates
    give lines, then plants. Rows are marked partial where one of those they are made of was, where
    an asset was disconnected, and where they could not wait for all.
    """

    kind: ClassVar[str] = "aggregate"
    reads: ClassVar[str] = "features"
    makes: ClassVar[str] = "features"

    of: str = Field("window", description="The windows, or aggregates, that it folds")
    tags: tuple[str, ...] = Field(
        ("*",), description="Patterns of the tags, as the assets call them"
    )
    statistics: tuple[str, ...] = Field(
        ("mean", "sum", "min", "max", "contributors"),
        description="Beside count and bad: " + ", ".join(STATISTICS),
    )

    @field_validator("statistics")
    @classmethod
    def _known(cls, statistics: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in statistics if name not in STATISTICS]
        if unknown:
            raise ValueError(f"unknown statistics {unknown}; there are {', '.join(STATISTICS)}")
        return statistics

    def misfit(self, source: Step) -> str:
        given: tuple[str, ...] = getattr(source, "statistics", ())
        for name in self.statistics if given else ():
            needs = _NEEDS.get(name, ())
            if needs and not set(needs) & set(given):
                return (
                    f"folds {name!r}, for which {source.name!r} must give {' or '.join(needs)};"
                    f" it gives {', '.join(given)}"
                )
        return ""

    @property
    def summary(self) -> str:
        return ", ".join(self.statistics)

    def bind(self, context: Context) -> Bound:
        wanted = Matcher(self.tags)

        def aggregate(flow: Flow, memory: Memory) -> None:
            flow.lane_time[self.name] = flow.lane_time.get(self.of, flow.time.now)
            rows = flow.features.get(self.of)
            if rows is None or not len(rows):
                return
            origins = flow.origins.get(self.of) or _own(flow, rows)
            keep = wanted(origins.tags)[origins.tag]
            order = np.lexsort((origins.contributor, origins.tag, rows.start, rows.end))
            order = order[keep[order]]
            if order.size:
                flow.features[self.name] = self._fold(flow, take(rows, order), origins, order)

        return aggregate

    def _fold(
        self, flow: Flow, rows: Features, origins: Origins, order: NDArray[np.intp]
    ) -> Features:
        tag = origins.tag[order]
        new = np.ones(order.size, dtype=bool)
        new[1:] = (
            (rows.end[1:] != rows.end[:-1])
            | (rows.start[1:] != rows.start[:-1])
            | (tag[1:] != tag[:-1])
        )
        start = np.flatnonzero(new)
        count = np.add.reduceat(rows.count, start)
        present, place = np.unique(tag[start], return_inverse=True)
        partial = np.bitwise_or.reduceat(rows.partial, start) | np.uint8(flow.partial)
        return Features(
            flow.asset,
            self.name,
            tuple(origins.tags[number] for number in present.tolist()),
            place.astype(np.int32),
            rows.start[start],
            rows.end[start],
            count,
            np.add.reduceat(rows.bad, start),
            {name: self._statistic(name, rows, start, count) for name in self.statistics},
            partial.astype(np.uint8),
        )

    def _statistic(
        self, name: str, rows: Features, start: NDArray[np.intp], count: NDArray[np.int64]
    ) -> Floats:
        there = rows.count > 0
        if name == "contributors":
            return np.add.reduceat(there.astype(np.float64), start)
        if name in ("mean", "sum"):
            sums = rows.stats["sum"] if "sum" in rows.stats else rows.stats["mean"] * rows.count
            total = np.add.reduceat(np.where(there, sums, 0.0), start)
            return np.where(count > 0, total / count if name == "mean" else total, np.nan)
        least = name == "min"
        fold = np.minimum if least else np.maximum
        ends = fold.reduceat(np.where(there, rows.stats[name], np.inf if least else -np.inf), start)
        return np.where(count > 0, ends, np.nan)


def _own(flow: Flow, rows: Features) -> Origins:
    """Before any merge, the asset is the only one."""
    alone = np.zeros(len(rows), np.int64)
    return Origins((("", flow.asset),), alone, rows.tags, rows.tag)
