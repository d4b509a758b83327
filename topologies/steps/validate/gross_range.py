"""Gross range: a value outside what the sensor, or the operator, deems possible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality import FAIL, GOOD, MISSING, SUSPECT

Floats = NDArray[np.float64]


def gross_range(
    v: Floats, fail_low: Floats, fail_high: Floats, low: Floats, high: Floats
) -> NDArray[np.uint8]:
    """Flags as ``ioos_qc`` gives them: FAIL outside ``fail_*``, SUSPECT outside ``low..high``.

    Arrays of shape (n,); ends are inside; an open end is infinite. NaN is MISSING.
    """
    flags = np.full(v.shape, GOOD, np.uint8)
    flags[(v < low) | (v > high)] = SUSPECT
    flags[(v < fail_low) | (v > fail_high)] = FAIL
    flags[~np.isfinite(v)] = MISSING
    return flags
