"""Features: the closed windows of one asset, as columns. One row is one tag in one window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.records import columns, values

WHAT = "features"

#: Columns every features record has beside its statistics.
COUNTS = ("count", "bad")

#: Bits of ``partial``. Closed, or released before all others had been heard, for want of space;
#: while one of those it is made of was disconnected.
EARLY, ABSENT = 1, 2


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Features:
    """Rows of windows; arrays of shape (n,), ordered by (end, tag)."""

    asset: str
    #: Name of the step that made them.
    window: str
    tags: tuple[str, ...]
    tag: NDArray[np.int32]
    #: Window bounds, ns: start inclusive, end exclusive.
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    #: Samples used, and samples left out for their quality.
    count: NDArray[np.int64]
    bad: NDArray[np.int64]
    #: The statistics by name, float64, NaN where undefined (a std of one sample).
    stats: Mapping[str, NDArray[np.float64]]
    #: Why a row may be incomplete, one bit each; 0: complete.
    partial: NDArray[np.uint8]
    #: Of windows that are told of before they close: the higher one is the newer; else empty.
    revision: NDArray[np.int64] = field(default_factory=_none)
    #: Whether the windows have closed.
    final: bool = True

    def __len__(self) -> int:
        return int(self.tag.size)


def take(rows: Features, index: NDArray[Any] | slice) -> Features:
    """Some of the rows: positions, a mask of shape (n,), or a slice."""
    return replace(
        rows,
        tag=rows.tag[index],
        start=rows.start[index],
        end=rows.end[index],
        count=rows.count[index],
        bad=rows.bad[index],
        stats={name: column[index] for name, column in rows.stats.items()},
        partial=rows.partial[index],
        revision=rows.revision[index] if rows.revision.size else rows.revision,
    )


def occurring(features: Features) -> Features:
    """The same rows, with those of the tags that occur in them."""
    present, tag = np.unique(features.tag, return_inverse=True)
    names = tuple(features.tags[place] for place in present.tolist())
    return replace(features, tags=names, tag=tag.astype(np.int32))


def parts(features: Features, most: int) -> list[Features]:
    """The rows in records of at most ``most`` each, in order, each with its own tags if cut."""
    size = len(features)
    if size <= most:
        return [features]
    return [occurring(take(features, slice(low, low + most))) for low in range(0, size, most)]


def fitting(features: Features, most: int, room: int) -> list[bytes]:
    """Encoded records of at most ``most`` rows and ``room`` bytes, in order.

    Tags without a row are left out where the record would be too large with them. A single row
    that needs more bytes is there all the same.
    """
    found = []
    for part in parts(features, most):
        value = encode(part)
        if len(value) <= room:
            found.append(value)
        else:
            found += _halved(occurring(part), room)
    return found


def _halved(part: Features, room: int) -> list[bytes]:
    value, half = encode(part), len(part) // 2
    if len(value) <= room or not half:
        return [value]
    return [
        *_halved(occurring(take(part, slice(half))), room),
        *_halved(occurring(take(part, slice(half, None))), room),
    ]


def encode(features: Features) -> bytes:
    """JSON of schema ``features/1``."""
    record: dict[str, Any] = {
        "asset": features.asset,
        "window": features.window,
        "tags": features.tags,
        "tag": features.tag,
        "start": features.start,
        "end": features.end,
        "count": features.count,
        "bad": features.bad,
        "stats": dict(features.stats),
    }
    if features.partial.any():
        record["partial"] = features.partial
    if features.revision.size:
        record["revision"] = features.revision
        record["final"] = features.final
    return columns.dumps(record)


def decode(payload: bytes | None) -> Features:
    """Raises MalformedRecord with the reason."""
    return read(columns.loads(payload, WHAT))


def read(record: dict[str, Any]) -> Features:
    """The features of a JSON object; raises MalformedRecord with the reason."""
    tags = columns.strings(record.get("tags"), f"{WHAT}: 'tags'")
    tag = columns.indexes(record.get("tag"), f"{WHAT}: 'tag'", len(tags))
    size = int(tag.size)
    start, end, count, bad = (
        columns.integers(record.get(name), f"{WHAT}: {name!r}")
        for name in ("start", "end", "count", "bad")
    )
    given = columns.field(record, "stats", dict, WHAT)
    stats = {
        name: values.read_floats(column, (), size, f"{WHAT}: {name!r}")
        for name, column in given.items()
    }
    given = record.get("partial", [0] * size)
    partial = columns.bounded(given, f"{WHAT}: 'partial'", 0, 255, np.uint8)
    columns.same_length(size, WHAT, start=start, end=end, count=count, bad=bad, partial=partial)
    revision = columns.integers(record.get("revision", []), f"{WHAT}: 'revision'")
    if revision.size:
        columns.same_length(size, WHAT, revision=revision)
    return Features(
        columns.field(record, "asset", str, WHAT),
        columns.field(record, "window", str, WHAT),
        tags,
        tag,
        start,
        end,
        count,
        bad,
        stats,
        partial,
        revision,
        columns.field(record, "final", bool, WHAT) if "final" in record else True,
    )
