"""The journal: one JSON line per sample sent, readable after a crash at any moment.

A line is ``{"n", "asset", "tag", "t", "v", "status"}``: the number of the asset's row from 1,
the event time in ns, the value as the protocol carries it (None when bad; "NaN", "Infinity" as
text) and the OPC UA name of the status; ``"fault"`` is added while one is in force. The last line
of an orderly end is ``{"summary": true, "lines": N, ...}``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from connectors.simulators.faults import Sample


def line_of(n: int, asset: str, t: int, sample: Sample) -> dict[str, Any]:
    """The journal's line of one sample."""
    value = sample.v
    if isinstance(value, float) and not math.isfinite(value):
        value_out: Any = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    else:
        value_out = value
    line = {
        "n": n, "asset": asset, "tag": sample.tag, "t": t, "v": value_out, "status": sample.status,
    }  # fmt: skip
    if sample.fault is not None:
        line["fault"] = sample.fault
    return line


class Journal:
    """Appends lines; each batch is handed to the system at once, so that kill -9 keeps it."""

    def __init__(self, path: Path | None) -> None:
        self.lines = 0
        self._file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _end_cut_line(path)
            self._file = path.open("ab", buffering=0)

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Write the lines of a row in one call to the system."""
        batch = list(lines)
        self.lines += len(batch)
        if self._file is not None and batch:
            self._file.write(b"".join(json.dumps(line).encode() + b"\n" for line in batch))

    def close(self, **summary: Any) -> None:
        """Write the summary and close."""
        if self._file is not None:
            last = {"summary": True, "lines": self.lines, **summary}
            self._file.write(json.dumps(last).encode() + b"\n")
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _end_cut_line(path: Path) -> None:
    """A journal that a crash cut in the middle of a line goes on behind that line."""
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a journal; summaries and a line cut by a crash are passed over."""
    with path.open("rb") as file:
        for raw in file:
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if isinstance(line, dict) and "summary" not in line:
                yield line
