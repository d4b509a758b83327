"""redrive: dead letters, looked at, mended, and sent through again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.options import common

if TYPE_CHECKING:
    from app.redrive import Choice, Letter, Mend


def add(application: typer.Typer) -> None:
    """Add the commands of this file."""
    application.command("redrive")(redrive)


def redrive(
    context: typer.Context,
    topology: Annotated[
        str,
        typer.Argument(
            help="Whose dead letters; those of its sink too. A connector's: connect/loggers"
        ),
    ],
    letters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LETTER...",
            help="Which, by where the record lay: raw.opcua:3:1204, a range raw.opcua:3:1200-1299,"
            " raw.opcua:3 or raw.opcua",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="PATTERN", help="Such as malformed")] = "",
    step: Annotated[str, typer.Option(metavar="PATTERN", help="Where it failed")] = "",
    key: Annotated[str, typer.Option(metavar="PATTERN", help="Its asset: 'glass/*'")] = "",
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Records dated so or later; 10m: ten minutes ago")
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Records dated before that")] = "",
    show: Annotated[bool, typer.Option("--show", help="All of one letter")] = False,
    edit: Annotated[
        bool, typer.Option("--edit", help="Mend the payload of one in $VISUAL or $EDITOR")
    ] = False,
    replace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The payload of one, from a file")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=VALUE", help="A value in JSON payloads: items[0].v=12.5"),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header: schema=raw-opcua/1")
    ] = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send them back to the topics they came from")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were sent back already")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what --send would send")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts")] = False,
) -> None:
    """List dead letters of a topology, mend them, and send their records through again.

    A record goes back to the topic it came from, with its key, time, event id and other headers,
    and is taken by the topology (or sink) that failed on it and by no other; one that a connector
    could not land, by all who read its topic. It is marked, so that it is not sent twice. Samples
    land in the windows they belong to while these are open; later they are counted as late.

    \b
    Examples:
      plantstream redrive glass
      plantstream redrive glass --reason malformed --since 1h
      plantstream redrive glass raw.mqtt:3:1204 --show
      plantstream redrive glass raw.mqtt:3:1204 --edit --send
      plantstream redrive glass --step scale --change readings[0].value=12.5 --send --dry-run
    """
    from app.redrive import Redriver, read_letters, screen, whole
    from app.settings import resolve

    settings = common(context).settings()
    family, _, name = topology.partition("/")
    if family == "connect" and name:
        settings.connector(name)
    else:
        settings.topology(topology)
    choice = _choice(letters or [], reason, step, key, since, until)
    changed = bool(edit or replace is not None or change or header)
    if changed and not (send or dry_run):
        raise typer.BadParameter("what is mended is only sent: add --send, or --dry-run to look")
    kafka = resolve.kafka(settings)
    with screen.reading(not as_json) as seen:
        chosen = read_letters(kafka, topology, seen, choice.takes)
    if show:
        typer.echo(screen.one(whole(kafka, [_only(chosen, "--show")])[0], as_json=as_json))
        return
    if not (send or dry_run):
        screen.table(chosen, as_json=as_json)
        return
    due = chosen if again else [letter for letter in chosen if letter.mark is None]
    if edit or replace is not None:
        _only(due, "--edit" if edit else "--replace")
    due = whole(kafka, due)
    mend = _mend(due, edit, replace, change or [], header or [])
    if send and not dry_run and due:
        with Redriver(kafka, topology) as redriver:
            due = due if again else redriver.unsent(due)
            redriver.send([mend(letter) for letter in due])
    mended = [mend(letter) for letter in due]
    screen.report(due, mended, len(chosen), dry=dry_run, as_json=as_json)


def _choice(letters: list[str], reason: str, step: str, key: str, since: str, until: str) -> Choice:
    import time

    from app.redrive.choice import Choice, moment, parsed

    for address in letters:
        parsed(address)  # a wrong one is said before Kafka is asked
    now = time.time_ns()
    return Choice(
        tuple(letters),
        reason,
        step,
        key,
        moment(since, now, "--since") if since else None,
        moment(until, now, "--until") if until else None,
    )


def _only(letters: list[Letter], option: str) -> Letter:
    if len(letters) != 1:
        raise typer.BadParameter(f"{option} is for one letter; the filters leave {len(letters)}")
    return letters[0]


def _mend(
    letters: list[Letter],
    edit: bool,
    replace: Path | None,
    changes: list[str],
    headers: list[str],
) -> Mend:
    from app.redrive.mend import Mend, change, edited

    payload: bytes | None = None
    if replace is not None:
        try:
            payload = replace.read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"--replace: {replace}: {error.strerror}") from None
    if edit:
        payload = edited(letters[0].dead.value if payload is None else payload)
    head: dict[str, bytes] = {}
    for text in headers:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"--header must be NAME=VALUE, not {text!r}")
        head[name] = value.encode()
    return Mend(payload, tuple(change(text) for text in changes), head)
