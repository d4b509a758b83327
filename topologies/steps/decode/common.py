"""What decoders share: checks of the schema and of times, and flags of what has no value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.errors import MalformedRecord
from models.records import headers
from models.records.headers import Schema
from models.records.values import Typed
from models.time import NEVER
from topologies.core.record import Record


def expect(record: Record, schema: Schema, header: bytes) -> None:
    """Raise MalformedRecord unless the record is of ``schema``, whose header is ``header``."""
    if record.headers.get(headers.SCHEMA) != header:
        headers.expect(record.headers, schema)


def check_times(t: NDArray[np.int64], what: str) -> None:
    """Raise MalformedRecord where a time is the mark that means "no time yet"."""
    if t.size and np.minimum.reduce(t) == NEVER:
        raise MalformedRecord(f"{what}: a time is out of range ({NEVER})")


def flag_absent(
    q: NDArray[np.uint8], v: NDArray[np.float64], typed: Sequence[Typed]
) -> NDArray[np.uint8]:
    """The flags ``q``, with MISSING where there is no value (null or NaN) and q is not FAIL.

    Text and structures have NaN in the float column and are values nevertheless.
    """
    # The minimum is NaN where any value is: one pass, and no warning.
    if not v.size or not np.isnan(np.minimum.reduce(v)):
        return q
    absent = np.isnan(v)
    others = [index for index, kind, _ in typed if kind in "sj"]
    if others:
        absent[others] = False
    absent &= q != quality.FAIL
    result: NDArray[np.uint8] = np.where(absent, np.uint8(quality.MISSING), q)
    return result
