"""A state folder for each worker, held as long as its process lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.shells.worker.instance import Instance
from models.errors import ConfigError, PlantstreamError
from tests.conftest import ROOT


def test_the_lowest_free_number_is_taken_and_taken_again(tmp_path: Path) -> None:
    with Instance(tmp_path, "glass") as first, Instance(tmp_path, "glass") as second:
        assert [first.name, second.name] == ["0", "1"]
        assert first.state_dir != second.state_dir
        known = first.id
        assert known != second.id
    with Instance(tmp_path, "glass") as again:
        assert again.name == "0"
        assert again.id == known


def test_topologies_do_not_share_folders(tmp_path: Path) -> None:
    with Instance(tmp_path, "glass", "a") as one, Instance(tmp_path, "energy", "a") as other:
        assert one.folder != other.folder


def test_a_name_in_use_is_refused(tmp_path: Path) -> None:
    with (
        Instance(tmp_path, "glass", "left"),
        pytest.raises(PlantstreamError, match="another worker of 'glass' runs as this instance"),
    ):
        Instance(tmp_path, "glass", "left")


@pytest.mark.parametrize("name", ["", "..", "a/b", "x" * 65, " "])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="instance name"):
        Instance(tmp_path, "glass", name)


def test_sigkill_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from app.shells.worker.instance import Instance;"
        "held = Instance(pathlib.Path(sys.argv[1]), 'glass', 'left');"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(PlantstreamError):
            Instance(tmp_path, "glass", "left")
        holder.kill()
    Instance(tmp_path, "glass", "left").release()
