"""The validate step: all tests in one pass over a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.catalogue import FlatLine, Range, Tag, Thresholds
from models.errors import StepError
from models.quality import FAIL, GOOD, MISSING, SUSPECT, all_good
from models.records.block import Block
from models.time import NEVER, Duration
from topologies.core.flow import Flow
from topologies.core.state import Column, Columns, Memory, Table
from topologies.core.step import Bound, Context, Step
from topologies.steps.validate import hold, limits, order
from topologies.steps.validate.gross_range import gross_range
from topologies.steps.validate.limits import Layout, Limits
from topologies.steps.validate.neighbours import Chain, compare
from topologies.steps.validate.verdict import Verdict

Floats = NDArray[np.float64]

# The method ``all`` takes twice as long.
_all = np.logical_and.reduce

#: Samples of each tag that repeats are looked for among.
REMEMBERED = 8
#: ``recent``: times and identities of the newest samples, oldest first; then time and value of the
#: newest sample in order, and the time of the one before it. ``run``: whether the flat line test
#: keeps more than that one.
COLUMNS = Columns(
    1,
    recent=Column(np.int64, NEVER, 2 * REMEMBERED + 3),
    run=Column(np.uint8),
)
NEWEST, VALUE, PRIOR = 2 * REMEMBERED, 2 * REMEMBERED + 1, 2 * REMEMBERED + 2


class Qartod(Step):
    """Flags every sample by the QARTOD tests that the catalogue declares for its tag.

    The flag is the roll-up of the source's and all tests'; ``why`` has a bit for each test not
    passed (``TESTS``). A sample without a value is MISSING. Samples of one tag are compared in
    order of arrival: late ones, bad ones (FAIL or MISSING from the source) and those from the
    future are no neighbours, and a sample next to a bad one passes the tests that need it. A
    sample that came before already (time and value equal to one of its tag's newest 8) is dropped
    and counted. Samples of tags with a spike limit wait for the next one. Flags equal those of
    ``ioos_qc`` 3.0 on the same evenly spaced series; each test says where a stream differs.
    """

    kind: ClassVar[str] = "validate"
    state_version: ClassVar[int] = 1

    unknown_tag: Literal["suspect", "pass", "drop", "dead-letter"] = Field(
        "suspect", description="What a sample of a tag does that the catalogue does not know"
    )
    gross_range: Range | None = Field(None, description="Where a tag declares none: FAIL outside")
    suspect_range: Range | None = Field(
        None, description="Where a tag declares none: SUSPECT outside"
    )
    rate_of_change: Thresholds | None = Field(
        None, description="Where a tag declares none: most change per second"
    )
    flat_line: FlatLine | None = Field(None, description="Where a tag declares none: flat line")
    spike: Thresholds | None = Field(None, description="Where a tag declares none: spike limits")
    max_gap: Duration | None = Field(None, description="Where a tag declares none: longest silence")
    gap_flag: Literal["fail", "suspect"] = Field(
        "fail", description="Flag of the first sample after a gap (fail, as in ioos_qc)"
    )
    spike_hold: Duration = Field(
        60_000_000_000, gt=0, description="Longest a sample waits for the next one of its tag"
    )

    def bind(self, context: Context) -> Bound:
        catalogue, skew = context.knowledge.catalogue, context.max_future_skew
        defaults = Tag(
            gross_range=self.gross_range,
            suspect_range=self.suspect_range,
            rate_of_change=self.rate_of_change,
            flat_line=self.flat_line,
            spike=self.spike,
            max_gap=self.max_gap,
        )
        gap_flag = FAIL if self.gap_flag == "fail" else SUSPECT

        @lru_cache(maxsize=4096)
        def limits_of(asset: str, tags: tuple[str, ...]) -> Limits:
            return limits.look_up(catalogue, defaults, asset, tags)

        @lru_cache(maxsize=512)
        def cached(asset: str, tags: tuple[str, ...], tag: bytes) -> Layout:
            return limits.make_layout(
                limits_of(asset, tags), np.frombuffer(tag, np.int32), REMEMBERED
            )

        @lru_cache(maxsize=4096)
        def holds(asset: str) -> bool:
            known = catalogue.tags(asset).values()
            return self.spike is not None or any(tag.spike is not None for tag in known)

        def layout_of(block: Block) -> Layout:
            if len(block) <= 1024:
                return cached(block.asset, block.tags, block.tag.tobytes())
            return limits.make_layout(limits_of(block.asset, block.tags), block.tag, REMEMBERED)

        def validate(flow: Flow, memory: Memory) -> None:
            if flow.heartbeat is not None:
                hold.release(flow, memory)
                return
            if not len(flow.block):
                return
            layout = layout_of(flow.block)
            if not layout.all_known and self.unknown_tag in ("drop", "dead-letter"):
                rest = self._refuse(flow, layout, layout_of)
                if rest is None:
                    return
                layout = rest
            near = _judge(flow, memory, layout, skew, gap_flag, self.unknown_tag == "suspect")
            if layout.limits.spike:
                hold.pass_through(flow, memory, near, layout.limits.spike, self.spike_hold, skew)
            elif holds(flow.asset):
                hold.expire(flow, memory, self.spike_hold)

        return validate

    def _refuse(
        self, flow: Flow, layout: Layout, layout_of: Callable[[Block], Layout]
    ) -> Layout | None:
        """Drop samples of unknown tags, or refuse the record. None: nothing is left."""
        known = layout.limits.known
        if self.unknown_tag == "dead-letter":
            names = [flow.block.tags[place] for place in layout.tag.tolist() if not known[place]]
            raise StepError(f"tags that the catalogue does not know: {', '.join(names):.400}")
        keep = known[flow.block.tag]
        flow.count("dropped.unknown_tag", int(keep.size - keep.sum()))
        flow.block = flow.block.take(keep)
        return layout_of(flow.block) if len(flow.block) else None

    @property
    def summary(self) -> str:
        return "" if self.unknown_tag == "suspect" else f"unknown tags: {self.unknown_tag}"


def _judge(
    flow: Flow, memory: Memory, layout: Layout, skew: int, gap_flag: int, doubt_unknown: bool
) -> Floats:
    """Flag a block's samples. Gives their values as neighbours (NaN: not to be compared with)."""
    block = flow.block
    t, v = block.t, block.v
    horizon = block.received + skew
    table = memory.table(COLUMNS)
    if (layout.all_known or not doubt_unknown) and _plainly_good(flow, table, layout, horizon):
        return v
    rows = table.rows(block.tags)[layout.tag]
    recent = table["recent"]
    old = recent[rows]
    newest, value = old[:, NEWEST], old[:, VALUE].view(np.float64)
    chain = Chain(layout, table, memory, rows, newest, value, old[:, PRIOR])
    before = np.empty(t.size, np.int64)
    before[1:] = t[:-1]
    before[layout.start] = chain.newest
    clean = (
        not block.typed
        and (layout.all_known or not doubt_unknown)
        and bool(_all((v >= layout.low) & (v <= layout.high)))
        and bool(_all(t > before))
        and int(np.minimum.reduce(chain.newest)) != NEVER
        and int(np.maximum.reduce(block.q)) == GOOD
        and int(np.maximum.reduce(t)) <= horizon
    )
    if clean:
        verdict = compare(chain, t, v, before, None, gap_flag)
        flat = np.concatenate((old.ravel(), t, v.view(np.int64)))
        recent[rows] = flat[layout.ring]
        table.save()
        if verdict is not None:
            all_values = np.zeros(t.size, dtype=bool)
            tested = layout.limits.tested[block.tag]
            flags = verdict.flags(block.q, all_values, tested)
            flow.block = replace(block, q=flags, why=verdict.bits(block))
        return v
    return _judge_slowly(flow, layout, chain, old, horizon, gap_flag, doubt_unknown)


def _plainly_good(flow: Flow, table: Table, layout: Layout, horizon: int) -> bool:
    """Whether the whole block keeps to the tightest limits of its tags; if so, it is remembered.

    A few extremes say so, at a fraction of what the tests of each sample cost. NaN, a first sample
    and whatever else is unusual fail a comparison here, and are looked at one by one.
    """
    block, most = flow.block, layout.tightest
    t, v = block.t, block.v
    lowest, highest = flow.extremes(v)
    earliest, latest = flow.extremes(t)
    if (
        block.typed
        or block.q is not all_good(t.size)
        or not (lowest >= most.low and highest <= most.high)
        # Of times before 1970, "never" is not told from an overflow below.
        or earliest < 0
        or latest > horizon
        or np.count_nonzero(table["run"])
    ):
        return False
    rows = table.rows_of(block.tags, layout.groups)
    recent = table["recent"]
    known = np.concatenate((recent[rows].ravel(), t, v.view(np.int64)))
    before = known.take(layout.before)
    step = t - before[0]
    shortest, longest = np.minimum.reduce(step).item(), np.maximum.reduce(step).item()
    if shortest <= 0 or longest > most.gap:
        return False
    change = np.abs(v - before[1].view(np.float64))
    least, largest = np.minimum.reduce(change).item(), np.maximum.reduce(change).item()
    if not (least > most.flat and largest / (shortest / 1e9) <= most.rate):
        return False
    recent[rows] = known.take(layout.ring)
    table.save()
    return True


def _judge_slowly(
    flow: Flow,
    layout: Layout,
    chain: Chain,
    old: NDArray[np.int64],
    horizon: int,
    gap_flag: int,
    doubt_unknown: bool,
) -> Floats:
    """The same for blocks with something unusual in them."""
    block, known = flow.block, layout.limits
    t, v, q = block.t, block.v, block.q
    verdict = Verdict(t.size)
    words = np.zeros(t.size, dtype=bool)
    words[[index for index, kind, _ in block.typed if kind in "sj"]] = True
    absent = ~np.isfinite(v) & ~words
    bad = absent | words | (q == FAIL) | (q == MISSING)
    future = t > horizon

    verdict.mark("missing", 0, np.flatnonzero(absent | (q == MISSING)))
    verdict.mark("future", FAIL, np.flatnonzero(future))
    if doubt_unknown:
        verdict.mark("unknown_tag", SUSPECT, np.flatnonzero(~known.known[block.tag]))
    ranges = layout.rows[limits.FAIL_LOW : limits.HIGH + 1]
    verdict.add("gross_range", gross_range(v, *ranges))

    ordered = order.in_order(t, future, chain.newest, layout.start)
    identity = order.identities(v, block.typed)
    half = REMEMBERED
    remembered = [(row[:half], row[half : 2 * half]) for row in old]
    again, conflict = order.repeats(t, identity, ordered, future, layout.start, remembered)
    verdict.mark("duplicate", SUSPECT, np.flatnonzero(conflict))

    values = np.where(bad, np.nan, v)
    at = np.flatnonzero(ordered)
    if at.size:
        compare(chain, t[at], values[at], None, at, gap_flag, verdict)

    kept = np.flatnonzero(~again & ~future)
    if kept.size:
        kept_layout = limits.make_layout(known, block.tag[kept], REMEMBERED)
        groups = np.searchsorted(layout.tag, kept_layout.tag)
        flat = np.concatenate((old[groups].ravel(), t[kept], identity[kept]))
        fresh = old.copy()
        fresh[groups, :NEWEST] = flat[kept_layout.ring[:, :NEWEST]]
        fresh[:, NEWEST] = chain.newest
        fresh[:, VALUE] = chain.value.view(np.int64)
        fresh[:, PRIOR] = chain.prior
        chain.table["recent"][chain.rows] = fresh
    chain.table.save()

    flags = verdict.flags(q, absent, known.tested[block.tag])
    values[~ordered] = np.nan
    block = replace(block, q=flags, why=verdict.bits(block))
    if again.any():
        flow.count("duplicates", int(again.sum()))
        block, values = block.take(~again), values[~again]
    flow.block = block
    return values
