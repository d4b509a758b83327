"""Writes what a benchmark measured: its figures as JSON, and plots of them as SVG beside it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import psutil

from benchmarks.plot import Bar, Line, bars, lines
from benchmarks.table import Outcome, Row

_PACKAGES = ("quixstreams", "confluent-kafka", "numpy", "numba", "orjson", "pymongo")


def machine() -> str:
    """What it runs on, in a line."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"Python {platform.python_version()}, {psutil.cpu_count()} cores,"
        f" {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.machine()}; {packages}"
    )


def write(folder: Path, name: str, outcome: Outcome, *, quick: bool) -> list[Path]:
    """``<name>.json`` and the plots of it; what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "benchmark": name,
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "quick": quick,
        "rows": [asdict(row) for row in outcome.rows],
        "data": outcome.data,
    }
    files = {f"{name}.json": orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n"}
    if name in _PLOTS:
        files.update((file, text.encode()) for file, text in _PLOTS[name](outcome).items())
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return [folder / file for file in files]


def _rates(title: str, file: str) -> Callable[[Outcome], dict[str, str]]:
    def draw(outcome: Outcome) -> dict[str, str]:
        shown = [row for row in outcome.rows if row.unit == "samples/s" and row.rate]
        groups = [
            (what, [_bar(row) for row in group])
            for what, group in groupby(shown, lambda row: row.what)
        ]
        return {file: bars(title, groups, "samples a second, each group on its own scale")}

    return draw


def _bar(row: Row) -> Bar:
    text = f"{row.rate / 1e6:.2f} M" if row.rate >= 1e5 else f"{row.rate:,.0f}"
    if row.ratio is not None:
        text += f"  ({row.ratio:.2f} ×)"
    ours = row.who.startswith(("Plantstream", "one worker", "sink")) or "workers" in row.who
    return Bar(row.who, row.rate, text, ours)


def _latency(outcome: Outcome) -> dict[str, str]:
    drawn = [
        Line(
            f"{run['who']}, commit {run['commit_ms']} ms",
            [
                (percent, ms)
                for percent, ms in zip(run["percent"], run["ms"], strict=True)
                if percent <= 99.9
            ],
        )
        for run in outcome.data["runs"]
        if run["anomalies"] == run["expected"]
    ]
    title = f"From produce to committed anomaly at {outcome.data['rate']:,} samples/s"
    return {"latency.svg": lines(title, drawn, x="percent of anomalies", y="ms")}


def _size(outcome: Outcome) -> dict[str, str]:
    costs: list[Mapping[str, Any]] = outcome.data["costs"]

    def line(label: str, name: str, scale: float = 1.0) -> list[Line]:
        return [Line(label, [(cost["tags"], cost[name] * scale) for cost in costs])]

    restore = [
        Line(
            "worker without its state folder",
            sorted((cost["state_bytes"] / 1e6, cost["restore_s"]) for cost in costs),
        )
    ]
    worker = "whole glass topology, one worker, 60-sample windows"
    return {
        "size-time.svg": lines(
            "Time per sample", line(worker, "ns_a_sample"), x="tags", y="ns", log_x=True
        ),
        "size-state.svg": lines(
            "State per tag", line(worker, "state_bytes_a_tag"), x="tags", y="bytes", log_x=True
        ),
        "size-memory.svg": lines(
            "Memory of the worker", line(worker, "memory_bytes", 1e-6), x="tags", y="MB", log_x=True
        ),
        "size-restore.svg": lines(
            "Restore from the changelog", restore, x="MB of state", y="s", log_x=True
        ),
    }


_PLOTS: dict[str, Callable[[Outcome], dict[str, str]]] = {
    "aggregate": _rates("Windowed aggregate, final results", "aggregate.svg"),
    "glass": _rates("The whole glass topology", "glass.svg"),
    "sink": _rates("Sink process into the embedded store", "sink.svg"),
    "latency": _latency,
    "size": _size,
}
