"""What flows through the steps of a stage while one record is worked on.

Steps replace what is in a flow; they never write into the arrays they find there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.records.between import Between
from models.records.block import Block
from models.records.events import Alarm, Anomaly
from models.records.features import Features
from models.records.heartbeat import Heartbeat
from models.records.late import Late
from models.time import MAX_NS
from topologies.core.jit import kernel
from topologies.core.layout import Groups, group, layout_of
from topologies.core.time import KeyTime

__all__ = ["READINGS", "Flow", "Groups", "Origins", "Scores", "Series", "group"]

#: The lane of samples; the other lanes bear the name of the step that made them.
READINGS = "readings"


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers in time, grouped by tag: what detectors judge. Arrays of shape (n,).

    A view of samples (their values), or of features (one statistic, ``t`` the window's end).
    """

    asset: str
    tags: tuple[str, ...]
    tag: NDArray[np.int32]
    t: NDArray[np.int64]
    v: NDArray[np.float64]
    #: Whether a number counts: of usable quality, finite, and not from the future.
    usable: NDArray[np.bool_]
    #: Key time just before each sample arrived, ns; None where ``t`` itself says it (features).
    clock: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self.t.size)

    @property
    def groups(self) -> Groups:
        """The runs of equal tag."""
        return layout_of(self.tag).groups


@dataclass(frozen=True, slots=True)
class Scores:
    """What a detector says of each number of a series. Arrays of shape (n,)."""

    detector: str
    series: Series
    score: NDArray[np.float64]
    threshold: NDArray[np.float64]
    #: Over the threshold.
    active: NDArray[np.bool_]
    #: False where nothing can be said (bad quality, still learning): conditions stay as they were.
    judged: NDArray[np.bool_]
    #: A sentence for one sample; called only for those that are reported.
    why: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Origins:
    """Whose windows a merged lane's rows are. Arrays of shape (n,), parallel to its rows."""

    #: (input, asset), in order.
    contributors: tuple[tuple[str, str], ...]
    #: Index into ``contributors``.
    contributor: NDArray[np.int64]
    #: The tags as their assets call them.
    tags: tuple[str, ...]
    #: Index into ``tags``.
    tag: NDArray[np.int32]


@dataclass(slots=True)
class Flow:
    """One record on its way. ``block`` is the lane ``readings``."""

    topology: str
    asset: str
    event_id: str
    #: The key's time before and after this record.
    before: KeyTime
    time: KeyTime
    #: Receive time of this record, ns.
    received: int
    block: Block
    heartbeat: Heartbeat | None = None
    features: dict[str, Features] = field(default_factory=dict)
    #: Windows that have not closed yet, as they are now and then, by the step that holds them.
    updates: list[tuple[str, Features]] = field(default_factory=list)
    #: Samples that came too late for windows.
    late: list[Late] = field(default_factory=list)
    scores: dict[str, Scores] = field(default_factory=dict)
    anomalies: list[Anomaly] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    #: How far each step's lane is complete, ns; where it says nothing: the key's time.
    lane_time: dict[str, int] = field(default_factory=dict)
    #: Input or stage this comes from.
    origin: str = ""
    #: Rows of a table: each is valid from its time on.
    table: bool = False
    #: In a merging stage: why results may be incomplete (bits of ``Features.partial``).
    partial: int = 0
    #: In a merging stage: whose rows the lanes hold that came from the stage before.
    origins: dict[str, Origins] = field(default_factory=dict)
    #: What goes to the next stage: topic (as an output), key, rows.
    between: list[tuple[str, str, Between]] = field(default_factory=list)
    _series: dict[tuple[str, str], tuple[object, Series]] = field(default_factory=dict)

    def count(self, name: str, amount: int) -> None:
        """Count something; exported as a metric of the worker."""
        if amount:
            self.counts[name] = self.counts.get(name, 0) + amount

    def series(
        self, lane: str = READINGS, statistic: str = "", horizon: int = MAX_NS
    ) -> Series | None:
        """The samples, or one statistic of a window step's rows, as a series.

        Samples after ``horizon``, the same for all who ask, do not count. None where the lane
        holds nothing for this record.
        """
        source: Any = self.block if lane == READINGS else self.features.get(lane)
        if source is None or len(source) == 0:
            return None
        known = self._series.get((lane, statistic))
        if known is not None and known[0] is source:
            return known[1]
        series = self._of_block(horizon) if lane == READINGS else _of_features(source, statistic)
        self._series[lane, statistic] = (source, series)
        return series

    def _of_block(self, horizon: int) -> Series:
        block = self.block
        size = len(block)
        usable = np.empty(size, bool)
        _find_usable(block.q, block.v, block.t, horizon, quality.USABLE, usable)
        return Series(block.asset, block.tags, block.tag, block.t, block.v, usable, block.clock)


def _of_features(features: Features, statistic: str) -> Series:
    layout = layout_of(features.tag)
    end, v = features.end, features.stats[statistic]
    if layout.order is not None:
        end, v = end[layout.order], v[layout.order]
    return Series(features.asset, features.tags, layout.tag, end, v, np.isfinite(v))


@kernel
def _find_usable(
    q: NDArray[np.uint8],
    v: NDArray[np.float64],
    t: NDArray[np.int64],
    horizon: int,
    flags: NDArray[np.bool_],
    usable: NDArray[np.bool_],
) -> None:
    """Fill ``usable`` (n,): finite, not after ``horizon``, and of a flag that counts.

    Flags that count are True in ``flags`` (256,).
    """
    for i in range(v.size):
        usable[i] = flags[q[i]] and np.isfinite(v[i]) and t[i] <= horizon
