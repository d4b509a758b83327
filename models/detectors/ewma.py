"""EWMA: exponentially weighted mean and variance of an irregularly sampled signal.

    α_i    = max(1/i, min(1 − exp(−Δt_i/τ), 1/minimum))
    d_i    = x_i − mean_{i−1}
    mean_i = mean_{i−1} + α_i·d_i
    var_i  = (1 − α_i)·(var_{i−1} + α_i·d_i²)

and the score of x_i is |d_i| / max(sd_{i−1}, floor, 1e-9·|mean_{i−1}|), in standard deviations.

Sources: Finch, "Incremental calculation of weighted mean and variance", 2009 (the variance);
Eckner, "Algorithms for unevenly spaced time series", 2019 (α of an irregular step).

Parameters and their reasons:

- ``tau``: how long the memory is. A few times the slowest normal movement of the signal: shorter
  and the mean follows the fault, longer and the mean lags behind normal changes.
- ``minimum``: nothing is judged before so many samples, and the memory is never shorter. ``1/i``
  makes the first ones a plain mean and variance (an EWMA started at its first value is too narrow
  for a whole τ); the upper bound keeps a night's gap from forgetting the variance, which would
  make the next sample an anomaly whatever it is.
- ``floor``: the smallest standard deviation that counts, in the signal's unit: its resolution, or
  what nobody would look at. Without one a constant signal's first twitch is an anomaly.
- ``learn``: what a sample over the threshold teaches: :data:`ALL`, as much as one at the threshold
  (:data:`CLIP`), or :data:`NOTHING`.

A sample beyond ±1e150 teaches nothing: its square is infinite, as the variance would be for ever.
Out-of-order samples count in arrival order with Δt = 0.

    >>> import numpy as np
    >>> x = np.array([1.0, 2.0, 3.0, 2.0, 9.0])
    >>> t = np.arange(5) * 1_000_000_000
    >>> state, judged = fresh(1), Judged.of(5)
    >>> judge(np.zeros(5, np.intp), x, t, np.ones(5, bool), *state, 10_000_000_000, 4, 0.0, 3.0,
    ...       CLIP, *judged)
    >>> judged.mean.round(6).tolist(), judged.var.round(6).tolist()
    ([1.0, 1.0, 1.5, 2.0, 2.0], [0.0, 0.0, 0.25, 0.666667, 0.5])
    >>> judged.active.tolist(), state.mean.round(6).tolist()
    ([False, False, False, False, True], [2.424264])
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.jit import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: A deviation of rounding errors alone is none: relative to the mean.
RESOLUTION = 1e-9
#: Scores are cut here, so that a constant signal's first twitch has one that can be written down.
CAP = 1e6
#: Samples beyond are judged and not learnt: squares of deviations between those learnt are finite.
LARGEST = 1e150

#: What an anomalous sample teaches.
ALL, CLIP, NOTHING = 0, 1, 2


class Ewma(NamedTuple):
    """The state of g signals, arrays of shape (g,)."""

    mean: Floats
    var: Floats
    #: Samples learnt.
    n: Ints
    #: Newest time, ns (of no meaning where n is 0).
    last: Ints


class Judged(NamedTuple):
    """What is said of n samples, arrays of shape (n,)."""

    #: NaN where the sample is not usable, as are mean and variance.
    score: Floats
    #: Over the threshold.
    active: Mask
    #: Usable, and enough was learnt before.
    judged: Mask
    #: Mean and variance before the sample.
    mean: Floats
    var: Floats

    @classmethod
    def of(cls, size: int) -> Judged:
        """Arrays to be filled."""
        score, mean, var = np.empty(size), np.empty(size), np.empty(size)
        return cls(score, np.empty(size, bool), np.empty(size, bool), mean, var)


def fresh(size: int) -> Ewma:
    """Signals of which nothing is known."""
    return Ewma(np.zeros(size), np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.int64))


@kernel
def judge(
    signal: NDArray[np.intp],
    x: Floats,
    t: Ints,
    usable: Mask,
    mean: Floats,
    var: Floats,
    n: Ints,
    last: Ints,
    tau: int,
    minimum: int,
    floor: float,
    threshold: float,
    learn: int,
    score: Floats,
    active: Mask,
    judged: Mask,
    mean_before: Floats,
    var_before: Floats,
) -> None:
    """Judge samples in the order in which they came, and learn from those that are usable.

    ``signal`` (n,) says which of g signals each sample ``x``, ``t`` (ns) is of. The state,
    ``mean`` to ``last``, is that of an :class:`Ewma` and moved on; the last five are those of a
    :class:`Judged` and filled.
    """
    for i in range(x.size):
        g = signal[i]
        judged[i] = usable[i] and n[g] >= minimum
        active[i] = False
        if not usable[i]:
            score[i] = mean_before[i] = var_before[i] = np.nan
            continue
        learnt = abs(x[i]) <= LARGEST
        if n[g] == 0 and learnt:
            mean[g], last[g] = x[i], t[i]
        mean_before[i], var_before[i] = mean[g], var[g]
        off = x[i] - mean[g]
        spread = max(math.sqrt(var[g]), floor, RESOLUTION * abs(mean[g]), 1e-300)
        score[i] = min(abs(off) / spread, CAP)
        active[i] = judged[i] and score[i] > threshold
        if not learnt:
            continue
        n[g] += 1
        newest = max(t[i], last[g])
        alpha = max(1.0 / n[g], min(-math.expm1((newest - last[g]) * (-1.0 / tau)), 1.0 / minimum))
        last[g] = newest
        if active[i] and learn == NOTHING:
            continue
        if active[i] and learn == CLIP:
            off = math.copysign(threshold * spread, off)
        mean[g] += alpha * off
        var[g] = (1.0 - alpha) * (var[g] + alpha * off * off)
