"""Cases: a folder each, ``tests/cases/<topology>/<case>/``; see `app.cases` for what is in one.

``python -m tests.cases TOPOLOGY/CASE`` writes ``expected.jsonl`` anew: read the difference before
you commit it. Every bug found becomes a case. ``python -m tests.cases.record`` records a running
site into one. ``plantstream new topology NAME`` begins one.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from app.cases import Case, Fed, feed, run, shown, write_expected, write_input
from topologies.core import Topology
from topologies.core.discover import find

__all__ = [
    "FOLDER",
    "Case",
    "Fed",
    "feed",
    "find_cases",
    "find_topologies",
    "run",
    "shown",
    "write_expected",
    "write_input",
]

FOLDER = Path(__file__).parent
_SITE = FOLDER.parent.parent / "plantstream.toml"


def find_cases() -> list[Case]:
    """Every case folder."""
    paths = _paths()
    return [Case(file.parent, paths) for file in sorted(FOLDER.glob("*/*/input.jsonl"))]


def find_topologies() -> dict[str, Topology]:
    """Every topology: the project's, and those in folders that plantstream.toml names."""
    return find(_paths())


def _paths() -> tuple[Path, ...]:
    named = tomllib.loads(_SITE.read_text())
    return tuple(_SITE.parent / path for path in named.get("topology_paths", ()))
