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
    >>> signal, on = np.zeros(5, np.int32), np.array([False])
    >>> score, active, judged = np.empty(5), np.empty(5, bool), np.empty(5, bool)
    >>> low, high, deadband = np.array([-np.inf]), np.array([10.0]), np.array([1.0])
    >>> judge(signal, x, np.ones(5, bool), low, high, deadband, on, score, active, judged)
    >>> active.tolist()
    [False, True, True, False, False]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.jit import kernel

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@kernel
def judge(
    signal: NDArray[np.int32],
    x: Floats,
    usable: Mask,
    low: Floats,
    high: Floats,
    deadband: Floats,
    on: Mask,
    score: Floats,
    active: Mask,
    judged: Mask,
) -> None:
    """Judge values in the order in which they came.

    ``signal`` (n,) says which of g signals each of ``x`` (n,) is of. ``low``, ``high``,
    ``deadband`` and the condition ``on`` have shape (g,); ``on`` is moved on. ``score``,
    ``active``, ``judged`` (n,) are filled: a value is judged if it is usable and has a limit.
    """
    for i in range(x.size):
        g = signal[i]
        score[i] = max(x[i] - high[g], low[g] - x[i])
        judged[i] = usable[i] and (low[g] > -np.inf or high[g] < np.inf)
        if judged[i]:
            band = min(deadband[g], (high[g] - low[g]) * 0.5)
            if score[i] > 0.0:
                on[g] = True
            elif low[g] + band <= x[i] <= high[g] - band:
                on[g] = False
        active[i] = judged[i] and on[g]
