"""Time gap: how long a tag was silent before a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality import GOOD


def time_gap(dt: NDArray[np.float64], most: NDArray[np.float64], flag: int) -> NDArray[np.uint8]:
    """``flag`` where more than ``most`` ns have passed since the tag's sample before.

    ``ioos_qc`` gives FAIL there. It also gives the first sample the flag of the second; a stream
    cannot know that one, so the first passes (``dt`` is NaN).
    """
    flags = np.full(dt.shape, GOOD, np.uint8)
    flags[dt > most] = flag
    return flags
