"""Dead letters for a terminal, or as JSON for scripts."""

from __future__ import annotations

import base64
import difflib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from app.redrive.letters import Letter
from app.redrive.mend import show_payload
from models.time import NS_PER_MS, iso


@contextmanager
def reading(shown: bool) -> Iterator[Callable[[int], None] | None]:
    """A line that counts letters as they are read, on a terminal; gone when they are."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("dead letters read: {task.completed:,.0f}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda count: progress.advance(task, count)


def table(letters: Sequence[Letter], *, as_json: bool) -> None:
    """All letters, one line each."""
    if as_json:
        print(json.dumps([letter.as_json() for letter in letters], indent=2))
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("letter", no_wrap=True)
    for name in ("record's time", "key", "step", "reason", "error", "sent back"):
        shown.add_column(name, overflow="fold")
    for letter in letters:
        dead = letter.dead
        shown.add_row(
            letter.address,
            iso(dead.timestamp_ms * NS_PER_MS),
            _text(dead.key),
            dead.step if dead.topology.find(":") < 0 else f"{dead.step} (sink)",
            dead.reason,
            dead.error if len(dead.error) <= 160 else f"{dead.error[:159]}…",
            _sent(letter),
        )
    console = Console(highlight=False, markup=False)
    if letters:
        console.print(shown)
    due = sum(letter.mark is None for letter in letters)
    console.print(f"{len(letters)} dead letters, {len(letters) - due} of them sent back")


def one(letter: Letter, *, as_json: bool) -> str:
    """All of a letter, its payload as JSON, text or hex."""
    dead = letter.dead
    kind, payload = show_payload(dead.value)
    if as_json:
        whole: dict[str, Any] = {
            **letter.as_json(),
            "headers": {name: _text(value) for name, value in dead.headers.items()},
            "payload_base64": None
            if dead.value is None
            else base64.b64encode(dead.value).decode("ascii"),
        }
        if kind in ("json", "text"):
            whole["payload"] = json.loads(payload) if kind == "json" else payload
        return json.dumps(whole, indent=2, ensure_ascii=False)
    lines = [
        f"letter     {letter.address}",
        f"of         {dead.topology} v{dead.version}, step {dead.step}",
        f"reason     {dead.reason}: {dead.error}",
        f"time       {iso(dead.timestamp_ms * NS_PER_MS)}",
        f"key        {_text(dead.key)}",
        f"sent back  {_sent(letter) or 'not yet'}",
        *(f"header     {name}: {_text(value)}" for name, value in dead.headers.items()),
        f"payload    {'none' if dead.value is None else f'{len(dead.value)} bytes, {kind}'}",
    ]
    return "\n".join([*lines, "", payload] if payload else lines)


def report(
    before: Sequence[Letter], after: Sequence[Letter], chosen: int, *, dry: bool, as_json: bool
) -> None:
    """What was sent, or would be."""
    if as_json:
        sent = [letter.address for letter in after]
        print(
            json.dumps({"sent": [] if dry else sent, "would_send": sent if dry else []}, indent=2)
        )
        return
    verb = "would go" if dry else "went"
    for old, new in zip(before, after, strict=True):
        print(f"{new.address} {verb} back to {new.dead.topic}, key {_text(new.dead.key)}")
        for line in _difference(old, new):
            print(f"    {line}")
    rest = f"; {chosen - len(after)} were sent back before (--again)" if chosen > len(after) else ""
    print(f"{len(after)} records {verb} back{rest}")


def _difference(old: Letter, new: Letter) -> list[str]:
    found = []
    for name, value in new.dead.headers.items():
        if old.dead.headers.get(name) != value:
            found.append(f"header {name}: {_text(old.dead.headers.get(name))} -> {_text(value)}")
    if old.dead.value != new.dead.value:
        was, now = (show_payload(each.dead.value)[1].splitlines() for each in (old, new))
        found += difflib.unified_diff(was, now, "before", "after", lineterm="", n=1)
    return found


def _sent(letter: Letter) -> str:
    times = f", {letter.mark.times} times" if letter.mark and letter.mark.times > 1 else ""
    again = f"failed again after {letter.redrives}" if letter.redrives else ""
    when = f"{iso(letter.mark.at // 10**9 * 10**9)}{times}" if letter.mark else ""
    return "; ".join(filter(None, (when, again)))


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")
