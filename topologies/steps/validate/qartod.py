"""The validate step: flags, repeats, and samples that wait for the next."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.catalogue import FlatLine, Range, Tag, Thresholds
from models.errors import StepError
from models.quality import FAIL, SUSPECT
from models.records.block import Block
from models.time import MAX_NS, Duration
from topologies.core.flow import Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps.validate import hold, limits, strangers
from topologies.steps.validate.flag import flag
from topologies.steps.validate.limits import Limits
from topologies.steps.validate.remembered import COLUMNS


class Qartod(Step):
    """Flags every sample by the QARTOD tests that the catalogue declares for its tag.

    The flag is the roll-up of the source's and all tests'; ``why`` has a bit for each test not
    passed (``TESTS``). A sample without a value is MISSING. Samples of one tag are compared in
    order of arrival: late ones, bad ones (FAIL or MISSING from the source) and those from the
    future are no neighbours, and a sample next to a bad one passes the tests that need it. A late
    sample that came before already (same tag, time and value) is dropped and counted. Samples of
    tags with a spike limit wait for the next one. Of the tags that the catalogue does not know the
    first ``most_unknown`` of an asset go on; samples of more are dropped and counted. Flags equal
    those of ``ioos_qc`` 3.0 on the same evenly spaced series; each test says where a stream
    differs.
    """

    kind: ClassVar[str] = "validate"
    state_version: ClassVar[int] = 2
    loses: ClassVar[str] = (
        "the newest samples are forgotten: the next of each tag passes the tests that compare it,"
        " and repeats of earlier ones are not seen"
    )

    unknown_tag: Literal["suspect", "pass", "drop", "dead-letter"] = Field(
        "suspect", description="What a sample of a tag does that the catalogue does not know"
    )
    most_unknown: int = Field(
        1000,
        ge=0,
        description="Most tags of an asset that the catalogue does not know, the first that come;"
        " samples of more are dropped and counted, so that made-up names do not fill the state of"
        " any step",
    )
    repeats: int = Field(
        4096,
        ge=0,
        le=65536,
        description="How many of an asset's newest samples a repeat is looked for among, at 8"
        " bytes each; 0: repeats are kept",
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
        doubts = self.unknown_tag == "suspect"

        @lru_cache(maxsize=4096)
        def limits_of(asset: str, tags: tuple[str, ...]) -> Limits:
            return limits.look_up(catalogue, defaults, asset, tags)

        @lru_cache(maxsize=4096)
        def holds(asset: str) -> bool:
            known = catalogue.tags(asset).values()
            return self.spike is not None or any(tag.spike is not None for tag in known)

        rows_of = strangers.Rows(catalogue, self.most_unknown)

        def validate(flow: Flow, memory: Memory) -> None:
            if flow.heartbeat is not None:
                hold.release(flow, memory)
                return
            known = limits_of(flow.block.asset, flow.block.tags)
            arrived = len(flow.block)
            if not arrived:
                return
            table = memory.table(COLUMNS)
            if not known.all_known:
                if self.unknown_tag in ("drop", "dead-letter"):
                    wanted = self._wanted(flow.block, known)
                else:
                    wanted = rows_of(table, flow.block) >= 0
                if not wanted.all():
                    flow.block = strangers.only(flow.block, wanted)
                    flow.count("dropped.unknown_tag", arrived - len(flow.block))
                    known = limits_of(flow.block.asset, flow.block.tags)
            if len(flow.block):
                horizon = min(flow.block.received + skew, MAX_NS)
                rows = table.rows(flow.block.tags)
                near = flag(
                    flow, memory, table, rows, known,
                    horizon=horizon, gap_flag=gap_flag, doubt_unknown=doubts, reach=self.repeats,
                )  # fmt: skip
                if known.spikes:
                    hold.pass_through(
                        flow, memory, table, rows, known, near, horizon, self.spike_hold
                    )
            if holds(flow.asset):
                hold.expire(flow, memory, table, self.spike_hold, arrived)
            table.save()

        return validate

    def _wanted(self, block: Block, known: Limits) -> NDArray[np.bool_]:
        """Which tags the catalogue knows; raises StepError where samples of others are refused."""
        wanted: NDArray[np.bool_] = known.rows["known"] != 0
        strange = block.tag[~wanted[block.tag]]
        if self.unknown_tag == "dead-letter" and strange.size:
            names = ", ".join(block.tags[place] for place in np.unique(strange).tolist())
            raise StepError(f"tags that the catalogue does not know: {names:.400}")
        return wanted

    @property
    def summary(self) -> str:
        return "" if self.unknown_tag == "suspect" else f"unknown tags: {self.unknown_tag}"
