"""``make bench``: starts an embedded stack, runs all benchmarks, prints one table."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import orjson
import psutil
import typer
from rich.console import Console

from app.embedded import EmbeddedStack
from benchmarks import glass, sink
from benchmarks.table import Row, show

BENCHMARKS: dict[str, Callable[..., list[Row]]] = {"glass": glass.run, "sink": sink.run}


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Which; default: all")] = None,
    quick: Annotated[bool, typer.Option(help="Fewer records: a look, not a figure")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the rows to this file too")] = None,
) -> None:
    """Run the benchmarks and print rates beside their peers'."""
    console = Console()
    chosen = names or list(BENCHMARKS)
    for name in chosen:
        if name not in BENCHMARKS:
            console.print(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
            raise typer.Exit(2)
    packages = ("quixstreams", "confluent-kafka", "numpy", "orjson", "pymongo", "scikit-learn")
    console.print(
        f"Python {platform.python_version()}, {psutil.cpu_count()} cores,"
        f" {psutil.virtual_memory().total >> 30} GiB; "
        + ", ".join(f"{name} {version(name)}" for name in packages)
    )
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="plantstream-bench-") as folder,
        EmbeddedStack(Path(folder) / "stack", mqtt=False) as stack,
    ):
        for name in chosen:
            with console.status(f"benchmark {name} …"):
                rows += BENCHMARKS[name](stack, quick=quick)
    show(rows, console)
    if json is not None:
        json.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2))


if __name__ == "__main__":
    typer.run(main)
