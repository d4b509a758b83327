"""Repeats: samples that came before already, as when a broker sends again what nobody confirmed.

Every sample leaves a stamp of 8 bytes: 40 bits for its tag and time, 24 for its value. The stamps
of an asset's newest samples are kept in the order of arrival, repeats included, so a backlog that
comes again, once or often, is found as long as it is shorter than what is kept. Only samples that
are late for their tag are looked up: what is newer than all before it is no repeat. So a late
sample is taken for another one with a chance of kept/2^64, and for one of its own tag and time but
with another value of 2^-24.

The newest page of stamps is written with each record, older ones stay as they are.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.records.block import Block
from models.records.values import Typed
from topologies.core.jit import kernel
from topologies.core.state import Memory
from topologies.steps.validate.limits import Limits

Stamps = NDArray[np.uint64]
Mask = NDArray[np.bool_]

#: Stamps in a page.
PAGE = 256
#: Format, padding, samples ever seen; before the stamps of the newest page.
_HEAD = struct.Struct("<B7xQ")
_FORMAT = 1
_NAME = "seen"
_LONGEST = 1024

_A, _B, _C = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(31)
_D, _E, _F = np.uint64(27), np.uint64(30), np.uint64(0x9E3779B97F4A7C15)
_VALUE = np.uint64(24)
_ONE = np.uint64(1)


def _in_order(arrival: NDArray[np.int32]) -> NDArray[np.intp]:
    """The place of each sample, in the order of arrival."""
    if arrival.size > _LONGEST:
        return arrival.argsort(kind="stable")
    return _known_order(arrival.tobytes())


@lru_cache(maxsize=1024)
def _known_order(arrival: bytes) -> NDArray[np.intp]:
    return np.frombuffer(arrival, np.int32).argsort(kind="stable")


def _identities(v: NDArray[np.float64], typed: Sequence[Typed]) -> Stamps:
    """What must be equal for two values to be one: the bits of the number.

    Text, structures and integers that float64 cannot hold are known by a hash.
    """
    bits: Stamps = v.view(np.uint64)
    if not typed:
        return bits
    exact = [(index, f"{kind}{value!r}") for index, kind, value in typed if kind in "sij"]
    if exact:
        bits = bits.copy()
        for index, text in exact:
            digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
            bits[index] = int.from_bytes(digest, "little")
    return bits


class _Seen:
    """The stamps of one asset's newest samples."""

    __slots__ = ("_memory", "_page", "total")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        data = memory.get(_NAME)
        #: Samples ever seen, and those of them whose stamps are in the newest page.
        self.total: int = _HEAD.unpack_from(data)[1] if data is not None else 0
        self._page: bytes = data[_HEAD.size :] if data is not None else b""

    def newest(self, count: int) -> bytes:
        """The newest ``count`` stamps, or all there are, oldest first."""
        parts, number, missing = [self._page], self.total // PAGE - 1, count * 8 - len(self._page)
        while missing > 0:
            page = self._memory.get(f"{_NAME}/{number}")
            if page is None:
                break
            parts.append(page[_HEAD.size :])
            number, missing = number - 1, missing - PAGE * 8
        return b"".join(reversed(parts))[-count * 8 :]

    def add(self, stamps: Stamps, reach: int) -> None:
        """Keep stamps; pages that the newest ``reach`` are not in are forgotten."""
        page = self._page + stamps.tobytes()
        number = self.total // PAGE
        total = self.total + stamps.size
        while len(page) >= PAGE * 8:
            full, page = page[: PAGE * 8], page[PAGE * 8 :]
            self._memory.put(_HEAD.pack(_FORMAT, number) + full, f"{_NAME}/{number}")
            self._forget(number - 1 - reach // PAGE)
            number += 1
        self._memory.put(_HEAD.pack(_FORMAT, total) + page, _NAME)

    def _forget(self, number: int) -> None:
        while self._memory.get(f"{_NAME}/{number}") is not None:
            self._memory.drop(f"{_NAME}/{number}")
            number -= 1


def look_up(
    memory: Memory, block: Block, limits: Limits, late: Mask | None, reach: int
) -> tuple[Mask, Mask] | None:
    """Which samples came before already, and which are of a known tag and time but another value.

    Masks of shape (n,); None where no sample is ``late``. A sample is looked for among the
    ``reach`` that arrived before it. All are remembered.
    """
    assert block.arrival is not None
    seen, stamps, order = _Seen(memory), np.empty(len(block), np.uint64), _in_order(block.arrival)
    _stamp(block.tag, block.t, _identities(block.v, block.typed), limits.rows, order, stamps)
    found = None
    if late is not None:
        again, conflict = np.zeros(len(block), np.bool_), np.zeros(len(block), np.bool_)
        log = np.concatenate((np.frombuffer(seen.newest(reach), np.uint64), stamps))
        _find(log, late, order, reach, again, conflict)
        found = again, conflict
    seen.add(stamps, reach)
    return found


@kernel
def _mix(x: Any) -> Any:
    """Every bit of the result depends on every bit of ``x`` (the finalizer of splitmix64)."""
    x = (x ^ (x >> _E)) * _A
    x = (x ^ (x >> _D)) * _B
    return x ^ (x >> _C)


@kernel
def _stamp(
    tag: NDArray[np.int32],
    t: NDArray[np.int64],
    bits: Stamps,
    limits: NDArray[Any],
    order: NDArray[np.intp],
    stamps: Stamps,
) -> None:
    """Fill ``stamps`` with those of the samples, in ``order``."""
    for place in range(order.size):
        i = order[place]
        where = _mix(limits[tag[i]]["key"] ^ _mix(np.uint64(t[i])))
        what = _mix(bits[i] + _F)
        stamps[place] = ((where >> _VALUE) << _VALUE) | (what & ((_ONE << _VALUE) - _ONE))


@kernel
def _find(
    log: Stamps, late: Mask, order: NDArray[np.intp], reach: int, again: Mask, conflict: Mask
) -> None:
    """``log``: earlier stamps, then the block's in ``order``. Buckets of places, newest first."""
    size = 1
    while size < 2 * log.size:
        size *= 2
    newest = np.full(size, -1, np.int32)
    before = np.empty(log.size, np.int32)
    first = log.size - order.size
    for place in range(log.size):
        where = log[place] >> _VALUE
        bucket = np.int64(where & np.uint64(size - 1))
        if place >= first and late[order[place - first]]:
            i = order[place - first]
            other = newest[bucket]
            while other >= max(place - reach, 0) and not again[i]:
                if log[other] == log[place]:
                    again[i] = True
                elif log[other] >> _VALUE == where:
                    conflict[i] = True
                other = before[other]
        before[place] = newest[bucket]
        newest[bucket] = place
    for i in range(late.size):
        if again[i]:
            conflict[i] = False
