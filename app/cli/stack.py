"""up: the embedded stack alone."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import common


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("up")(up)


def up(
    context: typer.Context,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete everything in the data folder first")
    ] = False,
) -> None:
    """Run the embedded Kafka, document store and MQTT broker until Ctrl-C.

    For trying out and for tests; the first start fetches Kafka. Data stays in the data folder
    between starts.

    \b
    Examples:
      plantstream up
      plantstream up --fresh --data-dir /tmp/plant
    """
    from app.plant.processes import run_stack

    run_stack(common(context).settings(), fresh=fresh)
