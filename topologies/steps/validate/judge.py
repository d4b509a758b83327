"""All tests of a block but the spike test, in one pass over its samples, tag by tag.

A test gives 0 (nothing to say), SUSPECT or FAIL. What a tag's next sample is compared with is
held in ``newest`` (:data:`remembered.NEWEST`), so how samples were split into records does not
matter. All kernels are in this file: numba compiles anew what a changed file holds, not what calls
it from another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality import FAIL, GOOD, MISSING, SUSPECT, UNKNOWN
from models.time import NEVER
from topologies.core.jit import kernel
from topologies.steps.validate.why import TESTS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

_MISSING = TESTS["missing"]
_UNKNOWN_TAG = TESTS["unknown_tag"]
_FUTURE = TESTS["future"]
_GROSS_RANGE = TESTS["gross_range"]
_RATE_OF_CHANGE = TESTS["rate_of_change"]
_TIME_GAP = TESTS["time_gap"]
_FLAT_LINE = TESTS["flat_line"]


@kernel
def gross_range(v: float, limit: Any) -> int:
    """FAIL outside the sensor's range, SUSPECT outside the operator's; ends are inside."""
    if not np.isfinite(v):
        return 0
    if v < limit["fail_low"] or v > limit["fail_high"]:
        return FAIL
    if v < limit["low"] or v > limit["high"]:
        return SUSPECT
    return 0


@kernel
def rate_of_change(dv: float, dt: int, limit: Any) -> int:
    """Change per second of true time (``ioos_qc`` cuts it to whole seconds); NaN passes."""
    speed = abs(dv / (dt / 1e9))
    if speed > limit["rate_fail"]:
        return FAIL
    return SUSPECT if speed > limit["rate"] else 0


@kernel
def time_gap(dt: int, flag: int, limit: Any) -> int:
    """``flag`` where the tag was silent too long before the sample.

    ``ioos_qc`` also gives the first sample the flag of the second; a stream cannot know that one.
    """
    return flag if dt > limit["gap"] else 0


@kernel
def flat_line(lasted: int, limit: Any) -> int:
    """``lasted``: for how long all values have been within the tolerance of each other.

    As in ``ioos_qc`` that is a range below the tolerance; a tolerance of 0, with which it never
    flags, means equal values.
    """
    if lasted >= limit["flat_fail"]:
        return FAIL
    return SUSPECT if lasted >= limit["flat"] else 0


@kernel
def _equal_since(t: int, v: float, newest: Any) -> None:
    """Move the run of equal values on."""
    if newest["since"] == NEVER or v != newest["level"]:
        newest["since"] = t
    newest["level"] = v


@kernel
def _within_since(
    t: int, v: float, newest: Any, limit: Any, after: Ints, value: Floats, ends: NDArray[np.intp]
) -> None:
    """Move the run of values within a tolerance on.

    The run behind a sample begins after the newest sample that is apart from a later one. Only
    those that no later one exceeds can still be: ``value[0]`` holds them falling, ``value[1]``
    those that none is below, negated; ``after`` the time of the sample after each; from
    ``ends[side, 0]`` to ``ends[side, 1]``. One is held a cell, 1/256 of the longest duration: with
    more samples in it than that a run may begin one cell late.
    """
    if newest["since"] == NEVER:
        newest["since"] = t
        ends[:, 1] = ends[:, 0]
    else:
        for side in range(2):
            _push(side, t, newest["level"], limit, after, value, ends)
            _break(side, v, newest, limit, after, value, ends)
        oldest = max(newest["since"], t - limit["flat_longest"])
        for side in range(2):
            _forget(side, v, oldest, after, value, ends)
    newest["level"] = v


@kernel
def _push(
    side: int, t: int, v: float, limit: Any, after: Ints, value: Floats, ends: NDArray[np.intp]
) -> None:
    """Hold a sample of value ``v`` that the one at ``t`` follows, one a cell."""
    end, cell = ends[side, 1], limit["flat_cell"]
    if end > ends[side, 0] and after[side, end - 1] // cell == t // cell:
        after[side, end - 1] = t
    else:
        after[side, end], value[side, end] = t, -v if side else v
        ends[side, 1] = end + 1


@kernel
def _break(
    side: int, v: float, newest: Any, limit: Any, after: Ints, value: Floats,
    ends: NDArray[np.intp],
) -> None:  # fmt: skip
    """Let the run begin after the newest sample that ``v`` is apart from."""
    signed = -v if side else v
    while (
        ends[side, 0] < ends[side, 1]
        and value[side, ends[side, 0]] - signed >= limit["tolerance"]
    ):
        newest["since"] = max(newest["since"], after[side, ends[side, 0]])
        ends[side, 0] += 1


@kernel
def _forget(
    side: int, v: float, oldest: int, after: Ints, value: Floats, ends: NDArray[np.intp]
) -> None:
    """Drop what lies before the run or too long ago, and what ``v`` exceeds."""
    signed = -v if side else v
    while ends[side, 0] < ends[side, 1] and after[side, ends[side, 0]] <= oldest:
        ends[side, 0] += 1
    while ends[side, 0] < ends[side, 1] and value[side, ends[side, 1] - 1] <= signed:
        ends[side, 1] -= 1


@kernel
def roll_up(q: int, worst: int, absent: bool, tested: bool) -> int:
    """The source's flag and the worst that tests found, as one.

    FAIL > SUSPECT > GOOD > UNKNOWN > MISSING, as ``ioos_qc`` 3.0 rolls up; UNKNOWN counts as GOOD
    where something was tested; what has no value stays MISSING unless something says FAIL.
    """
    flag = GOOD if q == UNKNOWN and tested else q
    if worst > 0:
        flag = worst if q == MISSING else max(flag, worst)
    return MISSING if (absent or q == MISSING) and flag != FAIL else flag


@kernel
def judge(
    tag: NDArray[np.int32],
    t: Ints,
    v: Floats,
    q: Bytes,
    words: NDArray[np.bool_],
    rows: NDArray[np.intp],
    limits: NDArray[Any],
    newest: NDArray[Any],
    held: NDArray[Any],
    horizon: int,
    gap_flag: int,
    doubt_unknown: bool,
    flags: Bytes,
    why: NDArray[np.uint32],
    near: Floats,
    late: NDArray[np.bool_],
    kept: NDArray[Any],
) -> tuple[int, int, int]:
    """Judge the samples of a block, shape (n,), grouped by tag and in arrival order within each.

    ``rows`` and ``limits`` are by place of the tag; a tag whose row is -1 is judged without what
    came before. ``words``: samples whose value is text. ``held``: the points of all rows' flat
    lines. Fills ``flags``, ``why``, ``near`` (what a neighbour is compared with, NaN: nothing),
    ``late`` (not newer than all before it, or from the future) and ``kept`` (the points again).
    Gives how many samples are not GOOD or have a bit of ``why``, how many are late, and how many
    points were kept.
    """
    size, unusual, lates, points = t.size, 0, 0, 0
    spans = _spans(held, newest.size)
    ends = np.zeros((2, 2), np.intp)
    after = np.empty((2, held.size + size + 1), np.int64)
    value = np.empty((2, held.size + size + 1), np.float64)
    for i in range(size):
        limit, row = limits[tag[i]], rows[tag[i]]
        if i == 0 or tag[i] != tag[i - 1]:
            _take(held, spans, row, after, value, ends)
        absent = not np.isfinite(v[i]) and not words[i]
        bad = absent or words[i] or q[i] == FAIL or q[i] == MISSING
        bits, worst = 0, 0

        if absent or q[i] == MISSING:
            bits |= _MISSING
        if t[i] > horizon:
            bits, worst = bits | _FUTURE, FAIL
        if row < 0 or (doubt_unknown and not limit["known"]):
            bits, worst = bits | _UNKNOWN_TAG, max(worst, SUSPECT)
        found = gross_range(v[i], limit)
        if found:
            bits, worst = bits | _GROSS_RANGE, max(worst, found)

        near[i] = np.nan
        late[i] = row < 0 or t[i] > horizon or t[i] <= newest[row]["time"]
        if late[i]:
            lates += 1
        else:
            last = newest[row]
            near[i] = np.nan if bad else v[i]
            if last["time"] != NEVER:
                dt = t[i] - last["time"]
                found = rate_of_change(near[i] - last["value"], dt, limit)
                if found:
                    bits, worst = bits | _RATE_OF_CHANGE, max(worst, found)
                found = time_gap(dt, gap_flag, limit)
                if found:
                    bits, worst = bits | _TIME_GAP, max(worst, found)
            if not limit["has_flat"]:
                last["since"] = NEVER
            elif not bad:
                if limit["tolerance"] > 0:
                    _within_since(t[i], v[i], last, limit, after, value, ends)
                else:
                    _equal_since(t[i], v[i], last)
                found = flat_line(t[i] - last["since"], limit)
                if found:
                    bits, worst = bits | _FLAT_LINE, max(worst, found)
            last["time"], last["value"] = t[i], near[i]

        flags[i] = roll_up(q[i], worst, absent, limit["tested"] != 0)
        why[i] = bits
        if flags[i] != GOOD or bits:
            unusual += 1
        if (i + 1 == size or tag[i + 1] != tag[i]) and limit["has_flat"] and row >= 0:
            points = _keep(kept, points, row, after, value, ends)
    for place in range(held.size):
        row = held[place]["row"]
        if spans[row, 0, 1] >= 0:
            kept[points] = held[place]
            points += 1
    return unusual, lates, points


@kernel
def _spans(held: NDArray[Any], rows: int) -> NDArray[np.intp]:
    """Where the points of each row and side begin and end, shape (rows, 2, 2)."""
    if not held.size:
        return np.zeros((0, 2, 2), np.intp)
    spans = np.zeros((rows, 2, 2), np.intp)
    for place in range(held.size):
        span = spans[held[place]["row"], held[place]["side"]]
        if span[1] == 0:
            span[0] = place
        span[1] = place + 1
    return spans


@kernel
def _take(
    held: NDArray[Any], spans: NDArray[np.intp], row: int, after: Ints, value: Floats,
    ends: NDArray[np.intp],
) -> None:  # fmt: skip
    """Begin with the points of a row; its spans are marked as taken."""
    ends[:] = 0
    if not held.size or row < 0:
        return
    for side in range(2):
        begin, end = spans[row, side]
        for place in range(begin, end):
            after[side, place - begin] = held[place]["after"]
            value[side, place - begin] = held[place]["value"]
        ends[side, 1] = end - begin
        spans[row, side, 1] = -1


@kernel
def _keep(
    kept: NDArray[Any], points: int, row: int, after: Ints, value: Floats, ends: NDArray[np.intp]
) -> int:
    """Write the points of a row; gives the new end."""
    for side in range(2):
        for place in range(ends[side, 0], ends[side, 1]):
            kept[points]["row"], kept[points]["side"] = row, side
            kept[points]["after"] = after[side, place]
            kept[points]["value"] = value[side, place]
            points += 1
    return points
