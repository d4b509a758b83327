"""state: what running workers know of an asset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.options import common

if TYPE_CHECKING:
    from rich.table import Table


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("state")(state)


def state(
    context: typer.Context,
    topology: Annotated[str, typer.Argument(help="Which topology")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="An asset, such as glass/furnace")],
    step: Annotated[str, typer.Option(metavar="NAME", help="One step only")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """Show what each step remembers of an asset, as of the last commit.

    The worker that holds the asset's partition is found through its consumer group and asked at its
    page /state; it must run on this machine.

    \b
    Examples:
      plantstream state glass glass/furnace
      plantstream state glass glass/furnace --step window --json
    """
    from app.plant.inside import ask
    from app.settings import resolve

    settings = common(context).settings()
    found = settings.topology(topology)
    content = ask(settings, resolve.kafka(settings), found, key)
    if step:
        known = {name for stage in content["stages"].values() for name in stage["steps"]}
        if step not in known:
            raise typer.BadParameter(f"no such step here; there are {', '.join(sorted(known))}")
        for stage in content["stages"].values():
            stage["steps"] = {n: kept for n, kept in stage["steps"].items() if n == step}
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    else:
        _print(content)


def _print(content: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for name, stage in content["stages"].items():
        console.print(
            f"{content['topology']} · {name} · {stage['topic']}[{stage['partition']}]"
            f" · worker {stage['worker']} (process {stage['pid']})",
            soft_wrap=True,
        )
        for step, kept in stage["steps"].items():
            facts = {n: v for n, v in kept.items() if n not in ("bytes", "tables", "values")}
            facts |= kept.get("values", {})
            console.print(f"\n{step}: {kept['bytes']} bytes", style="bold")
            for fact, value in facts.items():
                shown = value if isinstance(value, str) else json.dumps(value)
                console.print(f"  {fact}: {shown}")
            for title, rows in kept.get("tables", {}).items():
                if rows:
                    console.print(_table(title, rows))
        console.print("")


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=True, header_style="bold", title=None)
    for column in rows[0]:
        table.add_column(title if column == "tag" and title != "tags" else column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_cell, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
