"""Joining readings with what was true at their time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from models import quality
from models.errors import StepError
from models.records.block import Block
from models.records.values import Typed
from models.time import NEVER, Duration, format_duration
from topologies.core.flow import Flow
from topologies.core.state import Column, Columns, Memory, Table
from topologies.core.step import Bound, Context, Step
from topologies.steps import chunks
from topologies.steps.combine.present import only_present
from topologies.steps.patterns import Matcher

_COLUMNS = Columns(
    1,
    t=Column(np.int64, NEVER),
    v=Column(np.float64, np.nan),
    q=Column(np.uint8, quality.MISSING),
    typed=Column(np.uint8),
)


class AsOf(Step):
    """Beside each reading of the left, the newest values of other tags at its time.

    At every event time of the left a reading of each new tag is added: the newest value, at or
    before that time, of the tags it is taken from, with its quality. It is MISSING where there is
    none, or none within the tolerance. Of equally new ones the last by input and asset counts.

    Behind a merge this is exact: everything up to a reading's time is there when it is released;
    what was released without waiting for all others is SUSPECT. Without a tolerance it joins with
    a table (an input with ``table=True``, such as recipes): each row is valid until the next.
    """

    kind: ClassVar[str] = "as_of"
    state_version: ClassVar[int] = 1
    state_parameters: ClassVar[tuple[str, ...]] = ("columns",)

    left: tuple[str, ...] = Field(("*",), description="Patterns of the tags that are joined with")
    columns: dict[str, str] = Field(
        min_length=1, description="New tags, and the pattern of the tags each is taken from"
    )
    tolerance: Duration | None = Field(
        None, ge=0, description="Older values are MISSING; none: any age, as of a table"
    )
    keep: Literal["left", "all"] = Field(
        "left", description="What goes on beside the new tags: the left alone, or all readings"
    )

    @field_validator("columns")
    @classmethod
    def _sensible(cls, columns: dict[str, str]) -> dict[str, str]:
        for name, pattern in columns.items():
            if not name or "\0" in name or not pattern:
                raise ValueError(f"{name!r} from {pattern!r}: both must be text")
        return columns

    @property
    def summary(self) -> str:
        names = ", ".join(self.columns)
        if self.tolerance is None:
            return names
        return f"{names} within {format_duration(self.tolerance)}"

    def bind(self, context: Context) -> Bound:
        left = Matcher(self.left)
        rights = [Matcher((pattern,)) for pattern in self.columns.values()]
        names, tolerance = tuple(self.columns), self.tolerance

        def join(flow: Flow, memory: Memory) -> None:
            block = flow.block
            if not len(block):
                return
            table = memory.table(_COLUMNS)
            rows = table.rows(names).tolist()
            mine = left(block.tags)[block.tag]
            at = _times(block, mine)
            kept = block if self.keep == "all" else block.take(mine)
            clash = set(names) & {kept.tags[place] for place in np.unique(kept.tag).tolist()}
            if clash:
                raise StepError(f"the joined tag {min(clash)!r} also comes from the source")
            added = []
            for name, row, right in zip(names, rows, rights, strict=True):
                newest = _by_time(block, right(block.tags)[block.tag])
                if at.size:
                    added.append(
                        _joined(block, block.t[at], newest, table, row, memory, name, tolerance)
                    )
                _remember(block, newest, table, row, memory, name)
            table.save()
            if at.size:
                kept = _append(only_present(kept), block, at, names, added, bool(flow.partial))
            flow.block = kept

        return join


class _Column(NamedTuple):
    """A joined tag at each time of the left. Arrays of shape (m,)."""

    v: NDArray[np.float64]
    q: NDArray[np.uint8]
    code: NDArray[np.uint32]
    typed: list[tuple[int, str, Any]]


def _times(block: Block, mine: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The last to arrive of the left's samples at each of its times, by time."""
    places = np.flatnonzero(mine)
    if not places.size:
        return places
    arrival = places if block.arrival is None else block.arrival[places]
    places = places[np.lexsort((arrival, block.t[places]))]
    t = block.t[places]
    last: NDArray[np.intp] = places[np.append(t[1:] != t[:-1], True)]
    return last


