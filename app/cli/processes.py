"""connect, worker, sink, watchdog: the processes of a site, in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import common


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (connect, worker, sink, watchdog):
        application.command(command.__name__)(command)


def connect(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Connectors of the configuration")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All connectors that are not switched off")
    ] = False,
) -> None:
    """Run connectors: land what devices say on raw topics.

    Several in one process share it; give each a process of its own where one is not to slow
    another down. Absences of the device and of Kafka are waited out.

    \b
    Examples:
      plantstream connect furnace
      plantstream connect --all
    """
    from app.plant.processes import run_connectors

    settings = common(context).settings()
    chosen = list(dict.fromkeys(names or []))
    if every == bool(chosen):
        raise typer.BadParameter("name connectors, or give --all")
    if every:
        chosen = [name for name, entry in settings.site.connectors.items() if entry.enabled]
        if not chosen:
            raise settings.error("no connector is configured and enabled", "connectors")
    raise typer.Exit(run_connectors(settings, chosen))


def worker(
    context: typer.Context,
    topology: Annotated[str, typer.Argument(help="Which topology")],
    instance: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of this worker among those of the topology on this machine; its state is"
            " found again under it (default: the lowest free number)",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print every reading as it is committed")
    ] = False,
    accept_reset: Annotated[
        bool,
        typer.Option(
            "--accept-reset",
            help="Start even where state of what is deployed would be lost (see `check`)",
        ),
    ] = False,
) -> None:
    """Run a worker of a topology. Start more of them to share its partitions.

    Workers write down what they were started with. One whose declaration cannot take over the
    state of what is deployed says what would be lost, and does not start.

    \b
    Examples:
      plantstream worker glass
      plantstream worker energy --show
    """
    from app.plant.processes import run_topology

    settings = common(context).settings()
    settings.topology(topology)
    raise typer.Exit(
        run_topology(settings, topology, instance=instance, show=show, accept_reset=accept_reset)
    )


def sink(
    context: typer.Context, topology: Annotated[str, typer.Argument(help="Which topology")]
) -> None:
    """Carry the outputs of a topology to MongoDB.

    \b
    Example:
      MONGODB_URI=mongodb://db plantstream sink glass
    """
    from app.plant.processes import run_store_sink

    settings = common(context).settings()
    settings.topology(topology)
    raise typer.Exit(run_store_sink(settings, topology))


def watchdog(context: typer.Context) -> None:
    """Notice connectors that died without a word, and say so on their topics.

    One is enough for a site; several do no harm.
    """
    from app.plant.processes import run_watchdog

    raise typer.Exit(run_watchdog(common(context).settings()))
