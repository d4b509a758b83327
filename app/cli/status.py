"""status: what runs, how far behind it is, and what was stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import common

if TYPE_CHECKING:
    from app.plant.status import Status


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("status")(status)


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """Show processes of this machine, topics with records and lag, documents and dead letters.

    Lag counts records (and marks of transactions) not yet read by a worker or a sink. Exit code 1
    if Kafka or the store cannot be asked.

    \b
    Examples:
      plantstream status
      plantstream status --json | jq .documents
    """
    from app.plant.status import gather

    found = gather(common(context).settings())
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    raise typer.Exit(1 if found.problems else 0)


def _print(found: Status) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in columns:
            right = column in ("records", "documents", "pid", "partitions")
            made.add_column(column, justify="right" if right else "left", overflow="fold")
        return made

    shown = table("Processes", "kind", "name", "pid", "state", "where")
    for process in found.processes:
        shown.add_row(
            process.kind, process.name, str(process.pid), process.state,
            process.endpoint or process.url,
        )  # fmt: skip
    console.print(shown)
    shown = table("\nTopics", "topic", "partitions", "records", "lag")
    for topic in found.topics:
        lag = ", ".join(f"{group} {behind}" for group, behind in topic.lag.items())
        shown.add_row(topic.topic, str(topic.partitions), str(topic.records), lag)
    console.print(shown)
    shown = table("\nDocuments", "collection", "documents")
    for collection, count in found.documents.items():
        shown.add_row(collection, str(count))
    console.print(shown)
    console.print(f"\nDead letters: {found.dead_letters}")
    for topology, said in found.paused.items():
        console.print(f"Paused: {topology}, {said} ('plantstream resume {topology}')")
    for problem in found.problems:
        Console(stderr=True, highlight=False).print(f"error: {problem}")
