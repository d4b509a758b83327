"""Simulators as real processes, and an MQTT broker, for tests with independent clients."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
START_SECONDS = 60


class Process:
    """A running simulator: its ready line, its commands, its end."""

    def __init__(self, config: dict[str, Any], journal: Path) -> None:
        self.journal_path = journal
        self._process = subprocess.Popen(
            [sys.executable, "-m", "connectors.simulators.run", "-", "--control", "tcp"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({**config, "journal": str(journal)}))
        self._process.stdin.close()
        self.ready = self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        alarm = threading.Timer(START_SECONDS, self._process.kill)
        alarm.start()
        text = self._process.stdout.readline()
        alarm.cancel()
        assert text, "the simulator ended without a line"
        return json.loads(text)

    @property
    def endpoint(self) -> str:
        return self.ready["endpoint"]

    @property
    def port(self) -> int:
        return int(self.endpoint.rsplit(":", 1)[1].split("/")[0])

    def command(self, **message: Any) -> dict[str, Any]:
        host, port = self.ready["control"].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(json.dumps(message).encode() + b"\n")
            return json.loads(connection.makefile().readline())

    def finished(self) -> dict[str, Any]:
        """Wait for an orderly end by itself; its counts."""
        line = self._line()
        assert self._process.wait(20) == 0
        return line

    def stop(self) -> dict[str, Any]:
        self._process.terminate()
        return self.finished()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def journal(self) -> list[dict[str, Any]]:
        """The journal, read without the simulators' own reader."""
        lines = [json.loads(raw) for raw in self.journal_path.read_text().splitlines()]
        return [line for line in lines if "summary" not in line]

    def close(self) -> None:
        if self._process.poll() is None:
            self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], Process]]:
    """Start simulators; they are killed at the end of the test."""
    started: list[Process] = []

    def start(config: dict[str, Any]) -> Process:
        process = Process(config, tmp_path / f"journal-{len(started)}.jsonl")
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


TRACE_TEXT = """datetime;Pressure;Flow Rate;anomaly
2020-03-09 10:14:33;0.054711;32.0;0.0
2020-03-09 10:14:34;0.382638;32.0;0.0
2020-03-09 10:14:35;;31.5;0.0
2020-03-09 10:14:36.250;0.382638;31.5;1.0
2020-03-09 10:14:37;-1e-05;31.5;0.0
"""
_START = 1_583_748_873 * 10**9
_S = 10**9
#: (tag, ns, value) of every cell of TRACE_TEXT that has a value and is no label.
TRACE_SAMPLES = sorted(
    [
        ("Pressure", _START, 0.054711),
        ("Flow Rate", _START, 32.0),
        ("Pressure", _START + _S, 0.382638),
        ("Flow Rate", _START + _S, 32.0),
        ("Flow Rate", _START + 2 * _S, 31.5),
        ("Pressure", _START + 3 * _S + _S // 4, 0.382638),
        ("Flow Rate", _START + 3 * _S + _S // 4, 31.5),
        ("Pressure", _START + 4 * _S, -1e-05),
        ("Flow Rate", _START + 4 * _S, 31.5),
    ]
)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.csv"
    path.write_text(TRACE_TEXT)
    return path


@pytest.fixture
def skab_file(shared_data: Path) -> Path:
    return shared_data / "skab" / "valve1" / "0.csv"


@pytest.fixture
def broker() -> Iterator[int]:
    """The port of a fresh MQTT broker (amqtt), which runs in a thread of its own."""
    from amqtt.broker import Broker

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    async def make() -> Any:
        listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        made = Broker({"listeners": {"default": listener}, "plugins": plugins})
        await made.start()
        return made

    running = do(make())
    yield port
    do(running.shutdown())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()
