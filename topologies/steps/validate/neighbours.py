"""Tests that compare a sample with the one before it of its tag."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.time import NEVER
from topologies.core.flow import group
from topologies.core.state import Memory, Table
from topologies.steps.validate import flat_line, limits
from topologies.steps.validate.limits import Layout
from topologies.steps.validate.rate_of_change import rate_of_change
from topologies.steps.validate.time_gap import time_gap
from topologies.steps.validate.verdict import Verdict

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# The method ``any`` takes twice as long.
_any = np.logical_or.reduce


class Chain:
    """The samples of each tag in order, and the newest of them so far. Arrays by group."""

    __slots__ = ("layout", "memory", "newest", "prior", "rows", "table", "value")

    def __init__(
        self,
        layout: Layout,
        table: Table,
        memory: Memory,
        rows: NDArray[np.intp],
        newest: Ints,
        value: Floats,
        prior: Ints,
    ) -> None:
        self.layout, self.table, self.memory, self.rows = layout, table, memory, rows
        #: Time and value (NaN: bad) of the newest sample in order; NEVER: there is none.
        self.newest, self.value = newest, value
        #: Time of the one before that.
        self.prior = prior


def compare(
    chain: Chain,
    t: Ints,
    v: Floats,
    before: Ints | None,
    at: NDArray[np.intp] | None,
    gap_flag: int,
    verdict: Verdict | None = None,
) -> Verdict | None:
    """Rate of change, time gap and flat line of samples in order (``v`` NaN: a bad one).

    ``at`` are their places in the block, None where these are all samples and ``before`` their
    predecessors' times. Adds to ``verdict`` (one is made when something is found), and moves the
    chain on where ``at`` is given.
    """
    layout, known = chain.layout, chain.layout.limits
    if at is None:
        groups: NDArray[np.intp] | slice = slice(None)
        start, last, rows = layout.start, layout.last, layout.rows
        slowest = layout.rate
        fresh = None
    else:
        runs = group(known_tags(layout, at))
        groups = np.searchsorted(layout.tag, runs.tag)
        start, last, rows = runs.start, runs.stop - 1, layout.rows[:, at]
        slowest = layout.rate[at]
        before = np.empty(t.size, np.int64)
        before[1:] = t[:-1]
        before[start] = chain.newest[groups]
        fresh = before == NEVER
    assert before is not None
    if not (known.rate or known.gap or known.flat):
        _move(chain, t, v, before, last, groups, at)
        return verdict
    previous = np.empty(v.size)
    previous[1:] = v[:-1]
    previous[start] = chain.value[groups]
    dt = (t - before).astype(np.float64)
    if fresh is not None:
        dt[fresh] = np.nan
        previous[fresh] = np.nan
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        dv = np.abs(v - previous)
        if known.rate and _any(dv / (dt / 1e9) > slowest):
            verdict = verdict or Verdict(layout.low.size)
            suspect, fail = rows[limits.RATE], rows[limits.RATE_FAIL]
            flags = rate_of_change(v, previous, dt, suspect, fail)
            verdict.add("rate_of_change", flags, at)
        if known.gap and _any(dt > rows[limits.GAP]):
            verdict = verdict or Verdict(layout.low.size)
            verdict.add("time_gap", time_gap(dt, rows[limits.GAP], gap_flag), at)
        if known.flat:
            still = dv <= rows[limits.FLAT]
            if at is not None or _any(still) or _any(chain.table["run"][chain.rows]):
                verdict = verdict or Verdict(layout.low.size)
                _flat(chain, t, v, before, still, start, last, groups, at, verdict)
    _move(chain, t, v, before, last, groups, at)
    return verdict


def known_tags(layout: Layout, at: NDArray[np.intp]) -> NDArray[np.int32]:
    """The tag of each sample ``at``."""
    places = np.searchsorted(layout.start, at, side="right") - 1
    found: NDArray[np.int32] = layout.tag[places]
    return found


def _move(
    chain: Chain,
    t: Ints,
    v: Floats,
    before: Ints,
    last: NDArray[np.intp],
    groups: NDArray[np.intp] | slice,
    at: NDArray[np.intp] | None,
) -> None:
    if at is not None:
        chain.newest, chain.value = chain.newest.copy(), chain.value.copy()
        chain.prior = chain.prior.copy()
        chain.newest[groups], chain.value[groups] = t[last], v[last]
        chain.prior[groups] = before[last]


def _flat(
    chain: Chain,
    t: Ints,
    v: Floats,
    before: Ints,
    still: NDArray[np.bool_],
    start: NDArray[np.intp],
    last: NDArray[np.intp],
    groups: NDArray[np.intp] | slice,
    at: NDArray[np.intp] | None,
    verdict: Verdict,
) -> None:
    """The flat line test of the tags that may be flat, each by itself."""
    tags, rows = chain.layout.tag[groups], chain.rows[groups]
    newest, value, prior = chain.newest[groups], chain.value[groups], chain.prior[groups]
    for place, tag in enumerate(tags.tolist()):
        limit = chain.layout.limits.flat.get(tag)
        if limit is None:
            continue
        span = slice(int(start[place]), int(last[place]) + 1)
        row, bad = int(rows[place]), np.isnan(v[span])
        kept = bool(chain.table["run"][row])
        if not kept and not still[span].any() and not bad.any():
            continue
        name = f"flat/{chain.layout.limits.tags[tag]}"
        if kept:
            run = flat_line.unpack(chain.memory.get(name) or b"", limit)
        elif newest[place] != NEVER and not np.isnan(value[place]):
            run = flat_line.only(int(newest[place]), value[place], int(prior[place]), limit)
        else:
            run = flat_line.nothing(limit)
        places = np.flatnonzero(~bad)
        if places.size:
            flags, run = flat_line.flat_line(t[span][places], v[span][places], limit, run)
            here = places + span.start
            verdict.add("flat_line", flags, here if at is None else at[here])
        # A run of nothing but the newest sample is known without being kept.
        end = int(last[place])
        alone = not bad[-1] and run.same(
            flat_line.only(int(t[end]), v[end], int(before[end]), limit)
        )
        chain.table["run"][row] = not alone
        if not alone:
            chain.memory.put(run.pack(), name)
        elif kept:
            chain.memory.drop(name)
