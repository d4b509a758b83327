"""Tumbling and hopping event-time windows per tag."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.records.features import Features
from models.time import MAX_NS, MIN_NS, NEVER, Duration, format_duration
from topologies.core.flow import Flow, Series
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps.extract import panes, partials
from topologies.steps.extract.panes import Panes
from topologies.steps.extract.partials import BAD, FROM, PANE, STATISTICS, N
from topologies.steps.patterns import Matcher

_MOST_PANES = 100_000


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
    state_version: ClassVar[int] = 1

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

    @property
    def summary(self) -> str:
        text = format_duration(self.size)
        if self.hop is not None and self.hop != self.size:
            text += f" every {format_duration(self.hop)}"
        return f"{text}, grace {format_duration(self.grace)}" if self.grace else text

    def bind(self, context: Context) -> Bound:
        name, grace, skew = self.name, self.grace, context.max_future_skew
        hop = self.hop or self.size
        wanted = Matcher(self.tags)
        closing = _Closing(self, hop)

        def window(flow: Flow, memory: Memory) -> None:
            # Windows up to number `after` (end = number × hop) are closed after this record.
            before, after = (flow.before.now - grace) // hop, (flow.time.now - grace) // hop
            flow.lane_time[name] = after * hop
            series = flow.series()
            if series is None:
                if after > before:
                    table = memory.table(panes.COLUMNS)
                    held = panes.load(memory, table)
                    if held.size:
                        held = closing(flow, table.tags, held, before, after)
                        panes.save(memory, table, held)
                return
            t = series.t
            oldest, newest = flow.extremes(t)
            pane = newest // hop
            if (
                pane  # rows of zeros mean "no pane": pane 0, of 1970, takes the general way
                and pane >= after
                and oldest // hop == pane
                and newest <= flow.received + skew
                and wanted.all(series.tags)
            ) and _add_to_one_pane(flow, memory, series, pane, before, after, closing):
                return
            table = memory.table(panes.COLUMNS)
            horizon = min(flow.received + skew, MAX_NS)
            chosen, pane_of, since = self._sort_out(flow, series, wanted, before, horizon)
            held = panes.load(memory, table)
            if chosen.size:
                rows = table.rows(series.tags)
                new = _runs(series, chosen, rows[series.tag[chosen]], pane_of, since)
                held = panes.joined(held, new)
            if after > before and held.size:
                held = closing(flow, table.tags, held, before, after)
            panes.save(memory, table, held)

        return window

    def _sort_out(
        self, flow: Flow, series: Series, wanted: Matcher, before: int, horizon: int
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the samples that count, their panes, and the window after which they do."""
        hop, t = self.hop or self.size, series.t
        panes_a_window = self.size // hop
        take = t <= horizon
        asked = wanted(series.tags)[series.tag]
        flow.count("future", int(np.count_nonzero(asked > take)))
        take &= asked
        pane = t // hop
        since = pane
        if series.clock is not None:
            # Never older than the time before this record: what closed then stays closed.
            lowest = max(flow.before.now, MIN_NS + self.grace)
            closed = (np.maximum(series.clock, lowest) - self.grace) // hop
            since = np.maximum(pane, closed)
        late = take & (since > pane)
        if late.any():
            flow.count("late", int(np.count_nonzero(late)))
            take &= since < pane + panes_a_window
        chosen = np.flatnonzero(take)
        return chosen, pane[chosen], since[chosen]


def _add_to_one_pane(
    flow: Flow,
    memory: Memory,
    series: Series,
    pane: int,
    before: int,
    after: int,
    closing: _Closing,
) -> bool:
    """Add samples that are all of one pane to their rows; False where that is not so simple.

    Windows up to ``after``, of which none holds the pane, are closed first.
    """
    table = memory.table(panes.COLUMNS)
    if after > before and not panes.close_rows(
        memory, table, lambda held: closing(flow, table.tags, held, before, after)
    ):
        return False
    groups = series.groups
    rows = table.rows_of(series.tags, groups)
    ints, floats = table["ints"][rows], table["floats"][rows]
    other = ints[:, PANE] != pane
    if np.count_nonzero(other):
        if np.count_nonzero(ints[other, N : BAD + 1]):
            return False
        ints[other, PANE] = ints[other, FROM] = pane
        floats[other] = partials.EMPTY
    usable = None if series.complete or series.usable.all() else series.usable
    partials.absorb(
        ints, floats, series.v, series.t, groups.start, groups.size, groups.of, usable
    )
    if not isinstance(rows, slice):  # of a slice they are views
        table["ints"][rows] = ints
        table["floats"][rows] = floats
    table.save()
    return True


