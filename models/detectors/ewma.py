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
- ``minimum``: the memory is never shorter than so many samples. ``1/i`` makes the first ones a
  plain mean and variance (an EWMA started at its first value is too narrow for a whole τ); the
  upper bound keeps a night's gap from forgetting the variance, which would make the next sample
  an anomaly whatever it is.
- ``floor``: the smallest standard deviation that counts, in the signal's unit: its resolution, or
  what nobody would look at. Without one a constant signal's first twitch is an anomaly.

Out-of-order samples count in arrival order with Δt = 0.

    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0, 3.0, 2.0, 9.0]])
    >>> t = np.arange(5)[None, :] * 1_000_000_000
    >>> state = fresh(1)
    >>> mean, var = scan(state, x, t, None, tau=10_000_000_000, minimum=4)
    >>> mean.round(6).tolist(), var.round(6).tolist()
    ([[1.0, 1.0, 1.5, 2.0, 2.0]], [[0.0, 0.0, 0.25, 0.666667, 0.5]])
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: A deviation of rounding errors alone is none: relative to the mean.
RESOLUTION = 1e-9
#: Scores are cut here, so that a constant signal's first twitch has one that can be written down.
CAP = 1e6
#: Longest scan in one piece: (1 − 1/2)**256 is still a normal float64.
PIECE = 256


