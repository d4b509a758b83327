"""Spike: a sample that leaves the middle of both its neighbours, so it waits for the next one.

Every sample of a tag with a spike limit leaves in the place of the sample that follows it, with
that one's ``clock`` and ``arrival``: whether it is late is judged when it goes on, which does not
depend on how samples were split into records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality import FAIL, GOOD, SUSPECT
from models.time import MAX_NS
from topologies.core.jit import kernel
from topologies.steps.validate.why import TESTS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint32]
Bytes = NDArray[np.uint8]

_SPIKE = TESTS["spike"]
#: What :func:`pass_on` says of the samples that go on: not all are GOOD, there are codes, there
#: are bits of ``why``, there are typed values.
NOT_GOOD, CODES, WHY, TYPED = 1, 2, 4, 8


@kernel
def spike(before: float, v: float, after: float, limit: Any) -> int:
    """|v − (before + after) / 2| as in ``ioos_qc`` (method "average"); NaN passes."""
    off = abs(v - (before + after) / 2)
    if off > limit["spike_fail"]:
        return FAIL
    return SUSPECT if off > limit["spike"] else 0


@kernel
def pass_on(
    tag: NDArray[np.int32],
    t: Ints,
    v: Floats,
    q: Bytes,
    code: Words,
    why: Words,
    near: Floats,
    typed: NDArray[np.bool_],
    clock: Ints,
    arrival: NDArray[np.int32],
    rows: NDArray[np.intp],
    limits: NDArray[Any],
    waiting: NDArray[Any],
    horizon: int,
    hold: int,
    to_source: NDArray[np.int32],
    to_tag: NDArray[np.int32],
    to_t: Ints,
    to_v: Floats,
    to_q: Bytes,
    to_code: Words,
    to_why: Words,
    to_clock: Ints,
    to_arrival: NDArray[np.int32],
) -> tuple[int, int]:
    """Put the samples of a block, shape (n,), grouped by tag, through the delay line.

    ``near`` is what neighbours are compared with (NaN: nothing), ``waiting`` of type
    :data:`remembered.WAITING`. Fills the columns ``to_…``, and ``to_source`` with each sample's
    place in the block (-1 - row: it waited since an earlier one). Gives how many samples go on, and
    what is said of them.
    """
    out, said = 0, 0
    for i in range(t.size):
        place, row = tag[i], rows[tag[i]]
        limit = limits[place]
        to_tag[out], to_clock[out], to_arrival[out] = place, clock[i], arrival[i]
        if row < 0 or not limit["has_spike"]:
            to_source[out] = i
            to_t[out], to_v[out], to_q[out] = t[i], v[i], q[i]
            to_code[out], to_why[out] = code[i], why[i]
            said |= _said(q[i], code[i], why[i], typed[i])
            out += 1
            continue

        held = waiting[row]
        if held["waits"]:
            # A sample that follows too late is no neighbour: by its time this one had gone on.
            expiry = min(held["base"], MAX_NS - hold) + hold
            expired = clock[i] > expiry
            after = np.nan if expired else near[i]
            if expired:
                to_clock[out] = expiry
            flag, bits = held["q"], held["why"]
            found = spike(held["before"], held["near"], after, limit)
            if found:
                flag, bits = max(flag, found), bits | _SPIKE
            to_source[out] = i - 1 if i > 0 and tag[i - 1] == place else -1 - row
            to_t[out], to_v[out], to_q[out] = held["t"], held["v"], flag
            to_code[out], to_why[out] = held["code"], bits
            said |= _said(flag, held["code"], bits, held["typed"])
            out += 1
        if held["typed"] or typed[i]:
            said |= TYPED

        held["before"], held["near"] = held["near"], near[i]
        held["t"], held["v"], held["q"] = t[i], v[i], q[i]
        held["code"], held["why"], held["typed"] = code[i], why[i], typed[i]
        held["base"] = max(min(t[i], horizon), clock[i])
        held["waits"] = 1
    return out, said


@kernel
def _said(q: int, code: int, why: int, typed: bool) -> int:
    """The bits for one sample."""
    said = NOT_GOOD if q != GOOD else 0
    if code:
        said |= CODES
    if why:
        said |= WHY
    return said | TYPED if typed else said


@kernel
def due(waiting: NDArray[Any], limit: int) -> int:
    """How many samples wait whose base is before ``limit``."""
    count = 0
    for row in range(waiting.size):
        if waiting[row]["waits"] and waiting[row]["base"] < limit:
            count += 1
    return count
