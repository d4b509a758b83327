"""The pages every process serves, and the run folder."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.observe import Health, Metrics, MetricsSettings, Values, announced, observed, running
from app.observe import metrics as names
from app.observe.server import ObserveServer
from models.errors import ConfigError
from tests.conftest import ROOT


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _samples(text: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_served_in_prometheus_format() -> None:
    metrics = Metrics("worker", "glass")
    metrics.add(names.RECEIVED, 2, "glass", "opcua")
    metrics.add(names.RECEIVED, 3, "glass", "opcua")

    def source(out: Values) -> None:
        out.set(names.BUFFERED, 7, "furnace", "opcua")
        out.summary(names.COMMITS, 4, 0.5, "glass")
        out.histogram(names.LATENCY, (0.1, 1.0), (5, 2, 1), 3.5, "glass")

    metrics.source(source)
    with ObserveServer(Health(), metrics) as server:
        status, text = _get(server.url("metrics"))
    found = _samples(text)
    assert status == 200
    assert found["plantstream_received_total", "stage=opcua,topology=glass"] == 5
    assert found["plantstream_connector_buffered", "connector=furnace,kind=opcua"] == 7
    assert found["plantstream_commit_seconds_sum", "topology=glass"] == 0.5
    assert found["plantstream_latency_seconds_bucket", "le=0.1,topology=glass"] == 5
    assert found["plantstream_latency_seconds_bucket", "le=1.0,topology=glass"] == 7
    assert found["plantstream_latency_seconds_bucket", "le=+Inf,topology=glass"] == 8
    assert found["plantstream_latency_seconds_count", "topology=glass"] == 8
    assert found["plantstream_up", "kind=worker,name=glass"] == 1


def test_a_metric_with_the_wrong_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="received is a counter with labels"):
        Values().set(names.RECEIVED, 1, "glass")


def test_metric_names_are_unique() -> None:
    full = [metric.full_name for metric in names.ALL]
    assert len(set(full)) == len(full) > 25


def test_ready_says_which_condition_does_not_hold_and_why() -> None:
    health = Health()
    health.set("kafka", False, "localhost:9092 does not answer")
    health.check("source", lambda: None)
    with ObserveServer(health, Metrics("connect", "furnace")) as server:
        status, body = _get(server.url("ready"))
        assert status == 503
        report = json.loads(body)
        assert report["ready"] is False
        assert report["conditions"]["kafka"]["reason"] == "localhost:9092 does not answer"
        assert report["conditions"]["source"]["ok"] is True
        assert _get(server.url("live"))[0] == 200

        health.set("kafka", True)
        assert _get(server.url("ready"))[0] == 200

        health.check("loop", lambda: "stuck for 90 s", live=True)
        status, body = _get(server.url("live"))
        assert status == 503
        assert "stuck for 90 s" in body
        assert _get(server.url("nothing"))[0] == 404


def test_a_process_adds_pages_of_its_own(tmp_path: Path) -> None:
    with observed("worker", "glass", data_dir=tmp_path) as watched:
        watched.pages["state"] = lambda query: (200, {"of": query["key"]})
        url = f"http://127.0.0.1:{watched.port}"
        assert _get(f"{url}/state?key=glass%2Ffurnace") == (200, '{"of": "glass/furnace"}\n')
        status, body = _get(f"{url}/state")
        assert (status, "KeyError" in body) == (500, True)
        assert "/live, /ready, /metrics, /state" in _get(f"{url}/x")[1]


def test_a_check_that_fails_is_a_problem_not_a_crash() -> None:
    health = Health()
    health.check("broken", lambda: str(1 // 0))
    assert "ZeroDivisionError" in health.problems()["broken"]


def test_a_process_is_in_the_run_folder_while_it_runs(tmp_path: Path) -> None:
    with observed("worker", "glass", data_dir=tmp_path) as watched:
        (process,) = running(tmp_path)
        assert (process.kind, process.name, process.port) == ("worker", "glass", watched.port)
        assert _get(process.url("ready") or "")[0] == 200
    assert running(tmp_path) == []


def test_a_killed_process_is_not_listed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from app.observe import announced\n"
        "with announced(pathlib.Path(sys.argv[1]), 'sink', 'glass'):\n"
        "    print('there', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == b"there\n"
        assert [process.pid for process in running(tmp_path)] == [child.pid]
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
    assert running(tmp_path) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_broken_file_in_the_run_folder_is_passed_over(tmp_path: Path) -> None:
    with announced(tmp_path, "worker", "glass"):
        (tmp_path / "run" / "broken.json").write_text("{")
        assert len(running(tmp_path)) == 1


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with ObserveServer(Health(), Metrics("x", "y")) as server:
        settings = MetricsSettings(port=server.port)
        with (
            pytest.raises(ConfigError, match=r"metrics\.port: cannot listen on 127\.0\.0\.1"),
            observed("worker", "glass", data_dir=tmp_path, metrics=settings),
        ):
            pass
