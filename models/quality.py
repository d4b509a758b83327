"""One quality for all protocols: the QARTOD primary flags, as uint8.

Source: IOOS QARTOD "Manual for the Use of Real-Time Oceanographic Data Quality Control Flags"
v1.2. The protocol's own code (OPC UA StatusCode, Modbus exception, ...) travels beside it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOOD, UNKNOWN, SUSPECT, FAIL, MISSING = 1, 2, 3, 4, 9

NAMES = {GOOD: "good", UNKNOWN: "unknown", SUSPECT: "suspect", FAIL: "fail", MISSING: "missing"}

#: Rank of each flag in a roll-up: FAIL > SUSPECT > GOOD > UNKNOWN > MISSING (``ioos_qc`` 3.0).
_RANK = np.zeros(10, dtype=np.uint8)
for _rank, _flag in enumerate((MISSING, UNKNOWN, GOOD, SUSPECT, FAIL)):
    _RANK[_flag] = _rank
_FLAG_OF_RANK = np.array([MISSING, UNKNOWN, GOOD, SUSPECT, FAIL], dtype=np.uint8)
#: Which uint8 values are flags at all.
VALID = np.zeros(256, dtype=bool)
VALID[[GOOD, UNKNOWN, SUSPECT, FAIL, MISSING]] = True

#: Flags of samples that count in features and detectors.
USABLE = np.zeros(256, dtype=bool)
USABLE[[GOOD, UNKNOWN, SUSPECT]] = True


@lru_cache(maxsize=4096)
def all_good(size: int) -> NDArray[np.uint8]:
    """``size`` times GOOD, read-only and one object a size: ``q is all_good(n)`` costs nothing."""
    flags = np.full(size, GOOD, np.uint8)
    flags.flags.writeable = False
    return flags


def roll_up(*flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The worst flag of each sample, over parallel uint8 arrays of equal length."""
    ranks = _RANK[flags[0]]
    for more in flags[1:]:
        ranks = np.maximum(ranks, _RANK[more])
    result: NDArray[np.uint8] = _FLAG_OF_RANK[ranks]
    return result


def from_opcua(status: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Flags of OPC UA StatusCodes by their severity bits 30–31 (OPC UA Part 4, 7.39).

    Good (00) is GOOD, Uncertain (01) SUSPECT, Bad (10) and the reserved (11) FAIL.
    """
    severity = status >> np.uint32(30)
    flags: NDArray[np.uint8] = np.array([GOOD, SUSPECT, FAIL, FAIL], dtype=np.uint8)[severity]
    return flags


def usable(flags: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which samples count in features and detectors: all but FAIL and MISSING."""
    result: NDArray[np.bool_] = USABLE[flags]
    return result


def describe(flag: int) -> str:
    """The name of a flag; a number that is none is shown as such."""
    return NAMES.get(flag, f"no flag ({flag})")


def as_flags(values: Any) -> NDArray[np.uint8]:
    """A uint8 array of flags; raises ValueError where a value is not a QARTOD flag."""
    array = np.asarray(values)
    if array.size and (array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255):
        raise ValueError("quality flags are 1, 2, 3, 4 or 9")
    flags = array.astype(np.uint8)
    if not VALID[flags].all():
        raise ValueError(f"quality flags are 1, 2, 3, 4 or 9, not {sorted(set(flags.tolist()))}")
    return flags
