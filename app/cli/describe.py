"""describe: the graph of a topology, drawn from its declaration, and what moves through it."""

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
    live: Annotated[
        bool,
        typer.Option("--live", help="With rates, lag, errors, times and state of what runs here"),
    ] = False,
    over: Annotated[
        str, typer.Option(metavar="DURATION", help="The time over which rates are measured")
    ] = "2s",
) -> None:
    """Draw the graph that runs: inputs, steps with this site's parameters, outputs.

    With --live every edge and step shows what moves: measured at the workers and the sink of the
    topology that run on this machine. State is counted by the workers every 15 seconds or more.

    \b
    Examples:
      plantstream describe glass
      plantstream describe glass --format mermaid > glass.mmd
      plantstream describe glass --live --over 10s
    """
    from topologies.core import describe as draw

    known_only(shape, _FORMATS, "format")
    seconds = _seconds(over)
    settings = common(context).settings()
    topics = settings.site.kafka.topics
    if not topology:
        for name, each in settings.topologies.items():
            typer.echo(f"{name:<16} v{each.version}  {each.title}")
        for name, broken in settings.broken_topologies.items():
            typer.echo(f"{name:<16} broken  {broken}")
        return
    found = settings.topology(topology)
    measured = None
    if live:
        from app.plant.live import measure

        measured = measure(settings, found, seconds)
    if shape == "json":
        typer.echo(draw.json(found, topics, measured).decode())
    else:
        typer.echo((draw.mermaid if shape == "mermaid" else draw.text)(found, topics, measured))


def _seconds(text: str) -> float:
    from models.time import NS_PER_S, parse_duration

    try:
        ns = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--over: {error}") from None
    if ns <= 0:
        raise typer.BadParameter("--over must be more than nothing")
    return ns / NS_PER_S
