"""What validate remembers of each tag."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.time import NEVER
from topologies.core.state import Column, Columns

#: What the next sample of a tag is compared with.
NEWEST = np.dtype(
    [
        #: Event time and value of the newest sample in order (NaN: a bad one); NEVER: none yet.
        ("time", np.int64),
        ("value", np.float64),
        #: The newest value that was not bad, and since when the run behind it lasts, for the flat
        #: line test; NEVER: no run.
        ("level", np.float64),
        ("since", np.int64),
    ]
)

#: The sample that waits for the next one of its tag, for the spike test.
WAITING = np.dtype(
    [
        ("t", np.int64),
        ("v", np.float64),
        #: Values of this and of the previous sample; NaN where it is bad, late or there is none.
        ("near", np.float64),
        ("before", np.float64),
        #: The time from which waiting counts.
        ("base", np.int64),
        ("code", np.uint32),
        ("why", np.uint32),
        ("q", np.uint8),
        #: Whether it waits, and whether it has typed values.
        ("waits", np.uint8),
        ("typed", np.uint8),
        ("spare", np.uint8, 5),
    ]
)

#: A sample that the run of its tag's flat line test may still break with, see :mod:`judge`.
POINT = np.dtype(
    [
        #: Row of the tag, and 0: no later sample is above; 1: none is below.
        ("row", np.uint32),
        ("side", np.uint32),
        #: Time of the sample after it.
        ("after", np.int64),
        #: Its value, negated on side 1.
        ("value", np.float64),
    ]
)


def _initial(dtype: np.dtype[Any], values: tuple[Any, ...]) -> Any:
    return np.array(values, dtype)[()]


COLUMNS = Columns(
    2,
    newest=Column(NEWEST, _initial(NEWEST, (NEVER, np.nan, np.nan, NEVER))),
    waiting=Column(
        WAITING, _initial(WAITING, (NEVER, np.nan, np.nan, np.nan, NEVER, 0, 0, 0, 0, 0, 0))
    ),
)
