"""simulate: devices that are not there, speaking their real protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.options import common


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("simulate")(simulate)


def simulate(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PROTOCOL", help="A simulator of the configuration; or opcua, modbus, mqtt"
        ),
    ],
    trace: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Play a recording: a CSV with a time column")
    ] = None,
    asset: Annotated[
        str, typer.Option(metavar="NAME", help="The asset that the recording's columns are tags of")
    ] = "",
    speed: Annotated[
        str, typer.Option(help="Times faster than recorded, or max")
    ] = "",
    rows_per_second: Annotated[
        float | None, typer.Option(min=0.001, help="A fixed pace instead of the recorded one")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one")
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="Write all that is sent to this file, as JSON lines")
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Go on serving when the recording is through")
    ] = False,
    snippet: Annotated[
        bool,
        typer.Option(
            "--snippet",
            help="Only print the configuration for a connector that reads the recording",
        ),
    ] = False,
) -> None:
    """Run a simulated device: an OPC UA server, a Modbus TCP server, or MQTT loggers.

    A connector whose field `simulator` names it finds its address by itself. MQTT loggers speak to
    the site's broker.

    \b
    Examples:
      plantstream simulate plant-opcua
      plantstream simulate opcua --trace recording.csv --asset glass/furnace --speed 60
      plantstream simulate mqtt --trace recording.csv --asset pump --speed max --journal sent.jsonl
      plantstream simulate modbus --trace recording.csv --asset pump --snippet >> plantstream.toml
    """
    from app.plant.simulators import chosen, run_simulator, snippet_of

    settings = common(context).settings()
    over: dict[str, Any] = {}
    if port is not None:
        over["port"] = port
    if journal is not None:
        over["journal"] = str(journal.absolute())
    play: dict[str, Any] = {}
    if trace is not None:
        play = {"path": str(trace.absolute()), "asset": asset}
        if speed:
            play["speed"] = "max" if speed == "max" else speed
        if rows_per_second is not None:
            play["rows_per_second"] = rows_per_second
        over["exit_at_end"] = not stay
    elif asset or speed or rows_per_second is not None or stay:
        raise typer.BadParameter("--asset, --speed, --rows-per-second and --stay need --trace")
    simulator = chosen(settings, name, play, over)
    if snippet:
        if simulator.trace is None:
            raise typer.BadParameter("--snippet needs --trace")
        typer.echo(snippet_of(simulator))
        return
    raise typer.Exit(run_simulator(settings, simulator))
