"""A topology file of the site's own that is broken, or clashes: only what needs it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.plant.processes import run_store_sink
from app.settings import SettingsError, load
from tests.app.cli.test_command_line import Run, plantstream

__all__ = ["plantstream"]

GOOD = """
from topologies.core import Input, Output, Topology
from topologies.steps import decode

topology = Topology(
    name="NAME",
    inputs=(Input(source="opcua", decode=decode.OpcUa()),),
    outputs=(Output(kind="readings", name="OUTPUT"),),
)
"""


def _site(folder: Path, **files: str) -> None:
    own = folder / "own"
    own.mkdir()
    for name, text in files.items():
        (own / f"{name}.py").write_text(text)
    (folder / "plantstream.toml").write_text('topology_paths = ["own"]\n')


def _declared(name: str, output: str = "readings") -> str:
    return GOOD.replace("NAME", name).replace("OUTPUT", output)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("topology = Topology(name='kiln'", "line 1: '(' was never closed"),
        ("import nowhere_at_all\n" + _declared("kiln"), "line 1: ModuleNotFoundError"),
        ("import sys\nsys.exit('no')", "line 2: SystemExit: no"),
        ("x = 1", "ends in `topology = Topology(...)`"),
        (_declared("kiln").replace("opcua", "opcua").replace("inputs=(", "inputs=() and ("),
         "Topology inputs: Tuple should have at least 1 item"),
        (_declared("glass"), "'glass' is declared already"),
    ],
)  # fmt: skip
def test_a_broken_file_fails_only_what_asks_for_it(
    text: str, said: str, plantstream: Run, tmp_path: Path
) -> None:
    _site(tmp_path, kiln=text, boiler=_declared("boiler"))
    name = "glass" if "'glass'" in said else "kiln"

    asked = plantstream("worker", name)
    assert asked.returncode == 2
    assert "kiln.py: " in asked.stderr
    assert said in asked.stderr

    other = plantstream("describe", "boiler")
    assert other.returncode == 0
    assert "raw.opcua" in other.stdout
    listed = plantstream("describe")
    assert listed.returncode == 0
    lines = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert "broken" in lines[name]
    assert said in lines[name]
    assert lines.keys() >= {"boiler", "energy"}

    checked = plantstream("config", "check")
    assert (checked.returncode, said in checked.stderr) == (2, True)


def test_parameters_for_a_broken_topology_are_no_error(plantstream: Run, tmp_path: Path) -> None:
    _site(tmp_path, kiln="1 / 0")
    file = tmp_path / "plantstream.toml"
    file.write_text(file.read_text() + "[topologies.kiln.steps.window]\nsize = '1s'\n")
    assert plantstream("describe", "glass").returncode == 0


def test_outputs_that_would_share_a_collection_are_refused(tmp_path: Path) -> None:
    _site(tmp_path, one=_declared("a_b", "c"), two=_declared("a", "b_c"), three=_declared("a_c"))
    settings = load(tmp_path / "plantstream.toml", environment={})
    for name in ("a_b", "a"):
        with pytest.raises(SettingsError, match="would both be stored in collection 'a_b_c'"):
            run_store_sink(settings, name)
    with pytest.raises(Exception, match="no embedded stack runs"):
        run_store_sink(settings, "a_c")
