"""What the README shows works as it stands."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_its_topology_and_its_test_run() -> None:
    declaration, test = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope: dict[str, object] = {"t": 1_700_000_000_000_000_000}
    exec(declaration, scope)
    exec(test, scope)


def test_every_file_it_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_it_names_exists() -> None:
    words = set(re.findall(r"^plantstream ([a-z]+)", README, re.MULTILINE))
    command = [sys.executable, "-m", "app", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert words
    assert [word for word in words if not re.search(rf"^  {word} ", shown, re.MULTILINE)] == []
