"""pause, resume, reset: all workers of a topology at once."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import common


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (pause, resume, reset):
        application.command(command.__name__)(command)


def pause(
    context: typer.Context, topology: Annotated[str, typer.Argument(help="Which topology")]
) -> None:
    """Let all workers of a topology hold still, wherever they run: they stay members of their
    group and keep their state, but read nothing. Workers that start meanwhile hold still too.

    What was read already is finished and committed. `plantstream status` shows it.

    \b
    Example:
      plantstream pause glass
    """
    from app.deploy import registry
    from app.deploy.record import PAUSE, Pause, now, who
    from app.settings import resolve

    settings = common(context).settings()
    settings.topology(topology)
    kafka = resolve.kafka(settings)
    before = registry.read(kafka).pauses.get(topology)
    if before is not None:
        typer.echo(f"{topology} is paused already, {before.said}")
        return
    registry.write(kafka, PAUSE, topology, Pause(by=who(), at=now()))
    typer.echo(f"{topology} is paused: 'plantstream resume {topology}' lets it go on")


def resume(
    context: typer.Context, topology: Annotated[str, typer.Argument(help="Which topology")]
) -> None:
    """Let the workers of a topology go on, where they stand.

    \b
    Example:
      plantstream resume glass
    """
    from app.deploy import registry
    from app.deploy.record import PAUSE
    from app.settings import resolve

    settings = common(context).settings()
    settings.topology(topology)
    kafka = resolve.kafka(settings)
    if topology not in registry.read(kafka).pauses:
        typer.echo(f"{topology} is not paused")
        return
    registry.write(kafka, PAUSE, topology, None)
    typer.echo(f"{topology} goes on")


def reset(
    context: typer.Context,
    topology: Annotated[str, typer.Argument(help="Which topology")],
    outputs: Annotated[
        bool,
        typer.Option(
            "--outputs", help="Also delete its output topics, and how far its sink has read them"
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
) -> None:
    """Start a topology over: delete where its workers stand and what they know, after asking.

    Refused while workers run. The next worker begins with the oldest records that Kafka still has
    and writes its outputs once more; without --outputs they come after those that are there.
    Documents in MongoDB stay: those of the same window or alarm are written over. State folders of
    workers on other machines are found to be old when those start, and are made anew.

    \b
    Examples:
      plantstream reset glass
      plantstream reset glass --outputs --yes
    """
    from app.deploy.reset import carry_out, plan
    from app.settings import resolve

    settings = common(context).settings()
    declared, kafka = settings.topology(topology), resolve.kafka(settings)
    found = plan(declared, kafka, settings.data_dir, outputs=outputs)
    if found.empty:
        typer.echo(f"{topology}: nothing to delete")
        return
    for line in found.lines():
        typer.echo(line)
    if not yes and not typer.confirm(f"Delete this, and start {topology} over?"):
        raise typer.Exit(1)
    carry_out(found, kafka)
    typer.echo(f"{topology} starts over with its next worker")
