"""new: begin what a site adds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.options import common


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(help="Begin a topology of your own.", no_args_is_help=True)

    @group.callback()
    def _group() -> None:
        """A command of its own, however many there are."""

    group.command("topology")(topology)
    application.add_typer(group, name="new")


def topology(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower case, such as kiln")],
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where its file goes: a folder of topology_paths in plantstream.toml (default: the"
            " first of these, else the project's topologies/)",
        ),
    ] = None,
    cases: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where its case folder goes")
    ] = Path("tests/cases"),
) -> None:
    """Write a topology that runs, and a case of it that passes: records, and what becomes of them.

    docs/guide-topology.md goes on from there.

    \b
    Example:
      plantstream new topology kiln
      python -m pytest tests/cases -k kiln
    """
    from os.path import relpath

    from app.scaffold.topology import new_topology

    settings = common(context).settings()
    if folder is None:
        folder = next((each for each in settings.site.topology_paths if each.is_dir()), None)
    elif folder.resolve() not in {each.resolve() for each in settings.site.topology_paths}:
        raise settings.error(f"does not name {folder}: nothing would find it", "topology_paths")
    for path in new_topology(name, cases, folder):
        typer.echo(f"wrote {relpath(path)}")
    typer.echo(f"next: python -m pytest {cases} -k {name}")
