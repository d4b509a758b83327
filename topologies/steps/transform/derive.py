"""A tag computed from others."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from models.errors import StepError
from models.quality import FAIL, GOOD, MISSING, UNKNOWN
from models.records.block import Block
from models.time import MAX_NS, NEVER, Duration
from topologies.core.flow import Flow
from topologies.core.jit import kernel
from topologies.core.state import Column, Columns, Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps.transform.expression import Expression

_COLUMNS = Columns(
    1, t=Column(np.int64, NEVER), v=Column(np.float64, np.nan), q=Column(np.uint8, MISSING)
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
        longest = MAX_NS if tolerance is None else tolerance

        @lru_cache(maxsize=_REMEMBERED)
        def applies(asset: str) -> bool:
            return any(fnmatchcase(asset, pattern) for pattern in self.assets)

        @lru_cache(maxsize=_REMEMBERED)
        def places(tags: tuple[str, ...]) -> NDArray[np.int32] | None:
            """Where the inputs are in a block's tags, -1: not there; None: none is."""
            found = [tags.index(name) if name in tags else -1 for name in names]
            return np.array(found, np.int32) if max(found) >= 0 else None

        def derive(flow: Flow, memory: Memory) -> None:
            block = flow.block
            if not applies(block.asset):
                return
            numbers = places(block.tags)
            if numbers is None:
                return
            if self.tag in block.tags:
                raise StepError(f"the derived tag {self.tag!r} also comes from the source")
            assert block.arrival is not None
            table = memory.table(_COLUMNS)
            size = len(block)
            place, oldest = np.empty(size, np.intp), np.empty(size, np.int64)
            inputs, q = np.empty((len(names), size)), np.empty(size, np.uint8)
            count = _gather(
                block.tag, block.t, block.v, block.q, block.arrival, numbers,
                table.rows(names), table["t"], table["v"], table["q"], trigger,
                place, inputs, q, oldest,
            )  # fmt: skip
            table.save()
            if not count:
                return
            place, q = place[:count], q[:count]
            v = np.array(expression(dict(zip(names, inputs[:, :count], strict=True))))
            t = block.t[place]
            infinite = _finish(t, oldest, longest, v, q)
            flow.block = _append(block, self.tag, place, t, v, q, infinite)

        return derive


@kernel
def _gather(
    tag: NDArray[np.int32],
    t: NDArray[np.int64],
    v: NDArray[np.float64],
    q: NDArray[np.uint8],
    arrival: NDArray[np.int32],
    numbers: NDArray[np.int32],
    rows: NDArray[np.intp],
    held_t: NDArray[np.int64],
    held_v: NDArray[np.float64],
    held_q: NDArray[np.uint8],
    trigger: int,
    place: NDArray[np.intp],
    inputs: NDArray[np.float64],
    flags: NDArray[np.uint8],
    oldest: NDArray[np.int64],
) -> int:
    """The newest of each input at every trigger sample, and those held for the next record.

    ``numbers`` are the inputs' places in the block's tags (-1: not there), ``rows`` those in what
    is held. Fills the trigger samples' ``place`` in the block, ``inputs`` (one row an input), their
    worst flag and their oldest time; gives how many there are.
    """
    at, end = np.searchsorted(tag, numbers), np.searchsorted(tag, numbers + 1)
    count = 0
    for i in range(at[trigger], end[trigger]):
        seen, flag, earliest = True, q[i], t[i]
        for number in range(numbers.size):
            row = rows[number]
            while at[number] < end[number] and arrival[at[number]] <= arrival[i]:
                held_t[row], held_v[row] = t[at[number]], v[at[number]]
                held_q[row] = q[at[number]]
                at[number] += 1
            seen = seen and held_t[row] != NEVER
            inputs[number, count] = held_v[row]
            if _rank(held_q[row]) > _rank(flag):
                flag = held_q[row]
            earliest = min(earliest, held_t[row])
        if seen:
            place[count], flags[count], oldest[count] = i, flag, earliest
            count += 1
    for number in range(numbers.size):
        if at[number] < end[number]:
            row, last = rows[number], end[number] - 1
            held_t[row], held_v[row], held_q[row] = t[last], v[last], q[last]
    return count


@kernel
def _rank(flag: int) -> int:
    """FAIL > SUSPECT > GOOD > UNKNOWN > MISSING."""
    if flag == MISSING:
        return 0
    if flag == UNKNOWN:
        return 1
    return 2 if flag == GOOD else flag


@kernel
def _finish(
    t: NDArray[np.int64],
    oldest: NDArray[np.int64],
    tolerance: int,
    v: NDArray[np.float64],
    q: NDArray[np.uint8],
) -> int:
    """Flag results that are no number, infinite or too old; gives how many are infinite."""
    infinite = 0
    for i in range(t.size):
        if t[i] - oldest[i] > tolerance:
            v[i] = np.nan
        if np.isnan(v[i]):
            q[i] = MISSING
        elif np.isinf(v[i]):
            q[i] = FAIL
            infinite += 1
    return infinite


def _append(
    block: Block,
    tag: str,
    place: NDArray[np.intp],
    t: NDArray[np.int64],
    v: NDArray[np.float64],
    q: NDArray[np.uint8],
    infinite: int,
) -> Block:
    """The block with the samples of another tag behind its own."""
    assert block.clock is not None
    assert block.arrival is not None
    size, more = len(block), place.size
    typed = block.typed
    if infinite:
        places = np.flatnonzero(np.isinf(v)).tolist()
        typed += tuple((size + place, "f", str(float(v[place]))) for place in places)

    def extended(column: NDArray[np.uint32]) -> NDArray[np.uint32]:
        return np.concatenate((column, np.zeros(more, np.uint32))) if column.size else column

    return Block(
        block.asset,
        (*block.tags, tag),
        np.concatenate((block.tag, np.full(more, len(block.tags), np.int32))),
        np.concatenate((block.t, t)),
        np.concatenate((block.v, v)),
        np.concatenate((block.q, q)),
        extended(block.code),
        extended(block.why),
        typed,
        block.received,
        np.concatenate((block.clock, block.clock[place])),
        np.concatenate((block.arrival, block.arrival[place])),
    )
