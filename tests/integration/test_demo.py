"""The demo as a newcomer runs it: real Kafka, store, MQTT broker, protocols and processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

import psutil
import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

_START_S = 240.0


class Demo:
    """A demo under way in a process of its own; its output line by line."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.said: list[str] = []
        self._lines: Queue[str] = Queue()
        self._process = subprocess.Popen(
            _command("demo", "--data-dir", str(folder), *words),
            cwd=ROOT,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip())

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    def until(self, pattern: str, timeout_s: float = _START_S) -> str:
        """Wait for a line that matches."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._lines.get(timeout=0.2)
            except Empty:
                ended = self._process.poll() is not None and self._lines.empty()
                assert not ended, f"ended without {pattern!r}:\n{self.text}"
                assert time.monotonic() < deadline, f"no {pattern!r}:\n{self.text}"
                continue
            self.said.append(line)
            if re.search(pattern, line):
                return line

    def family(self) -> list[psutil.Process]:
        """All processes it has started, of all generations."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, timeout_s: float = 120.0) -> int:
        """Its exit code."""
        code = self._process.wait(timeout_s)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            try:
                self.said.append(self._lines.get(timeout=0.2))
            except Empty:
                break
        return code

    def end(self) -> None:
        """Whatever happened, leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()  # its children's guards end them
            self._process.wait()


@contextmanager
def _demo(folder: Path, *words: str) -> Iterator[Demo]:
    demo = Demo(folder, *words)
    try:
        yield demo
    finally:
        demo.end()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "app", *words]


def _environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PLANTSTREAM", "DEMO_"))}
    clean.pop("MONGODB_URI", None)
    return clean


def _plantstream(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _command(*words),
        cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def _first_line_of_watch(folder: Path) -> str:
    """What `watch` shows first; it runs on, so it is ended then."""
    watch = subprocess.Popen(
        _command("watch", "energy", "--data-dir", str(folder)),
        cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watch.stdout is not None
        return watch.stdout.readline()
    finally:
        watch.send_signal(signal.SIGINT)
        assert watch.wait(30) == 0


def test_a_short_demo_moves_every_stage_and_leaves_nothing_running(data_dir: Path) -> None:
    with _demo(data_dir, "--for", "20") as demo:
        demo.until("Ctrl-C stops everything")
        family = demo.family()
        assert demo.wait() == 0, demo.text
    for topology, stages in (
        ("glass", ("opcua", "modbus", "mqtt")),
        ("factory", ("modbus", "mqtt")),
        ("energy", ("mqtt",)),
    ):
        for stage in stages:
            row = re.search(rf"^{topology} +{stage} +([\d,]+) +([\d,]+) ", demo.text, re.M)
            assert row is not None, demo.text
            assert all(int(number.replace(",", "")) > 0 for number in row.groups())
    assert "good: 20s after a start of" in demo.text
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_other_commands_beside_a_demo_until_ctrl_c(data_dir: Path) -> None:
    with _demo(data_dir) as demo, ThreadPoolExecutor() as pool:
        demo.until("Ctrl-C stops everything")
        family = demo.family()
        beside = pool.submit(_plantstream, "demo", "--data-dir", str(data_dir))
        watched = pool.submit(_first_line_of_watch, data_dir)

        second = beside.result()
        assert second.returncode == 1
        assert f"a stack already runs in {data_dir}" in second.stderr

        shown = watched.result()
        assert re.match(r"20\d\d-\S+Z +energy/site-\w/logger-\d +\w+ +-?[\d.]+", shown)

        status = json.loads(_plantstream("status", "--json", "--data-dir", str(data_dir)).stdout)
        assert status["problems"] == []
        kinds = {process["kind"] for process in status["processes"]}
        assert {"worker", "sink", "connect", "simulator", "watchdog"} <= kinds
        records = {topic["topic"]: topic["records"] for topic in status["topics"]}
        assert all(records[f"raw.{kind}"] > 0 for kind in ("opcua", "modbus", "mqtt"))
        assert status["documents"]["glass_readings"] > 0
        assert status["dead_letters"] == 0

        demo.interrupt()
        assert demo.wait() == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_a_process_that_died_fails_the_demo_by_name(data_dir: Path) -> None:
    with _demo(data_dir, "--for", "20") as demo:
        demo.until("Ctrl-C stops everything")
        victim = next(p for p in demo.family() if "sink" in p.cmdline() and "glass" in p.cmdline())
        victim.kill()
        assert demo.wait() == 1
        assert re.search(r"failed: sink-glass ended with code -9", demo.text), demo.text
        assert "FAILED" in demo.text


def test_ctrl_c_during_the_start_stops_everything(data_dir: Path) -> None:
    with _demo(data_dir) as demo:
        demo.until(r"starting \d+ processes")
        family = demo.family()
        demo.interrupt()
        assert demo.wait() == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
