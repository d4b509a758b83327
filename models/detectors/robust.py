"""Robust z-score: distance from the median of the last values, in median absolute deviations.

    z = 0.6745·(x − med) / MAD,   MAD = median |x_j − med| over the last ``window`` values

Source: Iglewicz & Hoaglin, "How to Detect and Handle Outliers", 1993 (their modified z-score; they
advise a threshold of 3.5). 0.6745 makes it a standard score where the values are normal.

Where MAD is 0 (more than half of the values are equal) their mean absolute deviation takes its
place: z = (x − med) / (1.253314·MeanAD). Where that is 0 too, every value is the same: x scores 0
if it is that value, else :data:`CAP`. ``floor`` is the smallest spread that counts, in the unit of
the values; the spread is never taken below 1e-9 of the median.

Parameters and their reasons: ``window``, how many values are "normal lately": a fault must not
fill half of it, and every value costs 10 bytes of state. ``minimum``: judged only once so many
values are there; a median of a handful says nothing.

The value judged is not in its own window. Every usable value enters it: a median does not mind.

The window is kept in order of size, each value beside the place it has in order of arrival: taking
out the oldest and putting in the newest moves others, but nothing is ever sorted; and in an ordered
window the distances from the median are two ordered lists, to be met in the middle.

    >>> import numpy as np
    >>> state, judged = fresh(1, 5), Judged.of(6)
    >>> judge(np.zeros(6, np.intp), np.array([1.0, 2.0, 3.0, 4.0, 5.0, 100.0]), np.ones(6, bool),
    ...       *state, 4, 0.0, 3.5, *judged)
    >>> judged.median[4:].tolist(), judged.spread[4:].round(4).tolist()
    ([2.5, 3.0], [1.4826, 1.4826])
    >>> judged.score[4:].round(2).tolist(), judged.active.tolist()
    ([1.69, 65.43], [False, False, False, False, False, True])
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.jit import kernel

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: 1 / 0.6745, the normal quantile at 3/4.
MAD_TO_SD = 1.0 / 0.6745
#: The normal's standard deviation by its mean absolute deviation.
MEAN_AD_TO_SD = 1.253314
RESOLUTION = 1e-9
#: Scores are cut here, so that they can be written down.
CAP = 1e6


class Windows(NamedTuple):
    """The last values of g signals."""

    #: In order of size, equal ones of arrival, shape (g, window); 0 beyond as many as there are.
    value: Floats
    #: Values that ever came, shape (g,).
    n: NDArray[np.int64]
    #: Of each value: how many came before it, modulo ``window``, shape (g, window).
    number: NDArray[np.uint16]


class Judged(NamedTuple):
    """What is said of n values, arrays of shape (n,)."""

    #: NaN where the value is not usable or the first, as are median and spread.
    score: Floats
    #: Over the threshold.
    active: Mask
    #: Usable, and enough values were there before.
    judged: Mask
    #: Median and spread (as a standard deviation) of the window before the value.
    median: Floats
    spread: Floats

    @classmethod
    def of(cls, size: int) -> Judged:
        """Arrays to be filled."""
        score, median, spread = np.empty(size), np.empty(size), np.empty(size)
        return cls(score, np.empty(size, bool), np.empty(size, bool), median, spread)


def fresh(size: int, window: int) -> Windows:
    """Signals of which nothing is known."""
    shape = (size, window)
    return Windows(np.zeros(shape), np.zeros(size, np.int64), np.zeros(shape, np.uint16))


def arrived(state: Windows) -> Floats:
    """The values in order of arrival, the newest last, shape (g, window); NaN before the first."""
    value, n, number = state
    window = value.shape[1]
    known = np.arange(window) < n[:, None]
    age = np.where(known, (number - n[:, None]) % window, -1)
    order = np.argsort(age, axis=1, kind="stable")
    return np.take_along_axis(np.where(known, value, np.nan), order, axis=1)


def windows(values: Floats, n: NDArray[np.int64]) -> Windows:
    """The state of which :func:`arrived` is ``values``, after ``n`` (g,) that ever came."""
    window = values.shape[1]
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    known = ~np.isnan(ordered)
    number = np.where(known, (order + n[:, None]) % window, 0)
    return Windows(np.where(known, ordered, 0.0), n, number.astype(np.uint16))


@kernel
def judge(
    signal: NDArray[np.intp],
    x: Floats,
    usable: Mask,
    value: Floats,
    n: NDArray[np.int64],
    number: NDArray[np.uint16],
    minimum: int,
    floor: float,
    threshold: float,
    score: Floats,
    active: Mask,
    judged: Mask,
    median: Floats,
    spread: Floats,
) -> None:
    """Judge values in the order in which they came, and put those that are usable in the windows.

    ``signal`` (n,) says which of g signals each of ``x`` (n,) is of. The state, ``value`` to
    ``number``, is that of :class:`Windows` and moved on; the last five are those of a
    :class:`Judged` and filled.
    """
    window = value.shape[1]
    for i in range(x.size):
        g = signal[i]
        active[i] = judged[i] = False
        score[i] = median[i] = spread[i] = np.nan
        if not usable[i]:
            continue
        size = min(n[g], window)
        if size:
            median[i], spread[i] = _norm(value[g, :size])
            least = max(abs(median[i]) * RESOLUTION, floor, 1e-300)
            score[i] = min(abs(x[i] - median[i]) / max(spread[i], least), CAP)
            judged[i] = size >= minimum
            active[i] = judged[i] and score[i] > threshold
        _enter(value[g], number[g], size, n[g] % window, x[i])
        n[g] += 1


@kernel
def _norm(ordered: Floats) -> tuple[float, float]:
    """Median and spread of at least one value in order of size."""
    size = ordered.size
    middle = (ordered[(size - 1) // 2] + ordered[size // 2]) * 0.5
    # Distances grow from the middle to both sides: the smallest half of them is taken one by one.
    right = size // 2
    left = right - 1
    before = nearest = 0.0
    for _ in range(size // 2 + 1):
        before = nearest
        if left < 0 or (right < size and ordered[right] - middle < middle - ordered[left]):
            nearest = abs(ordered[right] - middle)
            right += 1
        else:
            nearest = abs(ordered[left] - middle)
            left -= 1
    mad = nearest if size % 2 else (before + nearest) * 0.5
    if mad != 0.0:
        return middle, mad * MAD_TO_SD
    total = 0.0
    for k in range(size):
        total += abs(ordered[k] - middle)
    return middle, total / size * MEAN_AD_TO_SD


@kernel
def _enter(value: Floats, number: NDArray[np.uint16], size: int, new: int, x: float) -> None:
    """Put ``x`` in its place, after its equals; where the window is full, for the oldest."""
    hole = size
    if size == value.size:
        hole = 0
        while number[hole] != new:
            hole += 1
    while hole > 0 and value[hole - 1] > x:
        value[hole], number[hole] = value[hole - 1], number[hole - 1]
        hole -= 1
    while hole < size - 1 and value[hole + 1] <= x:
        value[hole], number[hole] = value[hole + 1], number[hole + 1]
        hole += 1
    value[hole], number[hole] = x, new
