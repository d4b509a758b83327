"""One measured line, and the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """A rate of one subject, beside its peer's where it has one."""

    #: What was done, such as "glass, one worker".
    what: str
    #: Who did it.
    who: str
    #: The rate and its unit, such as 520_000 "samples/s".
    rate: float
    unit: str
    #: This rate over the peer's rate in the same run; None for the peer itself.
    ratio: float | None = None
    note: str = ""


def show(rows: list[Row], console: Console) -> None:
    """Print the table."""
    table = Table(title="Benchmarks (ratios within one run on this machine)")
    for column in ("what", "who", "rate", "", "ratio to peer", "note"):
        table.add_column(column, justify="right" if column in ("rate", "ratio to peer") else "left")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.what, row.who, f"{row.rate:,.0f}", row.unit, ratio, row.note)
    console.print(table)