def _runs(
    series: Series,
    chosen: NDArray[np.intp],
    row: NDArray[np.intp],
    pane: NDArray[np.int64],
    since: NDArray[np.int64],
) -> Panes:
    """Partials of samples by (row, pane, since), ordered so; arrival order within each."""
    order = np.lexsort((since, pane, row))
    row, pane, since, chosen = row[order], pane[order], since[order], chosen[order]
    start = panes.starts(row, pane, since)
    size = np.diff(start, append=row.size)
    ints, floats = partials.nothing(start.size)
    ints[:, PANE], ints[:, FROM] = pane[start], since[start]
    usable = series.usable[chosen]
    some_bad = None if usable.all() else usable
    of = np.arange(start.size).repeat(size)
    partials.absorb(ints, floats, series.v[chosen], series.t[chosen], start, size, of, some_bad)
    return Panes(row[start], ints, floats)


class _Closing:
    """Closes windows: puts their rows into the flow, gives back what is still open."""

    def __init__(self, step: Window, hop: int) -> None:
        self._name, self._size, self._hop = step.name, step.size, hop
        self._panes = step.size // hop
        self._statistics = step.statistics
        self._ranks: tuple[tuple[str, ...], NDArray[np.int64]] = ((), np.empty(0, np.int64))

    def __call__(
        self, flow: Flow, tags: tuple[str, ...], held: Panes, before: int, after: int
    ) -> Panes:
        lower, upper = max(before, NEVER), min(after, MAX_NS)
        count = self._panes
        first = np.maximum(held.ints[:, FROM], lower) + 1
        last = np.minimum(held.ints[:, PANE] + count, upper)
        windows = np.maximum(last - first + 1, 0)
        rest = held if upper == lower else held.take(held.ints[:, PANE] + count > upper)
        if count == 1:
            closed = held.take(windows > 0)
            number = closed.ints[:, PANE] + 1
        else:
            closed = held.take(np.repeat(np.arange(held.size), windows))
            number = np.repeat(first, windows) + _count_up(windows)
        if not closed.size:
            return rest
        rank = self._rank(tags)[closed.row]
        if count == 1:
            # A row has one partial a pane, so one a window.
            order = np.lexsort((rank, number))
            closed, rank, number = closed.take(order), rank[order], number[order]
        else:
            order = np.lexsort((closed.ints[:, FROM], closed.ints[:, PANE], rank, number))
            closed, rank, number = closed.take(order), rank[order], number[order]
            start = panes.starts(number, rank)
            closed, rank, number = closed.fold(start), rank[start], number[start]
        stats = partials.statistics(closed.ints, closed.floats, self._statistics)
        if number[0] == number[-1]:  # one window
            present, tag = rank, np.arange(rank.size)
        else:
            present, tag = np.unique(rank, return_inverse=True)
        names = sorted(tags)
        end = number * self._hop
        flow.features[self._name] = Features(
            flow.asset,
            self._name,
            tuple(names[place] for place in present.tolist()),
            tag.astype(np.int32),
            end - self._size,
            end,
            closed.ints[:, N],
            closed.ints[:, BAD],
            stats,
            np.zeros(closed.size, np.uint8),
        )
        return rest

    def _rank(self, tags: tuple[str, ...]) -> NDArray[np.int64]:
        """Place of each row's tag in alphabetical order: the same whichever came first."""
        if self._ranks[0] is not tags:
            order = sorted(range(len(tags)), key=tags.__getitem__)
            rank = np.empty(len(tags), np.int64)
            rank[order] = np.arange(len(tags))
            self._ranks = (tags, rank)
        return self._ranks[1]


def _count_up(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … for each size, one after another."""
    ends = np.cumsum(sizes)
    result: NDArray[np.int64] = np.arange(int(ends[-1]) if ends.size else 0)
    return result - np.repeat(ends - sizes, sizes)