def _by_time(block: Block, right: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Places of the right's samples by (time, arrival): of equal times, the last counts."""
    places = np.flatnonzero(right)
    arrival = places if block.arrival is None else block.arrival[places]
    ordered: NDArray[np.intp] = places[np.lexsort((arrival, block.t[places]))]
    return ordered


def _joined(
    block: Block,
    t: NDArray[np.int64],
    places: NDArray[np.intp],
    table: Table,
    row: int,
    memory: Memory,
    name: str,
    tolerance: int | None,
) -> _Column:
    old = int(table["t"][row])
    found = np.searchsorted(block.t[places], t, side="right") - 1
    here = found >= 0
    place = places[found] if places.size else np.zeros(t.size, np.intp)
    since = np.where(here, block.t[place], NEVER)
    # What is remembered counts where it is newer (a row of a table that came late is older).
    kept = (old != NEVER) & (old <= t) & (old > since)
    since = np.where(kept, old, since)
    missing = since == NEVER
    if tolerance is not None:
        missing |= since < t - tolerance
    v = np.where(kept, table["v"][row], block.v[place])
    q = np.where(kept, table["q"][row], block.q[place])
    code = block.code[place] if block.code.size else np.zeros(t.size, np.uint32)
    typed = {index: (kind, value) for index, kind, value in block.typed}
    mine = _typed(memory, name) if table["typed"][row] else None
    entries = []
    for number in np.flatnonzero(~missing).tolist() if typed or mine else ():
        entry = mine if kept[number] else typed.get(int(place[number]))
        if entry is not None:
            entries.append((number, *entry))
    return _Column(
        np.where(missing, np.nan, v),
        np.where(missing, np.uint8(quality.MISSING), q).astype(np.uint8),
        np.where(missing | kept, np.uint32(0), code).astype(np.uint32),
        entries,
    )


def _remember(
    block: Block, places: NDArray[np.intp], table: Table, row: int, memory: Memory, name: str
) -> None:
    if not places.size:
        return
    last = int(places[-1])
    if block.t[last] < table["t"][row]:
        return
    table["t"][row], table["v"][row], table["q"][row] = block.t[last], block.v[last], block.q[last]
    entry = next(([kind, value] for index, kind, value in block.typed if index == last), None)
    if entry is not None or table["typed"][row]:
        chunks.put_json(memory, f"typed/{name}", {} if entry is None else {"entry": entry})
    table["typed"][row] = entry is not None


def _typed(memory: Memory, name: str) -> tuple[str, Any]:
    kind, value = chunks.get_json(memory, f"typed/{name}")["entry"]
    return kind, value


def _append(
    kept: Block,
    block: Block,
    at: NDArray[np.intp],
    names: tuple[str, ...],
    added: list[_Column],
    doubtful: bool,
) -> Block:
    """The block with a sample of every new tag at each place of the left."""
    many, size, times = len(names), len(kept), at.size
    q = np.concatenate([column.q for column in added])
    if doubtful:
        q = np.where(q == quality.GOOD, np.uint8(quality.SUSPECT), q).astype(np.uint8)
    typed: list[Typed] = list(kept.typed)
    for number, column in enumerate(added):
        typed += [(size + number * times + i, kind, value) for i, kind, value in column.typed]
    zeros = np.zeros(many * times, np.uint32)

    def repeated(column: NDArray[Any] | None, old: NDArray[Any] | None) -> NDArray[Any] | None:
        if column is None or old is None:
            return None
        return np.concatenate([column, np.tile(old[at], many)])

    code = np.concatenate([column.code for column in added])
    if kept.code.size or code.any():
        old = kept.code if kept.code.size else np.zeros(size, np.uint32)
        code = np.concatenate([old, code])
    else:
        code = kept.code
    return replace(
        kept,
        tags=(*kept.tags, *names),
        tag=np.concatenate(
            [kept.tag, np.repeat(np.arange(many, dtype=np.int32), times) + len(kept.tags)]
        ).astype(np.int32),
        t=np.concatenate([kept.t, np.tile(block.t[at], many)]),
        v=np.concatenate([kept.v, *(column.v for column in added)]),
        q=np.concatenate([kept.q, q]),
        code=code,
        why=np.concatenate([kept.why, zeros]) if kept.why.size else kept.why,
        typed=tuple(typed),
        clock=repeated(kept.clock, block.clock),
        arrival=repeated(kept.arrival, block.arrival),
    )
