"""check: what becomes of a deployed topology's state under the declaration that is here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import common

if TYPE_CHECKING:
    from app.deploy.check import Checked


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("check")(check)


def check(
    context: typer.Context,
    topology: Annotated[str, typer.Argument(help="Which topology")],
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """Compare a topology, with this site's parameters, with what its workers were last started
    with, and say what becomes of the state of each step. Nothing is changed.

    Exit code 0: workers go on where those before them stand. 1: they would refuse to start.

    \b
      reused        the state goes on, windows that are open included
      migrated      the step converts it
      added         a new step, its state begins empty
      dropped       the step is gone, its state is deleted
      reset         a parameter that the state depends on has changed: the state would be lost
      incompatible  the state is of another kind of step, or of code that this does not know

    \b
    Example:
      plantstream check glass --set topologies.glass.steps.window.size=20s
    """
    from app.deploy.check import check_deployed

    found = check_deployed(common(context).settings(), topology)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print(found)
    raise typer.Exit(0 if found.compatible else 1)


def _print(found: Checked) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if found.deployed is None:
        console.print(f"{found.topology} version {found.version}: was never deployed here")
        return
    console.print(
        f"{found.topology} version {found.version}, against version"
        f" {found.deployed.declaration.version} deployed {found.deployed.said}"
        f" (plantstream {found.deployed.code})"
    )
    shown = Table(box=None, pad_edge=False)
    for column in ("step", "state", ""):
        shown.add_column(column, overflow="fold")
    for step in found.verdict.steps:
        style = "red" if step.outcome in ("reset", "incompatible") else ""
        shown.add_row(step.name, step.outcome, step.why, style=style)
    console.print(shown)
    for change in found.verdict.changes:
        console.print(f"{change.what}: {change.why}", style="" if change.compatible else "red")
    if found.compatible:
        console.print("Compatible: workers go on where those before them stand.")
    else:
        console.print(
            "Not compatible: workers refuse to start. Without the state shown as reset or"
            f" incompatible: 'plantstream worker {found.topology} --accept-reset'. From the"
            f" beginning: 'plantstream reset {found.topology}'."
        )
