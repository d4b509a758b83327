"""A tag computed from others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from models import quality
from models.errors import StepError
from models.records.block import Block
from models.time import NEVER, Duration
from topologies.core.flow import Flow
from topologies.core.state import Column, Columns, Memory, Table
from topologies.core.step import Bound, Context, Step
from topologies.steps.transform.expression import Expression

_COLUMNS = Columns(
    1, t=Column(np.int64, NEVER), v=Column(np.float64, np.nan), q=Column(np.uint8, quality.MISSING)
)
_REMEMBERED = 4096


class Derive(Step):
    """Adds a tag by an expression over other tags of the same asset.

    It is computed at every sample of the trigger tag, with the newest value of the others that had
    arrived by then. Nothing is computed before each of them has been seen once. Its quality is the
    worst of its inputs; where the result is not a number, MISSING, and where infinite, FAIL.
    """

    kind: ClassVar[str] = "derive"
    state_version: ClassVar[int] = 1

    tag: str = Field(min_length=1, description="Name of the new tag")
    expression: str = Field(description="Such as 'torque * speed / 9550'")
    on: str = Field("", description="The tag whose samples trigger it; default: the first named")
    tolerance: Duration | None = Field(
        None, gt=0, description="Inputs older than this make the result MISSING; none: any age"
    )
    assets: tuple[str, ...] = Field(("*",), description="Patterns of the assets it applies to")

    @field_validator("expression")
    @classmethod
    def _parses(cls, expression: str) -> str:
        Expression(expression)
        return expression

    @model_validator(mode="after")
    def _names(self) -> Derive:
        if self.on and self.on not in self._parsed.names:
            named = ", ".join(self._parsed.names)
            raise ValueError(f"on = {self.on!r} is not in the expression, which names {named}")
        if self.tag in self._parsed.names:
            raise ValueError(f"the new tag {self.tag!r} is one of its own inputs")
        return self

    @cached_property
    def _parsed(self) -> Expression:
        return Expression(self.expression)

    @property
    def summary(self) -> str:
        return f"{self.tag} = {self.expression}"

    def bind(self, context: Context) -> Bound:
        expression, tolerance = self._parsed, self.tolerance
        names = expression.names
        trigger = names.index(self.on) if self.on else 0
        applies: dict[str, bool] = {}

        def derive(flow: Flow, memory: Memory) -> None:
            block = flow.block
            if block.asset not in applies:
                if len(applies) >= _REMEMBERED:
                    applies.clear()
                applies[block.asset] = any(fnmatchcase(block.asset, p) for p in self.assets)
            if not applies[block.asset] or not any(name in block.tags for name in names):
                return
            if self.tag in block.tags:
                raise StepError(f"the derived tag {self.tag!r} also comes from the source")
            table = memory.table(_COLUMNS)
            rows = table.rows(names)
            parts = [_part(block, name) for name in names]
            added = _inputs(block, parts, table, rows, trigger)
            if added is not None:
                v = expression(dict(zip(names, added.v, strict=True)))
                flow.block = _append(block, self.tag, added, v, tolerance)
            _remember(block, parts, table, rows)
            table.save()

        return derive


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What the expression needs at each trigger sample. Lists hold an array (m,) per input."""

    #: The trigger samples' places in the block.
    place: NDArray[np.intp]
    t: list[NDArray[np.int64]]
    v: list[NDArray[np.float64]]
    q: list[NDArray[np.uint8]]


def _part(block: Block, name: str) -> slice:
    """Where the samples of a tag are."""
    if name not in block.tags:
        return slice(0, 0)
    number = block.tags.index(name)
    low, high = np.searchsorted(block.tag, (number, number + 1))
    return slice(int(low), int(high))


def _inputs(
    block: Block, parts: list[slice], table: Table, rows: NDArray[np.intp], trigger: int
) -> _Inputs | None:
    place = np.arange(parts[trigger].start, parts[trigger].stop)
    if not place.size or block.arrival is None:
        return None
    arrival = block.arrival[place]
    t: list[Any] = []
    v: list[Any] = []
    q: list[Any] = []
    for number, part in enumerate(parts):
        row = rows[number]
        # The newest sample of this input that had arrived, or what the state remembers.
        newest = np.searchsorted(block.arrival[part], arrival, side="right") - 1
        kept = newest < 0
        at = np.where(kept, 0, newest) + part.start if part.stop > part.start else None
        for name, column, into in (("t", block.t, t), ("v", block.v, v), ("q", block.q, q)):
            old: Any = table[name][row]
            values = np.full(place.size, old) if at is None else np.where(kept, old, column[at])
            into.append(values.astype(column.dtype))
    seen = np.logical_and.reduce([times != NEVER for times in t])
    if not seen.any():
        return None
    if not seen.all():
        t, v, q = ([column[seen] for column in columns] for columns in (t, v, q))
        place = place[seen]
    return _Inputs(place, t, v, q)


def _append(
    block: Block, tag: str, added: _Inputs, v: NDArray[np.float64], tolerance: int | None
) -> Block:
    place = added.place
    v = np.broadcast_to(v, place.shape)
    q = quality.roll_up(*added.q)
    q = np.where(np.isnan(v), np.uint8(quality.MISSING), q)
    q = np.where(np.isinf(v), np.uint8(quality.FAIL), q)
    t = block.t[place]
    if tolerance is not None:
        stale = t - np.minimum.reduce(added.t) > tolerance
        q = np.where(stale, np.uint8(quality.MISSING), q)
        v = np.where(stale, np.nan, v)
    size = len(block)
    infinite = [(size + int(i), "f", str(float(v[i]))) for i in np.flatnonzero(np.isinf(v))]

    def extend(column: NDArray[Any], more: Any) -> NDArray[Any]:
        return np.concatenate([column, more]) if column.size else column

    zeros = np.zeros(place.size, np.uint32)
    return replace(
        block,
        tags=(*block.tags, tag),
        tag=np.concatenate([block.tag, np.full(place.size, len(block.tags), np.int32)]),
        t=np.concatenate([block.t, t]),
        v=np.concatenate([block.v, v]),
        q=np.concatenate([block.q, q.astype(np.uint8)]),
        code=extend(block.code, zeros),
        why=extend(block.why, zeros),
        typed=(*block.typed, *infinite),
        clock=None if block.clock is None else np.concatenate([block.clock, block.clock[place]]),
        arrival=(
            None if block.arrival is None else np.concatenate([block.arrival, block.arrival[place]])
        ),
    )


def _remember(
    block: Block, parts: list[slice], table: Table, rows: NDArray[np.intp]
) -> None:
    for row, part in zip(rows.tolist(), parts, strict=True):
        if part.stop > part.start:
            last = part.stop - 1
            table["t"][row], table["v"][row] = block.t[last], block.v[last]
            table["q"][row] = block.q[last]
