"""Detect what leaves its own recent mean: EWMA z-score."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.detectors import ewma
from models.time import Duration, format_duration
from topologies.core.flow import Flow, Scores, Series
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Context
from topologies.steps.detect.base import Detector, Floats, Judge, Mask, constant, unit_of
from topologies.steps.detect.rectangles import Rectangle, rectangles

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
        threshold, catalogue = self.threshold, context.knowledge.catalogue

        def judge(flow: Flow, memory: Memory, series: Series, usable: Mask) -> Scores:
            table = memory.table(_COLUMNS)
            rows = table.rows(series.tags)[series.groups.tag]
            columns = table["mean"], table["var"], table["n"], table["last"]
            every = (series.complete and usable is series.usable) or bool(usable.all())
            parts: list[tuple[Rectangle, _Judged]] = []
            for part in rectangles(series.groups):
                where = rows if part.places is None else rows[part.runs]
                x, t, taught = part.of(series.v), part.of(series.t), part.real
                if not every:
                    ok = part.of(usable)
                    taught = ok if taught is None else ok & taught
                    x = np.where(taught, x, 0.0)
                before = ewma.Ewma(*(column.take(where) for column in columns))
                after, result = self._run(before, x, t, taught)
                for column, values in zip(columns, after.arrays(), strict=True):
                    column[where] = values
                parts.append((part, result))
            table.save()
            score, ready = _gathered(parts, 0, len(series)), _gathered(parts, 3, len(series))
            judged = usable
            if ready is not None:
                judged = usable & (ready > 0)
            active = score > threshold
            active &= judged

            def why(place: int) -> str:
                tag = series.tags[series.tag[place]]
                unit = unit_of(catalogue, series.asset, tag)
                mean = _gathered(parts, 1, len(series))[place]
                spread = _gathered(parts, 2, len(series))[place] ** 0.5
                return (
                    f"{tag} is {series.v[place]:.6g}{unit}, {score[place]:.3g} standard deviations"
                    f" from its recent mean of {mean:.6g}{unit}"
                    f" (standard deviation {spread:.3g}, threshold {threshold:g})"
                )

            return Scores(
                self.name, series, score, constant(len(series), threshold), active, judged, why
            )

        return judge

    def _run(
        self, before: ewma.Ewma, x: Floats, t: NDArray[np.int64], taught: Mask | None
    ) -> tuple[ewma.Ewma, _Judged]:
        """The state after samples (g, n), and what is to be said of them."""
        minimum, floor, threshold = self.min_samples, self.floor, self.threshold
        state = ewma.Ewma(before.mean, before.var, before.n, before.last)
        mean, var = ewma.scan(state, x, t, taught, tau=self.tau, minimum=minimum)
        z = ewma.score(x, mean, var, floor)
        ready = None
        if np.minimum.reduce(before.n) < minimum:
            ready = (_counted(before.n, taught, x.shape[1]) >= minimum).astype(np.float64)
        over = z > threshold
        if self.learn != "all" and np.count_nonzero(over):
            if ready is not None:
                over &= ready > 0
            if taught is not None:
                over &= taught
            for g in np.flatnonzero(over.any(axis=1)).tolist():
                # What an anomalous sample teaches is limited: this row once more, by steps.
                for now, then in zip(state.arrays(), before.arrays(), strict=True):
                    now[g] = then[g]
                mean[g], var[g] = ewma.clipped(
                    state,
                    g,
                    x[g],
                    t[g],
                    np.ones(x.shape[1], dtype=bool) if taught is None else taught[g],
                    tau=self.tau,
                    minimum=minimum,
                    floor=floor,
                    threshold=threshold,
                    reject=self.learn == "none",
                )
                z[g] = ewma.score(x[g], mean[g], var[g], floor)
        return state, _Judged(z, mean, var, ready)


class _Judged(NamedTuple):
    """Of samples (g, n): score, mean and variance before each, and 1 where enough was learnt."""

    score: Floats
    mean: Floats
    var: Floats
    #: None: everywhere.
    ready: Floats | None


def _gathered(parts: list[tuple[Rectangle, _Judged]], place: int, size: int) -> Any:
    """One array of all parts' results, shape (n,); None where all have none."""
    columns = [(part, result[place]) for part, result in parts]
    if len(columns) == 1 and columns[0][0].places is None:
        only = columns[0][1]
        return None if only is None else only.ravel()
    if all(column is None for _, column in columns):
        return None
    out = np.ones(size)
    for part, column in columns:
        if column is not None:
            part.back(column, out)
    return out


def _counted(before: NDArray[np.int64], taught: Mask | None, size: int) -> NDArray[np.int64]:
    """How many samples had been learnt before each."""
    if taught is None:
        return before[:, None] + np.arange(size)
    seen: NDArray[np.int64] = np.cumsum(taught, axis=1) - taught
    return before[:, None] + seen
