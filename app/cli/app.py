"""All commands in one application. Each file of this folder adds its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import (
    check,
    config,
    control,
    demo,
    describe,
    docs,
    new,
    processes,
    redrive,
    simulate,
    stack,
    state,
    status,
    watch,
)
from app.cli.options import Common

_HELP = """Stream processing of plant and laboratory telemetry.

Connectors land raw data of a site on Kafka, topologies turn it into validated readings, features,
anomalies and alarms, and sinks carry those to MongoDB.

\b
  plantstream demo                       everything at once, embedded, with simulated devices
  plantstream up                         only Kafka, the document store and the MQTT broker
  plantstream connect furnace drives     connectors of plantstream.toml, by name
  plantstream worker glass               a worker; more of them share the work
  plantstream sink glass                 results to MongoDB
  plantstream watch glass                results on the screen as they come
  plantstream status                     what runs, how far behind, what was stored
  plantstream check glass                what becomes of its state if this version is started
  plantstream redrive glass              dead letters: list, mend, send through again

Exit codes: 0 done, 1 failed, 2 bad input or configuration.
"""
_EPILOG = (
    "--config, --set, --data-dir and --debug may stand anywhere on the line. Every field of the"
    " file can also come from the environment: PLANTSTREAM__KAFKA__BOOTSTRAP=kafka:9092."
)

application = typer.Typer(
    name="plantstream",
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from app.observe.version import version

        typer.echo(f"plantstream {version()}")
        raise typer.Exit


@application.callback()
def _common(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="Configuration of the site, TOML or JSON (plantstream.toml, if there is one)",
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A field over the file: --set kafka.prefix=test."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="FOLDER", help="Short for --set data_dir=FOLDER"),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version", callback=_version, is_eager=True)
    ] = False,
) -> None:
    overrides = [*(override or [])]
    if data_dir is not None:
        overrides.append(f"data_dir={data_dir.absolute()}")
    context.obj = Common(config, tuple(overrides), debug)


for _module in (
    demo,
    stack,
    processes,
    simulate,
    watch,
    status,
    state,
    redrive,
    check,
    control,
    describe,
    new,
    config,
    docs,
):
    _module.add(application)


def command() -> Any:
    """The command as it runs."""
    return typer.main.get_command(application)
