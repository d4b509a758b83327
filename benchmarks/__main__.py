"""``make bench``: starts an embedded stack, runs benchmarks, prints one table, writes plots."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.embedded import EmbeddedStack
from benchmarks import aggregate, glass, latency, report, sink, size
from benchmarks.table import Outcome, Row, show

BENCHMARKS: dict[str, tuple[str, Callable[..., Outcome]]] = {
    "aggregate": ("windows of 10 s, ours and all peers, in three shapes of records", aggregate.run),
    "glass": ("the whole topology, and where its time goes", glass.run),
    "latency": ("produce to committed anomaly at 50,000 samples/s", latency.run),
    "size": ("cost, state and restore with 100 to 100,000 tags", size.run),
    "sink": ("the sink process into the embedded store", sink.run),
}
_DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"
_LIST = "; ".join(f"{name}: {what}" for name, (what, _) in BENCHMARKS.items())


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Which; default: all. There are {_LIST}")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Fewer records: a look, not a figure")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for figures (JSON) and plots (SVG); default: docs/benchmarks,"
            " and none with --quick"
        ),
    ] = None,
) -> None:
    """Run benchmarks and print figures beside their peers'.

    Exit code 1 where anybody's results are not the expected ones.
    """
    console = Console()
    chosen = names or list(BENCHMARKS)
    for name in chosen:
        if name not in BENCHMARKS:
            console.print(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
            raise typer.Exit(2)
    folder = out or (None if quick else _DOCS)
    console.print(report.machine())
    rows: list[Row] = []
    written: list[Path] = []
    failures: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="plantstream-bench-") as data,
        EmbeddedStack(Path(data) / "stack", mqtt=False) as stack,
        console.status("") as status,
    ):
        for name in chosen:

            def say(text: str, name: str = name) -> None:
                status.update(f"{name}: {text} …")

            say("starts")
            outcome = BENCHMARKS[name][1](stack, say, quick=quick)
            rows += outcome.rows
            failures += outcome.failures
            for what, settings in outcome.data.get("settings", {}).items():
                console.print(f"{what}: {settings}", highlight=False, soft_wrap=True)
            if folder is not None:
                written += report.write(folder, name, outcome, quick=quick)
    show(rows, console)
    if written:
        console.print(f"written: {', '.join(file.name for file in written)} in {folder}")
    for failure in failures:
        console.print(failure, style="red", highlight=False, markup=False)
    if failures:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
