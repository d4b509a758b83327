"""Late samples: what came after its window had closed, with that window. One row a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.errors import MalformedRecord
from models.records import columns, values

WHAT = "late"


@dataclass(frozen=True, slots=True)
class Late:
    """Samples of one record that a window step left out; arrays of shape (n,)."""

    asset: str
    #: Name of the step.
    window: str
    tags: tuple[str, ...]
    tag: NDArray[np.int32]
    #: Event time, ns; value; QARTOD flag.
    t: NDArray[np.int64]
    v: NDArray[np.float64]
    q: NDArray[np.uint8]
    #: The newest window that it missed, ns.
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.t.size)


def encode(late: Late) -> bytes:
    """JSON of schema ``late/1``."""
    return columns.dumps({name: getattr(late, name) for name in Late.__slots__})


def decode(payload: bytes | None) -> Late:
    """Raises MalformedRecord with the reason."""
    record = columns.loads(payload, WHAT)
    tags = columns.strings(record.get("tags"), f"{WHAT}: 'tags'")
    tag = columns.indexes(record.get("tag"), f"{WHAT}: 'tag'", len(tags))
    size = int(tag.size)
    t, start, end = (
        columns.integers(record.get(name), f"{WHAT}: {name!r}") for name in ("t", "start", "end")
    )
    v = values.read_floats(record.get("v"), (), size, f"{WHAT}: 'v'")
    try:
        q = quality.as_flags(columns.bounded(record.get("q"), f"{WHAT}: 'q'", 0, 255, np.uint8))
    except ValueError as error:
        raise MalformedRecord(f"{WHAT}: 'q': {error}") from error
    columns.same_length(size, WHAT, t=t, q=q, start=start, end=end)
    asset, window = (columns.field(record, name, str, WHAT) for name in ("asset", "window"))
    return Late(asset, window, tags, tag, t, v, q, start, end)
