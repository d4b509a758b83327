"""Detect what is far from the median of its last values."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from models.detectors import robust
from topologies.core.flow import Flow, Scores, Series, group
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Context
from topologies.steps.detect.base import Detector, Judge, Mask, constant, unit_of
from topologies.steps.detect.rectangles import rectangles


class RobustZ(Detector):
    """Score: |x − median| of the last values, in median absolute deviations (0.6745 of them)."""

    kind: ClassVar[str] = "robust_z"

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

    @property
    def summary(self) -> str:
        return f"robust z > {self.threshold:g}, last {self.window}"

    def judge(self, context: Context) -> Judge:
        columns = Columns(1, last=Column(np.float64, np.nan, self.window))
        catalogue, threshold = context.knowledge.catalogue, self.threshold

        def judge(flow: Flow, memory: Memory, series: Series, usable: Mask) -> Scores:
            size = len(series)
            score, middle = np.full(size, np.nan), np.full(size, np.nan)
            spreads, judged = np.full(size, np.nan), np.zeros(size, dtype=bool)
            chosen = np.flatnonzero(usable)
            if chosen.size:
                table = memory.table(columns)
                every = chosen.size == size
                groups = series.groups if every else group(series.tag[chosen])
                rows = table.rows(series.tags)[groups.tag]
                v = series.v[chosen]
                for part in rectangles(groups):
                    where = rows[part.runs]
                    history = table["last"][where]
                    x = part.of(v)
                    if part.real is not None:
                        x = np.where(part.real, x, np.nan)
                    median, spread = robust.windows(history, x)
                    known = np.count_nonzero(history == history, axis=1)[:, None]
                    ready = known + np.arange(part.shape[1]) >= self.min_samples
                    z = robust.score(x, median, spread, self.floor)
                    place = (
                        chosen.reshape(part.shape) if part.places is None else chosen[part.places]
                    )
                    real = np.s_[:] if part.real is None else part.real
                    score[place[real]], judged[place[real]] = z[real], ready[real]
                    middle[place[real]], spreads[place[real]] = median[real], spread[real]
                    table["last"][where] = robust.following(history, x, groups.size[part.runs])
                table.save()
            active = (score > threshold) & judged

            def why(place: int) -> str:
                tag = series.tags[series.tag[place]]
                unit = unit_of(catalogue, series.asset, tag)
                return (
                    f"{tag} is {series.v[place]:.6g}{unit}, a robust score of {score[place]:.3g}"
                    f" from the median {middle[place]:.6g}{unit} of its last {self.window} values"
                    f" (spread {spreads[place]:.3g}, threshold {threshold:g})"
                )

            return Scores(self.name, series, score, constant(size, threshold), active, judged, why)

        return judge
