"""What messages tell people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

from app.cli.app import command

_ROOT = Path(__file__).resolve().parents[3]


def test_every_command_that_a_message_or_the_readme_names_exists() -> None:
    known = set(command().commands)
    named = {
        word: file.name
        for file in [*(_ROOT / "app").rglob("*.py")]
        for word in re.findall(r"'plantstream ([a-z][a-z-]*)", file.read_text())
    }
    readme = (_ROOT / "README.md").read_text()
    named |= dict.fromkeys(re.findall(r"^plantstream ([a-z][a-z-]*)", readme, re.M), "README.md")
    assert named
    assert {word: file for word, file in named.items() if word not in known} == {}
