"""Static limits with a deadband.

    score_i = max(x_i − high, low − x_i)        in the unit of the values; over a limit if > 0

A value over a limit turns the condition on; it turns off only when the value is back by the
deadband: low + deadband ≤ x ≤ high − deadband. In between it stays as it was.

Source: ISA-18.2 / IEC 62682 (alarm deadband), OPC UA Part 9 (LimitAlarmType).

Parameters and their reasons: ``low``/``high`` come from the process (−inf, inf: none);
``deadband`` from the noise of the signal: about its peak-to-peak noise, so that a value on the
limit does not chatter. A deadband wider than half the band could never turn off: it is held to it.

    >>> import numpy as np
    >>> x = np.array([9.0, 11.0, 9.5, 8.9, 9.5])
    >>> start, was = np.array([0]), np.array([False])
    >>> over, back = sides(x, np.full(5, -np.inf), np.full(5, 10.0), np.full(5, 1.0))
    >>> hold(over, back, start, np.array([5]), was).tolist()
    [False, True, True, False, False]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]


def score(x: Floats, low: Floats, high: Floats) -> Floats:
    """How far beyond its nearer limit each value is (negative: inside); shape (n,)."""
    result: Floats = np.maximum(x - high, low - x)
    return result


def sides(x: Floats, low: Floats, high: Floats, deadband: Floats) -> tuple[Mask, Mask]:
    """Which values turn the condition on, and which turn it off; shape (n,) each."""
    band = np.minimum(deadband, (high - low) * 0.5)
    over = (x > high) | (x < low)
    return over, ~over & (x <= high - band) & (x >= low + band)


def hold(over: Mask, back: Mask, start: Index, size: Index, was: Mask) -> Mask:
    """The condition after each value: the last one that said something, else ``was``.

    Values in runs of one signal each, at ``start`` (g,) of ``size`` (g,); ``was`` (g,) before.
    """
    places = np.arange(over.size)
    said = np.maximum.accumulate(np.where(over | back, places, -1))
    first = np.repeat(start, size)
    result: Mask = np.where(said >= first, over[np.maximum(said, 0)], np.repeat(was, size))
    return result
