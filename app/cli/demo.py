"""demo: everything at once."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import common


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("demo")(demo)


def demo(
    context: typer.Context,
    duration: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="DURATION",
            envvar="DEMO_FOR",
            help="Run so long (60, 90s, 5m), print a summary, and judge it",
        ),
    ] = "",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete everything in the data folder first")
    ] = False,
) -> None:
    """Run a whole plant: embedded Kafka, store and MQTT broker, simulated devices, connectors,
    workers and sinks, with a live table of what moves. Ctrl-C stops everything.

    With --for (or DEMO_FOR) it exits with 0 only if every stage of every topology moved and every
    process stayed alive.

    \b
    Examples:
      plantstream demo
      plantstream demo --for 60
      plantstream demo --config site.toml --fresh
    """
    from app.plant.demo import run_demo
    from app.plant.plant import Plant

    said = common(context)
    seconds = _seconds(duration) if duration.strip() else None
    plant = Plant(said.file, said.overrides, fresh=fresh)
    raise typer.Exit(run_demo(plant, seconds))


def _seconds(text: str) -> float:
    from models.time import NS_PER_S, parse_duration

    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parse_duration(text) / NS_PER_S
        except ValueError as error:
            raise typer.BadParameter(f"{error}", param_hint="--for (or DEMO_FOR)") from None
    if not 0 < seconds < 1e9:
        raise typer.BadParameter(f"{text!r} is no time to run", param_hint="--for (or DEMO_FOR)")
    return seconds
