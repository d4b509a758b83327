"""Reading recordings, writing journals, and refusing wrong configuration."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors.simulators.config import Trace, dump
from connectors.simulators.faults import Sample
from connectors.simulators.journal import Journal, line_of, read_journal
from connectors.simulators.run import parse, with_trace
from connectors.simulators.trace import parse_time, read_trace
from tests.connectors.simulators.conftest import ROOT, TRACE_SAMPLES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-12-02 21:15:00", 1_386_018_900 * 10**9),
        ("2013-12-02T21:15:00Z", 1_386_018_900 * 10**9),
        ("2013-12-02T22:15:00.123456789+01:00", 1_386_018_900_123_456_789),
        ("1386018900", 1_386_018_900 * 10**9),
        ("1386018900.25", 1_386_018_900_250_000_000),
        ("1386018900123", 1_386_018_900_123_000_000),
        ("1386018900123456789", 1_386_018_900_123_456_789),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_times_of_several_formats(text: str, expected: int) -> None:
    assert parse_time(text) == expected


def test_a_file_is_read_with_separator_time_column_and_labels_guessed(trace_file: Path) -> None:
    recording = read_trace(Trace(path=trace_file, asset="a"))
    assert recording.tags == ["Pressure", "Flow Rate"]
    cells = [
        (tag, t, value)
        for index, t in enumerate(recording.t.tolist())
        for tag, value in recording.row(index).items()
    ]
    assert sorted(cells) == TRACE_SAMPLES


def test_columns_are_chosen_renamed_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Time,id,value,note\n10,7,1.5,a\n20,8,NaN,b\n30,9,2.5,c\n")
    recording = read_trace(Trace(path=path, asset="a", first=1, rows=1))
    assert (recording.tags, recording.t.tolist()) == (["id"], [20 * 10**9])
    chosen = Trace(path=path, asset="a", columns=("value",), tags={"value": "load"})
    recording = read_trace(chosen)
    assert recording.tags == ["load"]
    assert math.isnan(recording.v[1, 0])


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("when,x\n1,2\n", {}, "no time column"),
        ("time,x\nsoon,2\n", {}, r"x\.csv:2: 'soon' is not a time"),
        ("time,x\n1,2\n2\n", {}, r"x\.csv:3: 1 cells, the header has 2"),
        ("time,x\n1,2\n", {"columns": ("y",)}, "no columns"),
        ("time,x\n1,abc\n", {}, "no column of numbers"),
        ("time,x\n1,abc\n", {"columns": ("x",)}, r"x\.csv:2: .*'abc'"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(
    tmp_path: Path, text: str, fields: dict[str, Any], message: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_trace(Trace(path=path, asset="a", **fields))


def test_a_journal_cut_by_a_crash_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    journal = Journal(path)
    journal.write([line_of(1, "a", 10, Sample("x", math.nan))])
    with path.open("ab") as file:
        file.write(b'{"n": 2, "asset": "a", "ta')  # killed in the middle of a write
    with Journal(path) as again:
        again.write([line_of(3, "a", 30, Sample("x", 1.5, "Good", "spike"))])
    assert list(read_journal(path)) == [
        {"n": 1, "asset": "a", "tag": "x", "t": 10, "v": "NaN", "status": "Good"},
        {"n": 3, "asset": "a", "tag": "x", "t": 30, "v": 1.5, "status": "Good", "fault": "spike"},
    ]
    assert json.loads(path.read_text().splitlines()[-1]) == {"summary": True, "lines": 1}


SIGNAL = {"kind": "level", "at": 1}
ASSET = {"name": "a", "tags": {"x": SIGNAL}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "opcua"}, "needs assets or a trace"),
        ({"kind": "opcua", "assets": [ASSET], "prot": 1}, "opcua.prot: Extra inputs"),
        ({"kind": "opcua", "assets": [ASSET, ASSET]}, "assets named twice: .'a'"),
        ({"kind": "opcua", "assets": [{**ASSET, "interval": "2"}]}, "'200ms', '10s'"),
        (
            {"kind": "opcua", "assets": [ASSET], "faults": [{"asset": "b", "kind": "spike"}]},
            "asset 'b'; known are .'a'",
        ),
        ({"kind": "modbus", "assets": [{**ASSET, "unit": 1}]}, "tags without a field: .'x'"),
        (
            {"kind": "mqtt", "assets": [{**ASSET, "topic": "t/{7}"}]},
            "known are asset, tag and the parts 0..0",
        ),
        ({"kind": "mqtt", "assets": [{**ASSET, "topic": "t/#"}]}, "wildcard"),
    ],
)
def test_wrong_configuration_names_field_and_remedy(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(config)


def test_registers_that_overlap_are_refused() -> None:
    fields = {"x": {"address": 0, "type": "float32"}, "y": {"address": 1, "type": "int16"}}
    asset = {"name": "a", "unit": 1, "tags": {"x": SIGNAL, "y": SIGNAL}, "fields": fields}
    with pytest.raises(ValueError, match="'x' and 'y' overlap at address 1"):
        parse({"kind": "modbus", "assets": [asset]})


def test_configuration_survives_json_and_a_trace_replaces_signals(tmp_path: Path) -> None:
    simulator = parse(
        {
            "kind": "modbus",
            "assets": [{**ASSET, "unit": 4, "interval": "1500ms", "fields": {"x": {"address": 0}}}],
            "faults": [{"asset": "a", "kind": "stuck", "for": "5m"}],
        }
    )
    assert parse(json.loads(json.dumps(dump(simulator)))) == simulator
    played = with_trace(simulator, Trace(path=tmp_path / "x.csv", asset="a"), exit_at_end=True)
    assert played.exit_at_end
    assert played.assets[0].name == "a"
    assert not played.assets[0].tags


def run(config: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "connectors.simulators.run", "-"]
    return subprocess.run(
        command, cwd=ROOT, input=config, capture_output=True, text=True, timeout=60, check=False
    )


def test_commands_over_stdin(tmp_path: Path) -> None:
    asset = {**ASSET, "unit": 1, "fields": {"x": {"address": 0}}}
    path = tmp_path / "simulator.json"
    path.write_text(json.dumps({"kind": "modbus", "paused": True, "assets": [asset]}))
    done = subprocess.run(
        [sys.executable, "-m", "connectors.simulators.run", str(path), "--control", "stdin"],
        cwd=ROOT,
        input='{"do": "status"}\n{"do": "dance"}\n{"do": "stop"}\n',
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    ready, status, refused, stopped, finished = map(json.loads, done.stdout.splitlines())
    assert ready["ready"] is True
    assert (status["paused"], status["rows"]) == (True, 0)
    assert "known are fault, pause, resume, status, stop" in refused["error"]
    assert stopped == {"ok": True}
    assert finished["finished"] is True


def test_exit_codes_tell_bad_configuration_from_failure(tmp_path: Path) -> None:
    wrong = run('{"kind": "opcua", "assets": [{"name": "a", "tagz": {}}]}')
    assert wrong.returncode == 2
    assert "tagz" in wrong.stderr
    trace = {"path": str(tmp_path / "missing.csv"), "asset": "a"}
    failed = run(json.dumps({"kind": "modbus", "trace": trace}))
    assert failed.returncode == 1
    assert "missing.csv" in failed.stderr
    assert "Traceback" not in failed.stderr
