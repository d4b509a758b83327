"""What all windows have in common."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from models.records.late import Late
from topologies.core.flow import Flow
from topologies.core.state import Memory, Table
from topologies.core.step import Bound, Step
from topologies.steps.extract.partials import STATISTICS
from topologies.steps.patterns import Matcher

#: The year 1820. Samples before are in no window: its bounds would not be int64 times.
EARLIEST = -150 * 365 * 86400 * 1_000_000_000


class Windowed(Step):
    """Statistics of each tag's samples in windows."""

    makes: ClassVar[str] = "features"

    statistics: tuple[str, ...] = Field(
        ("mean", "std", "min", "max", "slope", "rms"),
        description="Beside count and bad: " + ", ".join(STATISTICS) + " (slope per second; std"
        " and variance of a sample, n - 1)",
    )
    tags: tuple[str, ...] = Field(("*",), description="Patterns of the tags taken")

    @field_validator("statistics")
    @classmethod
    def _known(cls, statistics: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in statistics if name not in STATISTICS]
        if unknown:
            raise ValueError(f"unknown statistics {unknown}; there are {', '.join(STATISTICS)}")
        return statistics

    def feeds(self, kind: str) -> bool:
        return kind == "late" or super().feeds(kind)


def bounded(step: Bound) -> Bound:
    """The same step, which takes no samples before :data:`EARLIEST`: they are counted."""

    def windows(flow: Flow, memory: Memory) -> None:
        block = flow.block
        if not len(block) or np.minimum.reduce(block.t) >= EARLIEST:
            step(flow, memory)
            return
        flow.block = block.take(block.t >= EARLIEST)
        flow.count("too_old", len(block) - len(flow.block))
        step(flow, memory)
        # Later steps read them.
        flow.block = block

    return windows


def rows_of(table: Table, tags: tuple[str, ...], wanted: Matcher) -> NDArray[np.intp]:
    """The row of each tag in a table, shape (len(tags),); −1 for those that are not wanted."""
    if wanted.all(tags):
        return table.rows(tags)
    asked = wanted(tags)
    row = np.full(len(tags), -1)
    row[asked] = table.rows(tuple(tag for tag, yes in zip(tags, asked, strict=True) if yes))
    return row


def too_late(
    flow: Flow,
    name: str,
    at: NDArray[np.int64],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
) -> None:
    """Tell of the samples at these places of the block, and of the windows that they missed."""
    flow.count("late", at.size)
    if not at.size:
        return
    block = flow.block
    places, tag = np.unique(block.tag[at], return_inverse=True)
    tags = tuple(block.tags[place] for place in places.tolist())
    columns = (tag.astype(np.int32), block.t[at], block.v[at], block.q[at], start, end)
    flow.late.append(Late(block.asset, name, tags, *columns))
