"""The command line as a person or a script meets it: output, errors, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from app.cli import main
from app.cli.options import hoisted
from tests.conftest import ROOT


class Done(NamedTuple):
    """What a command said, and how it ended."""

    returncode: int
    stdout: str
    stderr: str


class Run(Protocol):
    """Runs the command in this process; `fresh` in one of its own, as a shell does."""

    def __call__(self, *words: str, fresh: bool = False) -> Done: ...


@pytest.fixture
def plantstream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """The command in an empty folder, without what this shell has set."""
    for name in [*os.environ]:
        if name.startswith(("PLANTSTREAM", "DEMO_", "MONGODB_URI")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, fresh: bool = False) -> Done:
        if fresh:
            command = [sys.executable, "-W", "ignore", "-m", "app", *words]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            return Done(done.returncode, done.stdout, done.stderr)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


@pytest.mark.parametrize("words", [["--help"], ["worker", "--help"], ["config", "-h"]])
def test_help(words: list[str], plantstream: Run) -> None:
    done = plantstream(*words)
    assert done.returncode == 0
    assert "Usage: plantstream" in done.stdout


def test_help_loads_none_of_the_large_libraries() -> None:
    code = (
        "import sys; from app.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = ('numpy', 'pydantic', 'confluent_kafka', 'quixstreams', 'pymongo', 'structlog')\n"
        "print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_version_in_a_process_of_its_own(plantstream: Run) -> None:
    done = plantstream("--version", fresh=True)
    assert done.returncode == 0
    assert done.stdout.startswith("plantstream ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["workr", "glass"], "workr"),
        (["worker"], "topology"),
        (["worker", "glas"], "no such topology; did you mean 'glass'?"),
        (["sink", "nowhere"], "no such topology"),
        (["describe", "glass", "--format", "svg"], "no such format; there are text, mermaid, json"),
        (["connect"], "name connectors, or give --all"),
        (["connect", "--all"], "no connector is configured"),
        (["simulate", "opcua"], "needs a recording: --trace FILE --asset NAME"),
        (["simulate", "opcua", "--trace", "x.csv"], "--trace needs --asset NAME"),
        (["simulate", "opc", "--trace", "x.csv"], "no such simulator"),
        (["simulate", "opcua", "--trace", "nowhere.csv", "--asset", "a"], "nowhere.csv"),
        (
            ["simulate", "opcua", "--trace", "x.csv", "--asset", "a", "--speed", "fast"],
            "simulate opcua: trace.speed: must be a valid number",
        ),
        (["demo", "--for", "soon"], "a duration is text"),
        (["watch", "glass", "--output", "x"], "no such output"),
        (["docs"], "give --write or --check"),
        (["config", "check", "--config", "none.toml"], "none.toml: there is no such file"),
        (["config", "check", "--set", "kafka.partitions=0"], "kafka.partitions: must be greater"),
        (["config", "show", "kafak"], "no such section; did you mean 'kafka'?"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    words: list[str], said: str, plantstream: Run
) -> None:
    done = plantstream(*words)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_wrong_field_of_the_file_is_named_by_every_command_that_reads_it(
    plantstream: Run, tmp_path: Path
) -> None:
    (tmp_path / "plantstream.toml").write_text('[kafka]\nbootsrap = "x"\n')
    for words in (["worker", "glass"], ["status"], ["demo"], ["up"], ["config", "check"]):
        done = plantstream(*words)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(
            "error: plantstream.toml: kafka.bootsrap: no such field; did you mean 'bootstrap'?"
        )


@pytest.mark.parametrize(
    "words", [["worker", "glass"], ["sink", "glass"], ["watchdog"], ["watch", "glass"]]
)
def test_without_a_stack_it_says_how_to_get_one_and_fails(
    words: list[str], plantstream: Run
) -> None:
    done = plantstream(*words)
    assert done.returncode == 1
    assert "start it with `plantstream up`" in done.stderr


def test_debug_adds_the_traceback(plantstream: Run) -> None:
    done = plantstream("worker", "glass", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_describe_draws_the_graph_with_the_site_s_parameters(plantstream: Run) -> None:
    done = plantstream("describe", "glass", "--format", "mermaid")
    assert done.returncode == 0
    assert done.stdout.startswith("flowchart LR")
    assert "raw.opcua" in done.stdout
    done = plantstream(
        "describe", "glass", "--format", "json", "--set", "kafka.prefix=t."
    )
    topics = [node["label"] for node in json.loads(done.stdout)["nodes"] if node["kind"] == "topic"]
    assert "t.raw.opcua" in topics
    listed = plantstream("describe").stdout
    assert all(name in listed for name in ("glass", "factory", "energy"))


def test_config_shows_what_is_in_force_without_secrets(
    plantstream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plantstream.toml").write_text('[kafka]\nprefix = "a."\n')
    monkeypatch.setenv("PLANTSTREAM__KAFKA__PASSWORD", "hunter2")
    monkeypatch.setenv("MONGODB_URI", "mongodb://u:hunter2@db")
    done = plantstream("config", "show", "--json", "--set", "kafka.partitions=9")
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert (shown["kafka"]["prefix"], shown["kafka"]["partitions"]) == ("a.", 9)
    assert "hunter2" not in done.stdout
    assert plantstream("config", "show").stdout.startswith("site = ")


def test_the_sample_begins_a_site(plantstream: Run, tmp_path: Path) -> None:
    (tmp_path / "plantstream.toml").write_text(plantstream("config", "sample").stdout)
    assert plantstream("config", "check").returncode == 0


def test_status_of_a_site_where_nothing_runs(plantstream: Run) -> None:
    done = plantstream("status", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["processes"] == []
    assert any("plantstream up" in problem for problem in found["problems"])


def test_options_of_all_commands_may_stand_anywhere() -> None:
    given = ["worker", "glass", "--set", "a=1", "-c", "x.toml", "--debug", "--set=b=2", "--show"]
    assert hoisted(given) == [
        *("--set", "a=1", "-c", "x.toml", "--debug", "--set=b=2"),
        *("worker", "glass", "--show"),
    ]
    assert hoisted(["x", "--", "--debug"]) == ["x", "--", "--debug"]


def test_exit_codes_reach_the_shell(plantstream: Run, tmp_path: Path) -> None:
    (tmp_path / "plantstream.toml").write_text("[kafka]\npartitions = 0\n")
    done = plantstream("config", "check", fresh=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert plantstream("status", "--config", "none.toml", fresh=True).returncode == 2
    assert plantstream("watch", "glass", "--set", "kafka.partitions=1", fresh=True).returncode == 1
