"""Order and repeats: which samples follow one another, and which came before already."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.records.values import Typed

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def identities(v: NDArray[np.float64], typed: Sequence[Typed]) -> Ints:
    """What must be equal for two samples of one time to be one: the bits of the value.

    Text, structures and integers that float64 cannot hold are known by a hash.
    """
    bits: Ints = v.view(np.int64)
    exact = [(index, f"{kind}{value!r}") for index, kind, value in typed if kind in "sij"]
    if exact:
        bits = bits.copy()
        for index, text in exact:
            digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
            bits[index] = int.from_bytes(digest, "little", signed=True)
    return bits


def in_order(t: Ints, future: Mask, newest: Ints, start: NDArray[np.intp]) -> Mask:
    """Which samples are newer than all before them of their tag (``newest``: before the block).

    Samples from the future are never in order, and nothing is late because of them.
    """
    result = np.empty(t.size, dtype=bool)
    moving = np.where(future, np.iinfo(np.int64).min, t)
    bounds = [*start.tolist(), t.size]
    for place, before in enumerate(newest.tolist()):
        begin, end = bounds[place], bounds[place + 1]
        part = np.empty(end - begin, np.int64)
        part[0] = before
        part[1:] = moving[begin : end - 1]
        result[begin:end] = moving[begin:end] > np.maximum.accumulate(part)
    return result


def repeats(
    t: Ints,
    identity: Ints,
    ordered: Mask,
    future: Mask,
    start: NDArray[np.intp],
    remembered: Sequence[tuple[Ints, Ints]],
) -> tuple[Mask, Mask]:
    """Samples that came before already, and those of a known time but another value.

    Only samples out of order can be either. They are compared with the newest samples of their
    tag (``remembered``: times and identities, oldest first) as they were when each arrived.
    """
    again = np.zeros(t.size, dtype=bool)
    conflict = np.zeros(t.size, dtype=bool)
    bounds = [*start.tolist(), t.size]
    for place, (times, known) in enumerate(remembered):
        begin, end = bounds[place], bounds[place + 1]
        if not (~ordered[begin:end] & ~future[begin:end]).any():
            continue
        recent = deque(zip(times.tolist(), known.tolist(), strict=True), maxlen=times.size)
        for at in range(begin, end):
            if future[at]:
                continue
            entry = (int(t[at]), int(identity[at]))
            if not ordered[at]:
                if entry in recent:
                    again[at] = True
                    continue
                conflict[at] = any(entry[0] == other for other, _ in recent)
            recent.append(entry)
    return again, conflict
