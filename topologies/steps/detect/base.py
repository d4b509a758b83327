"""What all detectors share: which numbers they judge, and the episodes they report."""

from __future__ import annotations

import abc
from collections.abc import Callable
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.catalogue import Catalogue
from topologies.core.flow import READINGS, Flow, Scores, Series
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps.detect.episodes import track
from topologies.steps.patterns import Matcher

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

#: Judges the usable numbers of a series; gives None where it has nothing to say of any.
Judge = Callable[[Flow, Memory, Series, Mask], Scores | None]


class Detector(Step):
    """Judges samples, or one statistic of a window step's rows, tag by tag.

    Numbers of bad quality, and samples from the future, are neither judged nor learnt. Samples
    count in the order in which they arrived.
    """

    reads: ClassVar[str] = "readings|features"
    makes: ClassVar[str] = "scores"
    state_version: ClassVar[int] = 1

    of: str = Field(
        READINGS, description="What is judged: 'readings', or the name of a window step"
    )
    statistic: str = Field("mean", description="Of a window step: which statistic")
    tags: tuple[str, ...] = Field(("*",), description="Patterns of the tags judged")

    def misfit(self, source: Step) -> str:
        return unknown_statistics(source, [self.statistic])

    @abc.abstractmethod
    def judge(self, context: Context) -> Judge:
        """The detector proper."""

    def bind(self, context: Context) -> Bound:
        name, of, statistic, skew = self.name, self.of, self.statistic, context.max_future_skew
        wanted, judge = Matcher(self.tags), self.judge(context)

        def detect(flow: Flow, memory: Memory) -> None:
            flow.lane_time[name] = flow.lane_time.get(of, flow.time.now)
            series = flow.series(of, statistic)
            if series is None:
                return
            usable = series.usable
            if not wanted.all(series.tags):
                usable = usable & wanted(series.tags)[series.tag]
            horizon = flow.received + skew
            if of == READINGS and flow.extremes(series.t)[1] > horizon:
                usable = usable & (series.t <= horizon)
            scores = judge(flow, memory, series, usable)
            if scores is not None:
                flow.scores[name] = scores
                track(flow, memory, scores)

        return detect


def unknown_statistics(source: Step, wanted: list[str]) -> str:
    """Says which statistics a window step does not make; empty where it makes all."""
    made: tuple[str, ...] = getattr(source, "statistics", ())
    for name in wanted:
        if made and name not in made:
            return f"reads the statistic {name!r} of {source.name!r}, which makes {', '.join(made)}"
    return ""


@lru_cache(maxsize=4096)
def all_false(size: int) -> Mask:
    """A read-only mask of False."""
    mask = np.zeros(size, dtype=bool)
    mask.flags.writeable = False
    return mask


def unit_of(catalogue: Catalogue, asset: str, tag: str) -> str:
    """The tag's unit with a space before it, or nothing."""
    known = catalogue.tag(asset, tag)
    return f" {known.unit}" if known and known.unit else ""


@lru_cache(maxsize=4096)
def constant(size: int, value: float) -> Floats:
    """A read-only array of one value."""
    array = np.full(size, value)
    array.flags.writeable = False
    return array
