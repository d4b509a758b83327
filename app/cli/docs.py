"""docs: the reference pages, written from the code they describe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("docs")(docs)


def docs(
    write: Annotated[bool, typer.Option("--write", help="Write the pages")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say which pages are not up to date; exit code 1 if any")
    ] = False,
    folder: Annotated[Path, typer.Option(help="Where they are")] = Path("docs/reference"),
) -> None:
    """Write or check docs/reference: configuration, connectors, steps, topologies, metrics, cli.

    \b
    Example:
      plantstream docs --write
    """
    from app.reference.pages import differing, written

    if write == check:
        raise typer.BadParameter("give --write or --check")
    if write:
        for path in written(folder):
            typer.echo(f"wrote {path}")
        return
    stale = differing(folder)
    for path in stale:
        typer.echo(f"{path} is not up to date: plantstream docs --write", err=True)
    raise typer.Exit(1 if stale else 0)
