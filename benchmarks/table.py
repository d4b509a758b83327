"""Measured lines, and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of one subject, beside its peer's where it has one."""

    #: What was done, such as "glass, one worker".
    what: str
    #: Who did it.
    who: str
    #: The figure and its unit, such as 520_000 "samples/s"; 0 where it was skipped.
    rate: float
    unit: str
    #: This figure over the peer's in the same run; None for the peer itself.
    ratio: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a benchmark gave: lines of the table, and what else its plots are made of."""

    rows: list[Row]
    data: Mapping[str, Any] = field(default_factory=dict)
    #: What was not as it must be, such as results that differ.
    failures: list[str] = field(default_factory=list)


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="Benchmarks (ratios within one run on this machine)")
    for column in ("what", "who", "figure", "", "ratio to peer", "note"):
        right = column in ("figure", "ratio to peer")
        table.add_column(column, justify="right" if right else "left")
    said = ""
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        digits = 0 if row.rate >= 100 else 1
        figure = f"{row.rate:,.{digits}f}" if row.rate else "-"
        what = "" if row.what == said else row.what
        table.add_row(what, row.who, figure, row.unit, ratio, row.note)
        said = row.what
    console.print(table)