@dataclass(slots=True)
class Ewma:
    """The state of g signals, arrays of shape (g,). :func:`scan` moves it on in place."""

    mean: Floats
    var: Floats
    #: Samples learnt.
    n: Ints
    #: Newest time, ns (of no meaning where n is 0).
    last: Ints

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All four."""
        return self.mean, self.var, self.n, self.last


def fresh(size: int) -> Ewma:
    """Signals of which nothing is known."""
    return Ewma(np.zeros(size), np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.int64))


def scan(
    state: Ewma, x: Floats, t: Ints, learn: NDArray[np.bool_] | None, *, tau: int, minimum: int
) -> tuple[Floats, Floats]:
    """Mean and variance *before* each sample; the state is moved on past all of them.

    What comes before the first sample ever learnt has no meaning.

    ``x``, ``t`` (ns), ``learn`` have shape (g, n), ``learn`` False (or None: all True) where a
    sample teaches nothing, whatever its value; ``minimum`` is at least 2. No loop over samples:
    both recursions are linear in their state, m_i = P_i·(m_0 + Σ_j≤i α_j·y_j / P_j) with
    P_i = Π_j≤i (1 − α_j) and y relative to m_0, in pieces of 256 so that P stays far from zero.
    """
    if x.shape[1] <= PIECE:
        return _scan(state, x, t, learn, tau, minimum)
    mean, var = np.empty_like(x), np.empty_like(x)
    for low in range(0, x.shape[1], PIECE):
        part = np.s_[:, low : low + PIECE]
        taught = None if learn is None else learn[part]
        mean[part], var[part] = _scan(state, x[part], t[part], taught, tau, minimum)
    return mean, var


def _scan(
    state: Ewma, x: Floats, t: Ints, learn: NDArray[np.bool_] | None, tau: int, minimum: int
) -> tuple[Floats, Floats]:
    groups, size = x.shape
    known = state.n.astype(np.float64)[:, None]
    if learn is None:
        count = known + _steps(size)
        new = state.n == 0
        first_x, first_t = x[:, 0], t[:, 0]
    else:
        count = known + np.cumsum(learn, axis=1)
        new = (state.n == 0) & learn.any(axis=1)
        place = learn.argmax(axis=1)
        rows = np.arange(groups)
        first_x, first_t = x[rows, place], t[rows, place]
        t = np.where(learn, t, np.where(state.n == 0, first_t, state.last)[:, None])
    begins = np.count_nonzero(new) > 0
    if begins:
        state.mean = np.where(new, first_x, state.mean)
        state.last = np.where(new, first_t, state.last)
    newest = np.empty((groups, size + 1), np.int64)
    newest[:, 0], newest[:, 1:] = state.last, t
    np.maximum.accumulate(newest, axis=1, out=newest)
    alpha = (newest[:, 1:] - newest[:, :-1]) * (-1.0 / tau)
    np.expm1(alpha, out=alpha)
    np.negative(alpha, out=alpha)
    np.minimum(alpha, 1.0 / minimum, out=alpha)
    # The very first sample is the mean already: it is 1 of 1, and moves nothing.
    np.maximum(alpha, 1.0 / (count if learn is None else np.maximum(count, 1)), out=alpha)
    y = x - state.mean[:, None]
    if learn is not None:
        alpha[~learn] = 0.0
        y[~learn] = 0.0
    if begins:
        alpha[count == 1] = 0.0
    keep = 1.0 - alpha
    product = np.multiply.accumulate(keep, axis=1)
    share = alpha / product
    # One column more than samples: the first is the state before, the last the one after.
    mean = np.zeros((groups, size + 1))
    after = np.add.accumulate(share * y, axis=1, out=mean[:, 1:])
    after *= product
    y -= mean[:, :-1]
    if learn is not None:
        y[~learn] = 0.0
    y *= y
    y *= share
    y *= keep
    var = np.empty((groups, size + 1))
    var[:, 0] = state.var
    after = np.add.accumulate(y, axis=1, out=var[:, 1:])
    after += var[:, :1]
    after *= product
    mean += state.mean[:, None]
    state.mean, state.var = mean[:, -1].copy(), var[:, -1].copy()
    state.n = count[:, -1].astype(np.int64)
    state.last = newest[:, -1].copy()
    return mean[:, :-1], var[:, :-1]


def score(x: Floats, mean: Floats, var: Floats, floor: float) -> Floats:
    """How many standard deviations each value is from the mean before it; any shape."""
    spread = np.sqrt(var)
    least = np.abs(mean)
    least *= RESOLUTION
    np.maximum(least, max(floor, 1e-300), out=least)
    np.maximum(spread, least, out=spread)
    result = np.subtract(x, mean)
    np.abs(result, out=result)
    result /= spread
    return np.minimum(result, CAP, out=result)


def clipped(
    state: Ewma,
    g: int,
    x: Floats,
    t: Ints,
    learn: NDArray[np.bool_],
    *,
    tau: int,
    minimum: int,
    floor: float,
    threshold: float,
    reject: bool = False,
) -> tuple[Floats, Floats]:
    """The recursion by its definition for signal ``g`` alone, samples of shape (n,), with a limit:
    a sample over ``threshold`` teaches only as much as one at the threshold would, or with
    ``reject`` nothing. That is not linear, so it is a loop; it runs only for tags that need it.
    """
    mean, var = float(state.mean[g]), float(state.var[g])
    n, last = int(state.n[g]), int(state.last[g])
    means, variances = np.empty(x.size), np.empty(x.size)
    rows = zip(x.tolist(), t.tolist(), learn.tolist(), strict=True)
    for i, (value, at, taught) in enumerate(rows):
        if n == 0 and taught:
            mean, last = value, at
        means[i], variances[i] = mean, var
        if not taught:
            continue
        n += 1
        newest = max(at, last)
        alpha = max(1.0 / n, min(-math.expm1((newest - last) * (-1.0 / tau)), 1.0 / minimum))
        last = newest
        off = value - mean
        if n > minimum:
            most = threshold * max(math.sqrt(var), floor, RESOLUTION * abs(mean), 1e-300)
            if abs(off) > most:
                if reject:
                    continue
                off = math.copysign(most, off)
        mean += alpha * off
        var = (1.0 - alpha) * (var + alpha * off * off)
    state.mean[g], state.var[g], state.n[g], state.last[g] = mean, var, n, last
    return means, variances


@lru_cache(maxsize=PIECE)
def _steps(size: int) -> Floats:
    steps = np.arange(1.0, size + 1)
    steps.flags.writeable = False
    return steps
