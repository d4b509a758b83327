"""config: look at the configuration of a site."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.options import common


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        help="Check, show and begin the configuration of a site.", no_args_is_help=True
    )
    for command in (check, show, sample):
        group.command(command.__name__)(command)
    application.add_typer(group, name="config")


def check(context: typer.Context) -> None:
    """Check everything in the configuration; all that is wrong is listed, one line each.

    Exit code 2 if something is.

    \b
    Example:
      plantstream config check --config site.toml
    """
    from app.settings import ALL, SettingsError
    from app.settings.collisions import collisions
    from models.errors import ConfigError

    settings = common(context).settings(*ALL)
    broken = settings.broken_topologies.values()
    wrong = [ConfigError(each.error, file=each.file) for each in broken]
    if wrong := [*wrong, *collisions(settings)]:
        raise SettingsError(wrong)
    site = settings.site
    typer.echo(
        f"{settings.file}: good: {len(site.catalogue)} assets, {len(site.connectors)} connectors,"
        f" {len(settings.topologies)} topologies, {len(site.simulators)} simulators"
    )


def show(
    context: typer.Context,
    section: Annotated[str, typer.Argument(help="One section only, such as kafka")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of TOML")] = False,
) -> None:
    """Show what is in force: the file with environment and flags over it. Secrets are hidden.

    \b
    Example:
      plantstream config show kafka --set kafka.prefix=test.
    """
    import json

    import tomli_w

    from app.settings.problems import unknown

    settings = common(context).settings()
    values = settings.site.model_dump(mode="json", by_alias=True, exclude_none=True)
    if section:
        if section not in values:
            raise typer.BadParameter(unknown(section, values, "section"))
        values = {section: values[section]}
    typer.echo(json.dumps(values, indent=2) if as_json else tomli_w.dumps(values).rstrip())


def sample(
    as_json: Annotated[
        bool, typer.Option("--schema", help="The JSON schema of the file instead")
    ] = False,
) -> None:
    """Print a file with every field, its default and what it means, to begin with.

    \b
    Example:
      plantstream config sample > plantstream.toml
    """
    import json

    from app.reference.configuration import json_schema, sample_toml

    typer.echo(json.dumps(json_schema(), indent=2) if as_json else sample_toml().rstrip())
