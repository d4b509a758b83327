"""What :func:`judge` and the look for repeats make of a block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.quality import GOOD, SUSPECT, UNKNOWN, all_good
from models.records.block import Block
from topologies.core.flow import Flow
from topologies.core.state import Memory, Table
from topologies.steps import chunks
from topologies.steps.validate import repeats
from topologies.steps.validate.hold import zeros
from topologies.steps.validate.judge import judge
from topologies.steps.validate.limits import Limits
from topologies.steps.validate.remembered import POINT
from topologies.steps.validate.why import TESTS

Floats = NDArray[np.float64]

_NO_POINTS = np.empty(0, POINT)
_FLAT = "flat"


def flag(
    flow: Flow,
    memory: Memory,
    table: Table,
    rows: NDArray[np.intp],
    limits: Limits,
    *,
    horizon: int,
    gap_flag: int,
    doubt_unknown: bool,
    reach: int,
) -> Floats:
    """Flag the samples of the flow's block, and drop repeats (``reach`` 0: none).

    Gives the values of those that stay as neighbours (NaN: not to be compared with).
    """
    block = flow.block
    size = len(block)
    points = kept = _NO_POINTS
    if limits.banded:
        points = np.frombuffer(chunks.get(memory, _FLAT) or b"", POINT)
        kept = np.empty(points.size + 2 * size, POINT)
    flags, why = np.empty(size, np.uint8), np.empty(size, np.uint32)
    near, late = np.empty(size), np.empty(size, np.bool_)
    unusual, lates, count = judge(
        block.tag, block.t, block.v, block.q, _words(block), rows, limits.rows, table["newest"],
        points, horizon, gap_flag, doubt_unknown, flags, why, near, late, kept,
    )  # fmt: skip
    if limits.banded:
        _keep(memory, points, kept[:count])
    found = None
    if reach:
        found = repeats.look_up(memory, block, limits, late if lates else None, reach)
    if unusual or (found is not None and found[1].any()):
        if found is not None:
            _contradict(found[1], flags, why)
        if block.why.size:
            why |= block.why
        flow.block = replace(block, q=flags, why=why)
    elif block.q is not all_good(size):
        flow.block = block.changed(q=all_good(size))
    if found is not None and found[0].any():
        again = found[0]
        flow.count("duplicates", int(again.sum()))
        flow.block, near = flow.block.take(~again), near[~again]
    return near


def _words(block: Block) -> NDArray[np.bool_]:
    """Which values are text or structures."""
    words = zeros(len(block), np.bool_)
    if block.typed:
        words = words.copy()
        words[[place for place, kind, _ in block.typed if kind in "sj"]] = True
    return words


def _keep(memory: Memory, before: NDArray[np.void], after: NDArray[np.void]) -> None:
    data = after.tobytes()
    if data != before.tobytes():
        chunks.put(memory, _FLAT, data)


def _contradict(
    conflict: NDArray[np.bool_], flags: NDArray[np.uint8], why: NDArray[np.uint32]
) -> None:
    """Another value for a time that is known is SUSPECT at least."""
    doubted = conflict & ((flags == GOOD) | (flags == UNKNOWN))
    flags[doubted] = SUSPECT
    why[conflict] |= np.uint32(TESTS["duplicate"])
