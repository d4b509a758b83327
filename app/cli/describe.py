"""describe: the graph of a topology, drawn from its declaration."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import common, known_only

_FORMATS = ("text", "mermaid", "json")


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("describe")(describe)


def describe(
    context: typer.Context,
    topology: Annotated[
        str, typer.Argument(help="Which topology; without one, all there are are listed")
    ] = "",
    shape: Annotated[str, typer.Option("--format", help="text, mermaid or json")] = "text",
) -> None:
    """Draw the graph that runs: inputs, steps with this site's parameters, outputs.

    \b
    Examples:
      plantstream describe glass
      plantstream describe glass --format mermaid > glass.mmd
    """
    from topologies.core import describe as draw

    known_only(shape, _FORMATS, "format")
    settings = common(context).settings()
    topics = settings.site.kafka.topics
    if not topology:
        for name, each in settings.topologies.items():
            typer.echo(f"{name:<16} v{each.version}  {each.title}")
        for name, broken in settings.broken_topologies.items():
            typer.echo(f"{name:<16} broken  {broken}")
        return
    found = settings.topology(topology)
    if shape == "json":
        typer.echo(draw.json(found, topics).decode())
    else:
        typer.echo((draw.mermaid if shape == "mermaid" else draw.text)(found, topics))
