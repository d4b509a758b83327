"""Detect values beyond static limits, with a deadband."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.catalogue import Catalogue
from models.detectors import limits
from topologies.core.flow import Scores, Series
from topologies.core.state import Memory
from topologies.core.step import Context
from topologies.steps.detect.base import Detector, Judge, Mask, constant, unit_of
from topologies.steps.detect.episodes import Episodes, marked

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

        def judge(
            memory: Memory, series: Series, usable: Mask, episodes: Episodes
        ) -> Scores | None:
            tags, size = series.tags, len(series)
            bounds = known.get((series.asset, tags))
            if bounds is None:
                if len(known) >= _REMEMBERED:
                    known.clear()
                bounds = known[series.asset, tags] = self._bounds(catalogue, series.asset, tags)
            if not bounds.some:
                return None
            on = marked(tags, episodes) if episodes else np.zeros(len(tags), bool)
            score, active, judged = np.empty(size), np.empty(size, bool), np.empty(size, bool)
            low, high, band = bounds.low, bounds.high, bounds.deadband
            limits.judge(series.tag, series.v, usable, low, high, band, on, score, active, judged)

            def why(place: int) -> str:
                tag = int(series.tag[place])
                return self._why(catalogue, series, float(low[tag]), float(high[tag]), place)

            return Scores(self.name, series, score, constant(size, 0.0), active, judged, why)

        return judge

    def _why(
        self, catalogue: Catalogue, series: Series, low: float, high: float, place: int
    ) -> str:
        tag, v = series.tags[series.tag[place]], float(series.v[place])
        unit = unit_of(catalogue, series.asset, tag)
        side = "above its upper" if v > high else "below its lower"
        limit = high if v > high else low
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
        return _Bounds(low, high, band, bool((np.isfinite(low) | np.isfinite(high)).any()))


class _Bounds(NamedTuple):
    """Limits of a list of tags, arrays of shape (tags,)."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    deadband: NDArray[np.float64]
    #: Whether any tag has a limit.
    some: bool
