"""Spike: a sample that leaves the middle of both its neighbours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality import FAIL, GOOD, MISSING, SUSPECT, UNKNOWN

Floats = NDArray[np.float64]


def spike(
    before: Floats, v: Floats, after: Floats, suspect: Floats, fail: Floats
) -> NDArray[np.uint8]:
    """Flags as ``ioos_qc`` (method "average") gives them: |v − (before + after) / 2|.

    UNKNOWN where a neighbour is missing or bad (NaN), MISSING where the sample itself is.
    """
    flags = np.full(v.shape, GOOD, np.uint8)
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(v - (before + after) / 2)
        flags[off > suspect] = SUSPECT
        flags[off > fail] = FAIL
    flags[np.isnan(off)] = UNKNOWN
    flags[np.isnan(v)] = MISSING
    return flags
