"""The guide to a topology, followed word by word in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.app import command
from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "guide-topology.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)
#: What a clone holds that following the guide needs.
PARTS = ("app", "connectors", "models", "topologies", "tests", "docs")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the project."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in PARTS:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    for name in ("pyproject.toml", "plantstream.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_a_topology_is_added_by_following_only_the_guide(clone: Path) -> None:
    run: list[str] = []
    for kind, text in BLOCKS:
        if kind == "bash":
            _typed(text, clone)
            run += text.splitlines()
        elif kind == "console":
            continue  # needs a running site
        else:
            named = re.match(r"# (\S+)\n", text)
            assert named, f"a block that names no file:\n{text}"
            file = clone / named[1]
            body = text[named.end() :]
            if kind == "toml":
                file.write_text(f"{file.read_text()}\n{body}")
            else:
                assert kind == "python"
                file.write_text(body)
    assert len(run) >= 7
    declared = (clone / "topologies" / "compressors.py").read_text()
    assert len(declared.splitlines()) < 40
    written = "topologies/compressors.py tests/topologies/test_compressors.py"
    _typed(f"python -m ruff check {written}", clone)
    _typed("plantstream docs --check", clone)
    assert (clone / "docs" / "reference" / "topologies.md").read_text().count("## compressors") == 1


def test_every_command_in_the_docs_exists_with_its_options() -> None:
    pages = "\n".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
    lines = re.findall(r"^(?:\$ )?plantstream ([a-z].*?)(?: +#.*)?$", pages, re.MULTILINE)
    lines += re.findall(r"`plantstream ([a-z][^`]*)`", pages)
    assert len(lines) > 15
    commands = command().commands
    for line in lines:
        words = line.split()
        named = commands[words[0]]
        if hasattr(named, "commands"):
            named = named.commands[words[1]]
        known = {option for parameter in named.params for option in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known | {"--set", "--config", "--data-dir", "--debug"}, line


def _typed(text: str, folder: Path) -> None:
    """Lines as a person types them, in a shell that stops at the first that fails."""
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    for name, words in (("python", ""), ("plantstream", "-m app ")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        script.chmod(0o755)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PLANTSTREAM", "PYTEST"))}
    env = {
        **clean,
        "PATH": f"{tools}:{os.environ['PATH']}",
        # Over the installed project, which is the one this test belongs to.
        "PYTHONPATH": str(folder),
    }
    done = subprocess.run(
        ["sh", "-e", "-c", text], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
