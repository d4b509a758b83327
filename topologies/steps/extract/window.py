"""Tumbling and hopping event-time windows per tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from models.time import MAX_NS, MIN_NS, NEVER, Duration, format_duration
from topologies.core.flow import Flow
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Kept
from topologies.steps.extract import closing
from topologies.steps.extract.base import Windowed, bounded, rows_of, too_late
from topologies.steps.extract.closing import Shape
from topologies.steps.extract.panes import NUMBER, PLACE, STOP, WHICH, Pane, Panes, assign
from topologies.steps.extract.partials import Ints, absorb
from topologies.steps.patterns import Matcher


class Window(Windowed):
    """Statistics of each tag's samples in windows of event time, each window once.

    Windows are aligned to 1970-01-01 UTC. One closes when the key's time reaches its end + grace,
    by data or by heartbeat, and then gives one row per tag that had samples in it, ordered by
    (end, tag). A sample whose window is closed is left out of it, counted (``late``), and told of
    in an output of kind ``late`` with the newest window that it missed. One of bad quality is left
    out and counted in the row (``bad``); one from the future, or from before 1820, is left out and
    counted (``future``, ``too_old``). A window of nothing but bad samples has count 0
    and no statistics.

    With ``emit = "updates"`` rows are also told of before their windows close, when the key's time
    passes a multiple of ``every`` and they have new samples. Such rows are not ``final``, their
    ``revision`` rises to that of the final one, and no step reads them: they only go to outputs.

    Windows that are open are pieces of one hop, at most ``most_open`` of each asset. Of more, the
    oldest windows close before their time: their rows are marked partial and counted (``early``).
    """

    kind: ClassVar[str] = "window"
    state_version: ClassVar[int] = 2
    state_parameters: ClassVar[tuple[str, ...]] = ("size", "hop")
    loses: ClassVar[str] = "windows that are open hold only the samples that still come"

    size: Duration = Field(gt=0, description="Length of a window")
    hop: Duration | None = Field(
        None, description="Time from one window's start to the next's; none: the size (tumbling)"
    )
    grace: Duration = Field(0, ge=0, description="How long a window stays open after its end")
    emit: Literal["final", "updates"] = Field(
        "final", description="final: a row when its window closes; updates: also before"
    )
    every: Duration = Field(
        1_000_000_000, gt=0, description="Least time from one update of a row to the next"
    )
    most_open: int = Field(
        10_000, ge=1, le=100_000, description="Most open pieces of windows of an asset"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Window:
        hop = self.size if self.hop is None else self.hop
        if hop <= 0 or self.size % hop:
            raise ValueError(
                f"hop ({format_duration(hop)}) must divide size ({format_duration(self.size)})"
            )
        if (self.size + self.grace) // hop + 1 > self.most_open:
            raise ValueError(
                f"size + grace is more than most_open ({self.most_open}) hops: choose a longer hop"
            )
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
        if self.emit == "updates":
            text += f", updates every {format_duration(self.every)}"
        return f"{text}, grace {format_duration(self.grace)}" if self.grace else text

    def bind(self, context: Context) -> Bound:
        hop, most = self.hop or self.size, self.most_open
        updates = self.emit == "updates"
        shape = Shape(self.name, self.size, hop, self.grace, self.statistics, updates)
        taking = _Taking(shape, Matcher(self.tags), context.max_future_skew, self.every)

        def window(flow: Flow, memory: Memory) -> None:
            held = Panes(memory)
            floor = held.floor
            # Windows up to number `after` (end = number × hop) are closed after this record.
            before = max((flow.before.now - shape.grace) // hop, floor)
            on_time = max((flow.time.now - shape.grace) // hop, before)
            if updates:
                _tell_late(flow, shape, taking.in_turns(flow, held, before, floor))
            elif len(flow.block):
                _tell_late(flow, shape, taking.all(flow, held, floor))
            crowd = held.crowd(most)
            after = max(on_time, crowd[-1].number + shape.panes) if crowd else on_time
            flow.lane_time[shape.name] = after * hop
            if after > before:
                _close(flow, held, shape, before, after, on_time)
            if after > on_time:
                held.set_floor(after)
            elif floor != NEVER and (flow.time.now - shape.grace) // hop >= floor:
                held.set_floor(NEVER)
            held.save()

        return bounded(window)


def _close(flow: Flow, held: Panes, shape: Shape, before: int, after: int, on_time: int) -> None:
    concerned, windows = closing.due(held, shape.panes, before, after)
    if windows:
        rows = closing.rows(flow.asset, held, concerned, windows, shape, on_time=on_time)
        flow.features[shape.name] = rows
        if after > on_time:
            flow.count("early", int(np.count_nonzero(rows.partial)))
    for pane in concerned:
        if pane.number + shape.panes <= after:
            held.forget(pane)


class _Taking:
    """Takes the samples of a record into their panes."""

    def __init__(self, shape: Shape, wanted: Matcher, skew: int, every: int) -> None:
        self._shape, self._wanted, self._skew, self._every = shape, wanted, skew, every

    def all(
        self,
        flow: Flow,
        held: Panes,
        floor: int,
        since: int = NEVER,
        until: int = MAX_NS,
    ) -> Ints:
        """Those whose clock is from ``since`` to ``until``.

        Gives those too late for some window, (l, 2): which, and the newest window that had closed.
        """
        shape, wanted, block = self._shape, self._wanted, flow.block
        hop, tag, t = shape.hop, block.tag, block.t
        assert block.clock is not None
        work = np.empty((len(block), 7), np.int64)
        found, late, future = assign(
            t,
            block.clock,
            tag,
            wanted(block.tags),
            _lowest(flow, shape),
            since,
            until,
            min(flow.received + self._skew, MAX_NS),
            hop,
            shape.grace,
            shape.panes,
            floor,
            work,
        )
        flow.count("future", future)
        place = work[:, PLACE]
        for number, (pane, counts_from, first, stop) in enumerate(
            work[:found, NUMBER : STOP + 1].tolist()
        ):
            table = held.table(Pane(pane, counts_from))
            row = rows_of(table, block.tags, wanted)
            parts, origin = table["parts"], pane * hop
            absorb(parts, row, tag, t, block.v, block.q, place, number, first, stop, origin)
        return work[:late, WHICH:]

    def in_turns(self, flow: Flow, held: Panes, before: int, floor: int) -> Ints:
        """All of them, as :meth:`all`; tells of windows whenever the key's time passes a tick.

        What is told holds the samples that came before the tick, and the one that passed it: the
        same however samples are split into records.
        """
        shape, every = self._shape, self._every
        lowest = _lowest(flow, shape)
        assert flow.block.clock is not None
        clock = np.maximum(flow.block.clock, lowest)
        reached, since = lowest, NEVER
        lates = [np.empty((0, 2), np.int64)]
        while True:
            tick = (reached // every + 1) * every
            if clock.size:
                lates.append(self.all(flow, held, floor, since, min(tick - 1, MAX_NS)))
                clock = clock[clock >= tick]
            reached = int(clock.min()) if clock.size else flow.time.now
            if reached < tick:
                return np.concatenate(lates)
            closed = max((reached - shape.grace) // shape.hop, before)
            concerned, windows = closing.due(held, shape.panes, closed, MAX_NS)
            if windows:
                rows = closing.rows(
                    flow.asset, held, concerned, windows, shape, on_time=MAX_NS, news=True
                )
                flow.updates.append((shape.name, rows))
            held.told()
            since = tick


def _tell_late(flow: Flow, shape: Shape, lates: Ints) -> None:
    if len(lates):
        at, closed = lates.T
        end = np.minimum(closed, flow.block.t[at] // shape.hop + shape.panes) * shape.hop
        too_late(flow, shape.name, at, end - shape.size, end)


def _lowest(flow: Flow, shape: Shape) -> int:
    """Nobody's clock is older than the time before a record: what closed then stays closed."""
    return max(flow.before.now, MIN_NS + shape.grace)
