"""What is tested of each tag: the catalogue's limits, looked up once per asset and tags."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.catalogue import Catalogue, Range, Tag, Thresholds
from models.time import MAX_NS

#: Open ends of a range: an infinite value is MISSING, not outside.
_MOST = float(np.finfo(np.float64).max)
_OPEN = Range(low=None, high=None)
_UNTESTED = Thresholds(suspect=None, fail=None)
#: Cells in the longest duration of a flat line, see :mod:`judge`.
_CELLS = 256

#: The limits of one tag, as kernels read them. A limit that is not declared is beyond reach.
LIMIT = np.dtype(
    [
        ("fail_low", np.float64),
        ("fail_high", np.float64),
        ("low", np.float64),
        ("high", np.float64),
        #: Per second.
        ("rate", np.float64),
        ("rate_fail", np.float64),
        #: Durations, ns.
        ("gap", np.int64),
        ("flat", np.int64),
        ("flat_fail", np.int64),
        #: Of a flat line: the longest duration and a cell of it, ns.
        ("flat_longest", np.int64),
        ("flat_cell", np.int64),
        ("tolerance", np.float64),
        ("spike", np.float64),
        ("spike_fail", np.float64),
        #: What the tag is known by among stamps (see :mod:`repeats`).
        ("key", np.uint64),
        #: Whether there is a flat line or spike limit, whether anything is tested at all, and
        #: whether the tag is in the catalogue.
        ("has_flat", np.uint8),
        ("has_spike", np.uint8),
        ("tested", np.uint8),
        ("known", np.uint8),
        ("spare", np.uint32),
    ]
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a list of tags."""

    #: Of type :data:`LIMIT`, shape (tags,).
    rows: NDArray[Any]
    all_known: bool
    #: Whether a flat line limit has a tolerance above 0.
    banded: bool
    spikes: bool


def look_up(catalogue: Catalogue, defaults: Tag, asset: str, tags: tuple[str, ...]) -> Limits:
    """The limits of an asset's tags; what the catalogue leaves out is as in ``defaults``."""
    rows = np.zeros(len(tags), LIMIT)
    for place, name in enumerate(tags):
        known = catalogue.tag(asset, name)
        _fill(rows[place], known or defaults, defaults)
        rows[place]["known"] = known is not None
        rows[place]["key"] = _key(name)
    rows.flags.writeable = False
    return Limits(
        rows,
        bool(rows["known"].all()),
        bool((rows["tolerance"] > 0).any()),
        bool(rows["has_spike"].any()),
    )


def _fill(row: Any, tag: Tag, defaults: Tag) -> None:
    fail = tag.gross_range or defaults.gross_range
    suspect = tag.suspect_range or defaults.suspect_range
    rate = tag.rate_of_change or defaults.rate_of_change
    gap = tag.max_gap if tag.max_gap is not None else defaults.max_gap
    flat = tag.flat_line or defaults.flat_line
    spike = tag.spike or defaults.spike
    row["tested"] = any(limit is not None for limit in (fail, suspect, rate, gap, flat, spike))
    row["fail_low"], row["fail_high"] = _ends(fail or _OPEN)
    row["low"], row["high"] = _ends(suspect or _OPEN)
    row["rate"], row["rate_fail"] = _levels(rate or _UNTESTED)
    row["gap"] = MAX_NS if gap is None else gap
    row["spike"], row["spike_fail"] = _levels(spike or _UNTESTED)
    row["has_spike"] = spike is not None and (spike.suspect, spike.fail) != (None, None)
    if flat is not None:
        longest = max(flat.suspect, flat.fail or 0)
        row["has_flat"], row["tolerance"] = 1, flat.tolerance
        row["flat"], row["flat_fail"] = flat.suspect, MAX_NS if flat.fail is None else flat.fail
        row["flat_longest"], row["flat_cell"] = longest, max(1, longest // _CELLS)


def _ends(limit: Range) -> tuple[float, float]:
    return (
        -_MOST if limit.low is None else limit.low,
        _MOST if limit.high is None else limit.high,
    )


def _levels(limit: Thresholds) -> tuple[float, float]:
    return (
        np.inf if limit.suspect is None else limit.suspect,
        np.inf if limit.fail is None else limit.fail,
    )


def _key(tag: str) -> int:
    digest = hashlib.blake2b(tag.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
