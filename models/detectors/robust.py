"""Robust z-score: distance from the median of the last values, in median absolute deviations.

    z = 0.6745·(x − med) / MAD,   MAD = median |x_j − med| over the last ``window`` values

Source: Iglewicz & Hoaglin, "How to Detect and Handle Outliers", 1993 (their modified z-score; they
advise a threshold of 3.5). 0.6745 makes it a standard score where the values are normal.

Where MAD is 0 (more than half of the values are equal) their mean absolute deviation takes its
place: z = (x − med) / (1.253314·MeanAD). Where that is 0 too, every value is the same: x scores 0
if it is that value, else :data:`CAP`. ``floor`` is the smallest spread that counts, in the unit of
the values; the spread is never taken below 1e-9 of the median.

Parameters and their reasons: ``window``, how many values are "normal lately": a fault must not
fill half of it, and every value costs 8 bytes of state and a sort. ``minimum``: judged only once
so many values are there; a median of a handful says nothing.

The value judged is not in its own window. Every usable value enters it: a median does not mind.

    >>> import numpy as np
    >>> history = np.array([[np.nan, 1.0, 2.0, 3.0, 4.0]])
    >>> median, spread = windows(history, np.array([[5.0, 100.0]]))
    >>> median.tolist(), spread.round(4).tolist()
    ([[2.5, 3.0]], [[1.4826, 1.4826]])
    >>> score(np.array([[5.0, 100.0]]), median, spread, 0.0).round(2).tolist()
    [[1.69, 65.43]]
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: 1 / 0.6745, the normal quantile at 3/4.
MAD_TO_SD = 1.0 / 0.6745
#: The normal's standard deviation by its mean absolute deviation.
MEAN_AD_TO_SD = 1.253314
RESOLUTION = 1e-9
#: Scores are cut here, so that they can be written down.
CAP = 1e6
#: Numbers sorted at once: keeps the working memory of a long block small.
AT_ONCE = 500_000


def windows(history: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Median and spread (as a standard deviation) of the window before each value.

    ``history`` (g, window): the last values of g signals, newest last, NaN where there were none
    yet; ``x`` (g, n): the values that follow, NaN after the last. Both results (g, n).
    """
    groups, window = history.shape
    size = x.shape[1]
    if size == 1:
        median, spread = _of(history)
        return median[:, None], spread[:, None]
    joined = np.concatenate((history, x), axis=1)
    view = sliding_window_view(joined, window, axis=1)[:, :size]
    median, spread = np.empty((groups, size)), np.empty((groups, size))
    step = max(1, AT_ONCE // (groups * window))
    for low in range(0, size, step):
        part = np.s_[:, low : low + step]
        median[part], spread[part] = _of(view[part])
    return median, spread


def following(history: Floats, x: Floats, used: NDArray[np.intp]) -> Floats:
    """The history after ``used`` (g,) values of each row of ``x``."""
    groups, window = history.shape
    if x.shape[1] == 1 and used.all():
        return np.concatenate((history[:, 1:], x), axis=1)
    joined = np.concatenate((history, x), axis=1)
    place = used[:, None] + np.arange(window)
    result: Floats = joined[np.arange(groups)[:, None], place]
    return result


def score(x: Floats, median: Floats, spread: Floats, floor: float) -> Floats:
    """|z| of each value; any shape."""
    least = np.maximum(np.abs(median) * RESOLUTION, max(floor, 1e-300))
    result: Floats = np.minimum(np.abs(x - median) / np.maximum(spread, least), CAP)
    return result


def _of(values: Floats) -> tuple[Floats, Floats]:
    """Median and spread over the last axis, of those that are not NaN (they sort to the end)."""
    ordered = np.sort(values, axis=-1)
    count = np.count_nonzero(ordered == ordered, axis=-1)
    median = _middle(ordered, count)
    away = np.abs(ordered - median[..., None])
    mad = _middle(np.sort(away, axis=-1), count)
    spread = mad * MAD_TO_SD
    flat = (mad == 0) & (count > 0)
    if flat.any():
        spread[flat] = np.nansum(away[flat], axis=-1) / count[flat] * MEAN_AD_TO_SD
    return median, spread


def _middle(ordered: Floats, count: NDArray[np.intp]) -> Floats:
    size = ordered.shape[-1]
    if count.min(initial=size) == size:  # the same places in all
        return (ordered[..., (size - 1) // 2] + ordered[..., size // 2]) * 0.5
    low = np.maximum(count - 1, 0) // 2
    high = np.minimum(count // 2, ordered.shape[-1] - 1)
    one = np.take_along_axis(ordered, low[..., None], axis=-1)[..., 0]
    other = np.take_along_axis(ordered, high[..., None], axis=-1)[..., 0]
    result: Floats = (one + other) * 0.5
    return result
