"""Tumbling and hopping event-time windows per tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from models.time import MAX_NS, MIN_NS, Duration, format_duration
from topologies.core.flow import Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Kept, Step
from topologies.steps.extract import closing
from topologies.steps.extract.panes import Pane, Panes, assign
from topologies.steps.extract.partials import STATISTICS, absorb
from topologies.steps.patterns import Matcher

_MOST_PANES = 10_000


class Window(Step):
    """Statistics of each tag's samples in windows of event time, each window once.

    Windows are aligned to 1970-01-01 UTC. One closes when the key's time reaches its end + grace,
    by data or by heartbeat, and then gives one row per tag that had samples in it, ordered by
    (end, tag). A sample whose window is closed is left out of it and counted (``late``); one of
    bad quality is left out and counted in the row (``bad``); one from the future is left out and
    counted (``future``). A window of nothing but bad samples has count 0 and no statistics.
    """

    kind: ClassVar[str] = "window"
    makes: ClassVar[str] = "features"
    state_version: ClassVar[int] = 2
    state_parameters: ClassVar[tuple[str, ...]] = ("size", "hop")
    loses: ClassVar[str] = "windows that are open hold only the samples that still come"

    size: Duration = Field(gt=0, description="Length of a window")
    hop: Duration | None = Field(
        None, description="Time from one window's start to the next's; none: the size (tumbling)"
    )
    grace: Duration = Field(0, ge=0, description="How long a window stays open after its end")
    statistics: tuple[str, ...] = Field(
        ("mean", "std", "min", "max", "slope", "rms"),
        description="Beside count and bad: " + ", ".join(STATISTICS) + " (slope per second; std"
        " and variance of a sample, n - 1)",
    )
    tags: tuple[str, ...] = Field(("*",), description="Patterns of the tags taken")

    @model_validator(mode="after")
    def _sensible(self) -> Window:
        hop = self.size if self.hop is None else self.hop
        if hop <= 0 or self.size % hop:
            raise ValueError(
                f"hop ({format_duration(hop)}) must divide size ({format_duration(self.size)})"
            )
        if (self.size + self.grace) // hop > _MOST_PANES:
            raise ValueError(f"size + grace is more than {_MOST_PANES} hops: choose a longer hop")
        unknown = [name for name in self.statistics if name not in STATISTICS]
        if unknown:
            raise ValueError(f"unknown statistics {unknown}; there are {', '.join(STATISTICS)}")
        return self

    def migrates(self, old: Kept) -> bool:
        """Panes of the same hop make shorter windows; for longer ones older panes would lack."""
        size = old.duration("size") or 0
        hop = old.duration("hop") or size
        return old.version == 2 and hop == (self.hop or self.size) and self.size <= size

    def migrate(self, old: Kept, values: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return values

    @property
    def summary(self) -> str:
        text = format_duration(self.size)
        if self.hop is not None and self.hop != self.size:
            text += f" every {format_duration(self.hop)}"
        return f"{text}, grace {format_duration(self.grace)}" if self.grace else text

    def bind(self, context: Context) -> Bound:
        name, size, grace = self.name, self.size, self.grace
        hop = self.hop or size
        count = size // hop
        skew = context.max_future_skew
        wanted = Matcher(self.tags)

        def window(flow: Flow, memory: Memory) -> None:
            held = Panes(memory)
            if len(flow.block):
                _take(flow, held, wanted, hop, grace, count, skew)
            # Windows up to number `after` (end = number × hop) are closed after this record.
            before, after = (flow.before.now - grace) // hop, (flow.time.now - grace) // hop
            flow.lane_time[name] = after * hop
            if after > before:
                concerned, windows = closing.due(held, count, before, after)
                if windows:
                    flow.features[name] = closing.rows(
                        held,
                        concerned,
                        windows,
                        count,
                        asset=flow.asset,
                        name=name,
                        size=size,
                        hop=hop,
                        statistics=self.statistics,
                    )
                for pane in concerned:
                    if pane.number + count <= after:
                        held.forget(pane)
            held.save()

        return window


def _take(
    flow: Flow, held: Panes, wanted: Matcher, hop: int, grace: int, count: int, skew: int
) -> None:
    """Samples into their panes."""
    block = flow.block
    assert block.clock is not None
    tags, tag, t = block.tags, block.tag, block.t
    asked = wanted(tags)
    # Never older than the time before this record: what closed then stays closed.
    lowest = max(flow.before.now, MIN_NS + grace)
    horizon = min(flow.received + skew, MAX_NS)
    place, met, late, future = assign(
        t, block.clock, tag, asked, lowest, horizon, hop, grace, count
    )
    flow.count("late", late)
    flow.count("future", future)
    for number, (pane, since, first, stop) in enumerate(met.tolist()):
        table = held.table(Pane(pane, since))
        if wanted.all(tags):
            row = table.rows(tags)
        else:
            row = np.full(len(tags), -1)
            row[asked] = table.rows(tuple(one for one, yes in zip(tags, asked, strict=True) if yes))
        origin = pane * hop
        absorb(table["parts"], row, tag, t, block.v, block.q, place, number, first, stop, origin)
