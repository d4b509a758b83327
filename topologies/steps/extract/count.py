"""Windows of a number of samples per tag."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from models.time import MAX_NS
from topologies.core.flow import Flow
from topologies.core.jit import kernel
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Bound, Context
from topologies.steps.extract import rows
from topologies.steps.extract.base import Windowed, bounded, rows_of, too_late
from topologies.steps.extract.partials import BAD, WIDTH, Floats, Ints, N, add, merge
from topologies.steps.extract.rows import tell
from topologies.steps.patterns import Matcher

_MOST_PIECES = 100
#: Times of a piece: of its first sample to come, the oldest, the newest.
_ORIGIN, _OLDEST, _NEWEST = range(3)
#: Of a tag: pieces that are full, start and end of the newest window that closed.
_FULL, _START, _END = range(3)


class CountWindow(Windowed):
    """Statistics of every ``size`` usable samples of a tag, in the order in which they came.

    A window closes with its last sample; ``start`` and ``end`` are the times of its oldest and its
    newest one. One of bad quality is left out and counted in the row (``bad``). One older than the
    newest of the windows that have closed is left out, counted (``late``) and told of in an output
    of kind ``late``; one from the future, or from before 1820, is left out and counted (``future``,
    ``too_old``). What came of a tag that falls silent waits for the rest.
    """

    kind: ClassVar[str] = "count_window"
    #: Its next window may end at any time after the last.
    tells_time: ClassVar[bool] = False
    state_version: ClassVar[int] = 1
    state_parameters: ClassVar[tuple[str, ...]] = ("size", "hop")
    loses: ClassVar[str] = "windows that are open begin anew"

    size: int = Field(ge=1, le=1_000_000_000, description="Samples in a window")
    hop: int | None = Field(
        None, description="Samples from one window's start to the next's; none: the size"
    )

    @model_validator(mode="after")
    def _sensible(self) -> CountWindow:
        hop = self.size if self.hop is None else self.hop
        if hop <= 0 or self.size % hop or self.size // hop > _MOST_PIECES:
            raise ValueError(
                f"hop ({hop}) must divide size ({self.size}) into at most {_MOST_PIECES}"
            )
        return self

    @property
    def summary(self) -> str:
        text = f"{self.size} samples"
        return text if self.hop in (None, self.size) else f"{text} every {self.hop}"

    def bind(self, context: Context) -> Bound:
        name, skew, hop = self.name, context.max_future_skew, self.hop or self.size
        pieces = self.size // hop
        wanted = Matcher(self.tags)

        def count_window(flow: Flow, memory: Memory) -> None:
            block = flow.block
            if not len(block):
                return
            table = memory.table(_columns(pieces))
            row = rows_of(table, block.tags, wanted)
            told = rows.room(len(block))
            filled, late, future = _take(
                row,
                block.tag,
                block.t,
                block.v,
                block.q,
                min(flow.received + skew, MAX_NS),
                hop,
                table["known"],
                table["times"].reshape(-1, pieces, 3),
                table["parts"].reshape(-1, pieces, WIDTH),
                *told,
            )
            flow.count("future", future)
            too_late(flow, name, late[:, 0], late[:, 1], late[:, 2])
            rows.put(flow, name, table.tags, told, filled, self.statistics)
            table.save()

        return bounded(count_window)


@lru_cache(maxsize=64)
def _columns(pieces: int) -> Columns:
    """A window is ``pieces`` pieces of one hop, the newest of which are kept, in a ring."""
    return Columns(
        1,
        known=Column(np.int64, 0, 3),
        times=Column(np.int64, 0, pieces * 3),
        parts=Column(np.float64, 0, pieces * WIDTH),
    )


@kernel
def _take(
    row: NDArray[np.intp],
    tag: NDArray[np.int32],
    t: Ints,
    v: Floats,
    q: NDArray[np.uint8],
    horizon: int,
    hop: int,
    known: Ints,
    times: Ints,
    parts: Floats,
    ints: Ints,
    said: Floats,
) -> tuple[int, Ints, int]:
    """Take samples, and tell of windows that are full.

    ``times`` and ``parts``: (rows, pieces, ·). How many windows were told of; late samples, (l, 3):
    which, and the window it missed; and how many samples were from the future.
    """
    pieces = parts.shape[1]
    late = np.empty((t.size, 3), np.int64)
    filled = lates = future = 0
    for i in range(t.size):
        at = row[tag[i]]
        if at < 0:
            continue
        if t[i] > horizon:
            future += 1
            continue
        full = known[at, _FULL]
        if full >= pieces and t[i] < known[at, _END]:
            late[lates, 0], late[lates, 1], late[lates, 2] = i, known[at, _START], known[at, _END]
            lates += 1
            continue
        part, span = parts[at, full % pieces], times[at, full % pieces]
        if part[N] + part[BAD] == 0:
            span[:] = t[i]
        span[_OLDEST], span[_NEWEST] = min(span[_OLDEST], t[i]), max(span[_NEWEST], t[i])
        add(part, t[i] - span[_ORIGIN], v[i], q[i])
        if part[N] < hop:
            continue
        full += 1
        known[at, _FULL] = full
        if full >= pieces:
            _close(known[at], times[at], parts[at], at, ints, said, filled)
            filled += 1
        parts[at, full % pieces] = 0.0
    return filled, late[:lates], future


@kernel
def _close(
    known: Ints, times: Ints, parts: Floats, row: int, ints: Ints, said: Floats, at: int
) -> None:
    """Tell of the window that the pieces of a tag are, oldest first."""
    pieces = len(parts)
    first = times[known[_FULL] % pieces]
    start, end, origin = first[_OLDEST], first[_NEWEST], first[_ORIGIN]
    whole = np.zeros(WIDTH)
    for number in range(known[_FULL], known[_FULL] + pieces):
        span = times[number % pieces]
        start, end = min(start, span[_OLDEST]), max(end, span[_NEWEST])
        merge(whole, parts[number % pieces], span[_ORIGIN] - origin)
    known[_START], known[_END] = start, end
    tell(ints, said, at, row, start, end, whole, False)
