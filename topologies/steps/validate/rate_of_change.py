"""Rate of change: how fast a value moved since the sample before, per second of true time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality import FAIL, GOOD, MISSING, SUSPECT

Floats = NDArray[np.float64]


def rate(dv: Floats, dt: Floats) -> Floats:
    """Change per second, from differences in value and in time (ns)."""
    result: Floats = np.abs(dv / (dt / 1e9))
    return result


def rate_of_change(
    v: Floats, before: Floats, dt: Floats, suspect: Floats, fail: Floats
) -> NDArray[np.uint8]:
    """Flags as ``ioos_qc`` gives them, against the sample ``before``, ``dt`` ns earlier.

    SUSPECT above ``suspect`` and FAIL above ``fail`` (per second). The first sample, and one after
    a bad sample (``before`` is NaN), pass; NaN is MISSING. Unlike ``ioos_qc``, which cuts dt to
    whole seconds, dt is true.
    """
    flags = np.full(v.shape, GOOD, np.uint8)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        speed = rate(v - before, dt)
        flags[speed > suspect] = SUSPECT
        flags[speed > fail] = FAIL
    flags[np.isnan(v)] = MISSING
    return flags
