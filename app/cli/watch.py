"""watch: results on the screen as they come."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import common, known_only


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("watch")(watch)


def watch(
    context: typer.Context,
    topology: Annotated[str, typer.Argument(help="Which topology")],
    output: Annotated[
        str, typer.Option(help="readings, features, anomalies or alarms")
    ] = "readings",
    last: Annotated[
        int, typer.Option(min=0, help="Begin with so many records of each partition")
    ] = 0,
) -> None:
    """Print what a topology writes, as it is committed. Ctrl-C ends it.

    \b
    Examples:
      plantstream watch energy
      plantstream watch glass --output alarms --last 20
    """
    import threading

    from app.plant.processes import stopping
    from app.plant.show import lines, topics_of
    from app.plant.tail import Tail
    from app.settings import resolve
    from models.topics import OUTPUT_KINDS

    known_only(output, OUTPUT_KINDS, "output")
    settings = common(context).settings()
    kafka = resolve.kafka(settings)
    topics = topics_of(settings, kafka, topology, (output,))
    if not topics:
        raise typer.BadParameter(f"topology {topology} has no output {output}")
    stop = threading.Event()
    with stopping(stop):
        for record in Tail(kafka, topics, last).follow(stop.is_set):
            for line in lines(record, settings.site.knowledge):
                typer.echo(line)
