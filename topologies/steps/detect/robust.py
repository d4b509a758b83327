"""Detect what is far from the median of its last values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from models.detectors import robust
from topologies.core.flow import Scores, Series
from topologies.core.migrate import Arrays, relaid
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Context, Kept
from topologies.steps.detect.base import Detector, Judge, Mask, constant, rows_of, unit_of
from topologies.steps.detect.episodes import Episodes
from topologies.steps.patterns import Matcher


class RobustZ(Detector):
    """Score: |x − median| of the last values, in median absolute deviations (0.6745 of them)."""

    kind: ClassVar[str] = "robust_z"
    state_version: ClassVar[int] = 2
    state_parameters: ClassVar[tuple[str, ...]] = ("of", "statistic", "window")

    window: int = Field(60, ge=5, le=2000, description="How many last values are the norm")
    threshold: float = Field(5.0, gt=0, description="Anomalous above this score")
    min_samples: int = Field(20, ge=3, description="Not judged before so many values are known")
    floor: float = Field(
        0.0, ge=0, description="Smallest spread (as a standard deviation) that counts, in the unit"
    )

    @model_validator(mode="after")
    def _reachable(self) -> RobustZ:
        if self.min_samples > self.window:
            raise ValueError(
                f"min_samples ({self.min_samples}) is more than window ({self.window}) holds"
            )
        return self

    def migrates(self, old: Kept) -> bool:
        """Another number of last values: the newest of those known are taken over."""
        same = all(old.parameters.get(name) == getattr(self, name) for name in ("of", "statistic"))
        return same and old.version in (1, 2)

    def migrate(self, old: Kept, values: Mapping[str, bytes]) -> Mapping[str, bytes]:
        was, now = int(old.parameters["window"]), self.window

        def change(arrays: Arrays) -> Arrays:
            if old.version == 1:
                last = arrays["last"]
                n = np.count_nonzero(~np.isnan(last), axis=1)
            else:
                last, n = robust.arrived(robust.Windows(**arrays)), arrays["n"]
            more = np.full((len(last), max(now - was, 0)), np.nan)
            last = np.concatenate((more, last[:, max(was - now, 0) :]), axis=1)
            # Of those that came before, no more are known than there was room for.
            return robust.windows(last, np.minimum(n, was) if now > was else n)._asdict()

        before = _first_columns(was) if old.version == 1 else _columns(was)
        return relaid(values, before, _columns(now), change)

    @property
    def summary(self) -> str:
        return f"robust z > {self.threshold:g}, last {self.window}"

    def judge(self, context: Context) -> Judge:
        threshold, wanted = self.threshold, Matcher(self.tags)
        catalogue, columns = context.knowledge.catalogue, _columns(self.window)
        minimum, floor = self.min_samples, self.floor

        def judge(memory: Memory, series: Series, usable: Mask, episodes: Episodes) -> Scores:
            table = memory.table(columns)
            rows = rows_of(table, series, wanted)
            said = robust.Judged.of(len(series))
            robust.judge(
                rows, series.v, usable, table["value"], table["n"], table["number"],
                minimum, floor, threshold,
                said.score, said.active, said.judged, said.median, said.spread,
            )  # fmt: skip
            table.save()

            def why(place: int) -> str:
                tag = series.tags[series.tag[place]]
                unit = unit_of(catalogue, series.asset, tag)
                return (
                    f"{tag} is {series.v[place]:.6g}{unit}, a robust score of"
                    f" {said.score[place]:.3g} from the median {said.median[place]:.6g}{unit} of"
                    f" its last {self.window} values (spread {said.spread[place]:.3g},"
                    f" threshold {threshold:g})"
                )

            limit = constant(len(series), threshold)
            return Scores(self.name, series, said.score, limit, said.active, said.judged, why)

        return judge


def _columns(window: int) -> Columns:
    return Columns(
        2,
        value=Column(np.float64, 0.0, window),
        n=Column(np.int64),
        number=Column(np.uint16, 0, window),
    )


def _first_columns(window: int) -> Columns:
    """Of version 1: the last values, the newest last, NaN before the first."""
    return Columns(1, last=Column(np.float64, np.nan, window))
