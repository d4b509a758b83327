"""Detect what leaves its own recent mean: EWMA z-score."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from models.detectors import ewma
from models.time import Duration, format_duration
from topologies.core.flow import Scores, Series
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Context
from topologies.steps.detect.base import Detector, Judge, Mask, constant, rows_of, unit_of
from topologies.steps.detect.episodes import Episodes
from topologies.steps.patterns import Matcher

_LEARN = {"all": ewma.ALL, "clip": ewma.CLIP, "none": ewma.NOTHING}
_COLUMNS = Columns(
    1, mean=Column(np.float64), var=Column(np.float64), n=Column(np.int64), last=Column(np.int64)
)


class Ewma(Detector):
    """Score: standard deviations from the exponentially weighted mean before the sample.

    An anomalous sample is learnt as if it were at the threshold (``learn = "clip"``): one spike
    then hardly widens the band for what follows, and a lasting new level is still accepted in the
    end, so that an episode cannot stay open for ever.
    """

    kind: ClassVar[str] = "ewma"

    tau: Duration = Field(300_000_000_000, gt=0, description="Memory of mean and deviation")
    threshold: float = Field(4.0, gt=0, description="Anomalous above so many standard deviations")
    min_samples: int = Field(
        30, ge=2, description="Not judged before so many; the memory is never shorter either"
    )
    floor: float = Field(
        0.0, ge=0, description="Smallest standard deviation that counts, in the tag's unit"
    )
    learn: Literal["clip", "all", "none"] = Field(
        "clip", description="What an anomalous sample teaches: as at the threshold, all, or nothing"
    )

    @property
    def summary(self) -> str:
        return f"z > {self.threshold:g}, tau {format_duration(self.tau)}"

    def judge(self, context: Context) -> Judge:
        threshold, wanted = self.threshold, Matcher(self.tags)
        catalogue = context.knowledge.catalogue
        tau, minimum, floor, learn = self.tau, self.min_samples, self.floor, _LEARN[self.learn]

        def judge(memory: Memory, series: Series, usable: Mask, episodes: Episodes) -> Scores:
            table = memory.table(_COLUMNS)
            rows = rows_of(table, series, wanted)
            said = ewma.Judged.of(len(series))
            ewma.judge(
                rows, series.v, series.t, usable,
                table["mean"], table["var"], table["n"], table["last"],
                tau, minimum, floor, threshold, learn,
                said.score, said.active, said.judged, said.mean, said.var,
            )  # fmt: skip
            table.save()

            def why(place: int) -> str:
                tag = series.tags[series.tag[place]]
                unit = unit_of(catalogue, series.asset, tag)
                return (
                    f"{tag} is {series.v[place]:.6g}{unit}, {said.score[place]:.3g} standard"
                    f" deviations from its recent mean of {said.mean[place]:.6g}{unit} (standard"
                    f" deviation {said.var[place] ** 0.5:.3g}, threshold {threshold:g})"
                )

            limit = constant(len(series), threshold)
            return Scores(self.name, series, said.score, limit, said.active, said.judged, why)

        return judge
