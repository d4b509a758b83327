"""The page of the command line, from the commands' own help."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.testing import CliRunner

from app.cli.app import application, command

_WIDTH = "96"


def markdown() -> str:
    """docs/reference/cli.md."""
    lines = ["# Command line", "", *_block([])]
    for path in _commands(command(), []):
        lines += ["", f"## {' '.join(path)}", "", *_block(path)]
    return "\n".join(lines) + "\n"


def _commands(group: Any, path: list[str]) -> Iterator[list[str]]:
    for name, each in getattr(group, "commands", {}).items():
        yield [*path, name]
        yield from _commands(each, [*path, name])


def _block(path: list[str]) -> list[str]:
    with _plain():
        shown = CliRunner().invoke(application, [*path, "--help"], prog_name="plantstream")
    text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
    return ["```text", text, "```"]


@contextmanager
def _plain() -> Iterator[None]:
    """Help as wide as a page, whatever the terminal."""
    before = {name: os.environ.get(name) for name in ("COLUMNS", "TERMINAL_WIDTH")}
    os.environ.update(dict.fromkeys(before, _WIDTH))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
