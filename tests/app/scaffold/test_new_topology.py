"""``plantstream new topology``: a file that is found, a case that passes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.cases import Case, run, shown
from tests.app.cli.test_command_line import Run, plantstream

__all__ = ["plantstream"]


@pytest.fixture
def site(tmp_path: Path, plantstream: Run) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "plantstream.toml").write_text('topology_paths = ["own"]\n')
    return tmp_path


def test_it_is_found_and_its_case_passes(site: Path, plantstream: Run) -> None:
    done = plantstream("new", "topology", "kiln")
    assert done.returncode == 0, done.stderr
    written = sorted(str(p.relative_to(site)) for p in site.rglob("*") if p.is_file())
    case = "tests/cases/kiln/first"
    assert [name for name in written if "__pycache__" not in name] == [
        "own/kiln.py",
        "plantstream.toml",
        *(f"{case}/{name}" for name in ("expected.jsonl", "input.jsonl", "knowledge.json")),
    ]
    assert "own/kiln.py" in done.stdout
    assert "raw.opcua" in plantstream("describe", "kiln").stdout

    found = Case(site / case, (site / "own",))
    expected = found.expected()
    assert [shown(emission) for emission in run(found)] == expected
    outputs = [line["output"] for line in expected]
    assert outputs.count("readings") == 40
    # It shows what a topology does: windows, and an alarm that comes and goes.
    assert outputs.count("features") == 4
    states = [line["value"]["state"] for line in expected if line["output"] == "alarms"]
    assert states == ["raised", "cleared"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Kiln", "must be lower case letters"),
        ("1st", "must be lower case letters"),
        ("class", "is a word that Python or Plantstream needs"),
        ("steps", "is a word that Python or Plantstream needs"),
        ("glass", "there is a topology of this name"),
        ("old", "old.py is there already"),
        ("cased", "cased is there already"),
    ],
)
def test_a_name_that_cannot_be_used_writes_nothing(
    name: str, said: str, site: Path, plantstream: Run
) -> None:
    (site / "own" / "old.py").write_text("x = 1\n")
    (site / "tests" / "cases" / "cased").mkdir(parents=True)
    before = sorted(site.rglob("*"))
    done = plantstream("new", "topology", name)
    assert done.returncode == 2
    assert said in done.stderr
    assert sorted(p for p in site.rglob("*") if "__pycache__" not in str(p)) == before


def test_a_folder_that_nobody_would_look_into_is_refused(site: Path, plantstream: Run) -> None:
    done = plantstream("new", "topology", "kiln", "--folder", "elsewhere")
    assert done.returncode == 2
    assert "topology_paths: does not name elsewhere" in done.stderr
