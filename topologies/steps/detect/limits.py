"""Detect values beyond static limits, with a deadband."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.catalogue import Catalogue
from models.detectors import limits
from topologies.core.flow import Flow, Scores, Series
from topologies.core.state import Memory
from topologies.core.step import Context
from topologies.steps.detect.base import Detector, Floats, Judge, Mask, all_false, constant, unit_of
from topologies.steps.detect.episodes import open_tags

#: Lists of tags remembered per bound step.
_REMEMBERED = 4096


class Limits(Detector):
    """Score: how far beyond its limit a value is, in the tag's unit; anomalous above 0.

    Limits are the tag's own from the catalogue (``level`` says which pair), or ``low`` and
    ``high`` here, for all tags judged. A tag without limits is not judged. Once over, a value must
    come back by ``deadband`` to be normal.
    """

    kind: ClassVar[str] = "limits"

    level: Literal["warning", "critical"] = Field(
        "warning", description="Of the catalogue: warning is low and high, critical the outer pair"
    )
    low: float | None = Field(None, description="Lower limit in place of the catalogue's")
    high: float | None = Field(None, description="Upper limit in place of the catalogue's")
    deadband: float | None = Field(None, ge=0, description="In place of the catalogue's (or 0)")

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self

    @property
    def summary(self) -> str:
        if self.low is None and self.high is None:
            return f"{self.level} limits of the catalogue"
        parts = [f"< {self.low:g}" if self.low is not None else ""]
        parts.append(f"> {self.high:g}" if self.high is not None else "")
        return " or ".join(part for part in parts if part)

    def judge(self, context: Context) -> Judge:
        catalogue = context.knowledge.catalogue
        known: dict[tuple[str, tuple[str, ...]], _Bounds] = {}

        def judge(flow: Flow, memory: Memory, series: Series, usable: Mask) -> Scores | None:
            bounds = known.get((series.asset, series.tags))
            if bounds is None:
                if len(known) >= _REMEMBERED:
                    known.clear()
                bounds = self._bounds(catalogue, series.asset, series.tags)
                known[series.asset, series.tags] = bounds
            if not bounds.some:
                return None
            low, high = bounds.low.take(series.tag), bounds.high.take(series.tag)
            score = limits.score(series.v, low, high)
            judged = usable if bounds.all else usable & bounds.given[series.tag]
            open_before = memory.get("open") is not None
            # NaN, which no comparison holds for, goes the long way.
            lowest, highest = flow.extremes(series.v)
            if not open_before and lowest >= bounds.highest_low and highest <= bounds.lowest_high:
                active = all_false(len(series))
            else:
                active = score > 0.0
                active &= judged
            if open_before or np.count_nonzero(active):
                opened = open_tags(memory)
                groups = series.groups
                was = np.array([series.tags[place] in opened for place in groups.tag.tolist()])
                over, back = limits.sides(series.v, low, high, bounds.deadband[series.tag])
                active = limits.hold(over & judged, back & judged, groups.start, groups.size, was)
                active &= judged

            def why(place: int) -> str:
                return self._why(catalogue, series, low, high, place)

            return Scores(self.name, series, score, constant(len(series), 0.0), active, judged, why)

        return judge

    def _why(
        self, catalogue: Catalogue, series: Series, low: Floats, high: Floats, place: int
    ) -> str:
        tag, v = series.tags[series.tag[place]], float(series.v[place])
        unit = unit_of(catalogue, series.asset, tag)
        side = "above its upper" if v > high[place] else "below its lower"
        limit = float(high[place] if v > high[place] else low[place])
        return (
            f"{tag} is {v:.6g}{unit}, {side} {self.level} limit of {limit:.6g}{unit}"
            f" by {abs(v - limit):.4g}{unit}"
        )

    def _bounds(self, catalogue: Catalogue, asset: str, tags: tuple[str, ...]) -> _Bounds:
        size = len(tags)
        low, high, band = np.full(size, -np.inf), np.full(size, np.inf), np.zeros(size)
        for place, tag in enumerate(tags):
            known = catalogue.tag(asset, tag)
            own = known.limits if known is not None else None
            below = above = None
            if self.low is not None or self.high is not None:
                below, above = self.low, self.high
            elif own is not None and self.level == "warning":
                below, above = own.low, own.high
            elif own is not None:
                below, above = own.low_low, own.high_high
            low[place] = -np.inf if below is None else below
            high[place] = np.inf if above is None else above
            if self.deadband is not None:
                band[place] = self.deadband
            elif own is not None:
                band[place] = own.deadband
        given = np.isfinite(low) | np.isfinite(high)
        return _Bounds(
            low,
            high,
            band,
            given,
            bool(given.any()),
            bool(given.all()),
            float(low.max()),
            float(high.min()),
        )


class _Bounds(NamedTuple):
    """Limits of a list of tags."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    deadband: NDArray[np.float64]
    given: NDArray[np.bool_]
    some: bool
    all: bool
    #: Values from the one to the other are within all limits.
    highest_low: float
    lowest_high: float
