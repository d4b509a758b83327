"""Recordings: any CSV with a time column, read whole before it is played."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import numpy.typing as npt

from connectors.simulators.config import Trace
from connectors.simulators.duration import SECOND

TIME_COLUMNS = ("timestamp", "datetime", "time", "date", "ts")
_FRACTION = re.compile(r"[.,](\d+)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}


@dataclass(frozen=True)
class Recording:
    """A file's rows: ``t`` int64 ns of shape (rows,), ``v`` float64 of shape (rows, tags).

    A missing cell is NaN. ``spread`` is the standard deviation of each column.
    """

    tags: list[str]
    t: npt.NDArray[np.int64]
    v: npt.NDArray[np.float64]
    spread: dict[str, float]

    def row(self, index: int) -> dict[str, float]:
        """The values that row ``index`` has."""
        values = self.v[index].tolist()
        return {
            tag: value
            for tag, value in zip(self.tags, values, strict=True)
            if not math.isnan(value)
        }


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of ISO 8601 text (UTC if naive) or a unix time.

    Unix times are told apart by size: below 1e11 seconds, then ms, µs and ns.
    Raises ValueError.
    """
    text = text.strip()
    try:
        number = Decimal(text)
    except InvalidOperation:
        return _iso(text)
    if not number.is_finite():
        raise ValueError(f"{text!r} is not a time")
    size = abs(number)
    scales = ((1e11, SECOND), (1e14, 1_000_000), (1e17, 1000))
    scale = next((scale for limit, scale in scales if size < limit), 1)
    return int((number * scale).to_integral_value())


def _iso(text: str) -> int:
    # fromisoformat keeps microseconds only, so that the fraction is read here
    fraction = _FRACTION.search(text)
    whole = text if fraction is None else text[: fraction.start()] + text[fraction.end() :]
    try:
        moment = datetime.fromisoformat(whole)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: ISO 8601 or unix s, ms, µs, ns") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    ns = (moment - _EPOCH) // timedelta(seconds=1) * SECOND
    return ns + (int(fraction[1].ljust(9, "0")[:9]) if fraction else 0)


def _delimiter(header: str) -> str:
    return max((";", ",", "\t", "|"), key=header.count)


def _number(cell: str) -> float:
    """The cell's number, NaN if it is missing. Raises ValueError if it is something else."""
    cell = cell.strip()
    return math.nan if cell.lower() in _MISSING else float(cell)


def _is_numeric(cells: list[str]) -> bool:
    try:
        return any(not math.isnan(_number(cell)) for cell in cells)
    except ValueError:
        return False


def _time_column(trace: Trace, header: list[str]) -> int:
    lower = [name.lower() for name in header]
    wanted = (trace.time_column.lower(),) if trace.time_column else TIME_COLUMNS
    for name in wanted:
        if name in lower:
            return lower.index(name)
    raise ValueError(
        f"{trace.path}: no time column {' or '.join(wanted)!r}; the columns are {header}"
    )


def _chosen(trace: Trace, header: list[str], time_at: int, rows: list[list[str]]) -> list[int]:
    if trace.columns is not None:
        if unknown := [name for name in trace.columns if name not in header]:
            raise ValueError(f"{trace.path}: no columns {unknown}; the columns are {header}")
        return [header.index(name) for name in trace.columns]
    chosen = [
        at
        for at, name in enumerate(header)
        if at != time_at and name not in trace.exclude and _is_numeric([row[at] for row in rows])
    ]
    if not chosen:
        raise ValueError(f"{trace.path}: no column of numbers among {header}")
    return chosen


def read_trace(trace: Trace) -> Recording:
    """Read the file. Raises OSError, or ValueError naming the file and the line."""
    path = Path(trace.path)
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        delimiter = trace.delimiter or _delimiter(first)
        header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        time_at = _time_column(trace, header)
        numbered = [
            (line, row)
            for line, row in enumerate(csv.reader(file, delimiter=delimiter), start=2)
            if row
        ]
    stop = None if trace.rows is None else trace.first + trace.rows
    numbered = numbered[trace.first : stop]
    for line, row in numbered:
        if len(row) != len(header):
            raise ValueError(f"{path}:{line}: {len(row)} cells, the header has {len(header)}")
    if not numbered:
        raise ValueError(f"{path}: no rows after skipping {trace.first}")
    chosen = _chosen(trace, header, time_at, [row for _, row in numbered])
    times = np.empty(len(numbered), np.int64)
    values = np.empty((len(numbered), len(chosen)), np.float64)
    for index, (line, row) in enumerate(numbered):
        try:
            times[index] = parse_time(row[time_at])
            values[index] = [_number(row[at]) for at in chosen]
        except ValueError as error:
            raise ValueError(f"{path}:{line}: {error}") from None
    tags = [trace.tags.get(header[at], header[at]) for at in chosen]
    if len(set(tags)) != len(tags):
        raise ValueError(f"{path}: two columns become the same tag in {tags}")
    spread = {
        tag: float(np.nanstd(column)) or 1.0 for tag, column in zip(tags, values.T, strict=True)
    }
    return Recording(tags, times, values, spread)
