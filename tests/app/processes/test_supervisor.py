"""The supervisor with real child processes: readiness, restarts, order, errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from queue import Queue

import psutil
import pytest

from app.embedded.ports import find_free
from app.processes import ChildError, Command, Event, NotReadyError, Supervisor, SupervisorError

WAIT = "import signal; signal.pause()"
HTTP = """
import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Page.asked += 1
        self.send_response(200 if Page.asked > 2 and self.path == "/ready" else 503)
        self.end_headers()
    def log_message(self, *a):
        print(self.path, Page.asked, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
# Says goodbye in a file that all share, so that the order of stopping is seen.
FAREWELL = """
import pathlib, signal, sys
def bye(*_):
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
pathlib.Path(sys.argv[1] + "." + sys.argv[2]).touch()
while True:
    signal.pause()
"""


def python(name: str, code: str, *args: str, **options: object) -> Command:
    return Command(name, [sys.executable, "-c", code, *args], **options)  # type: ignore[arg-type]


def farewell(tmp_path: Path, name: str) -> Command:
    said = tmp_path / "said"
    ready = tmp_path / f"said.{name}"
    return python(name, FAREWELL, str(said), name, ready=ready.exists)


def test_ready_by_function_and_by_page(tmp_path: Path) -> None:
    port = find_free()
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(farewell(tmp_path, "a"))
        url = f"http://127.0.0.1:{port}/ready"
        supervisor.start(python("web", HTTP, str(port), ready=url))
        assert "/ready 3" in supervisor.log_tail("web")  # refused, then 503 twice, then 200
        assert supervisor.running() == ["a", "web"]
        assert psutil.pid_exists(supervisor.pid("web") or 0)


def test_stops_in_reverse_order_and_gracefully(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    for name in ("first", "second", "third"):
        supervisor.start(farewell(tmp_path, name))
    supervisor.stop()
    assert (tmp_path / "said").read_text().split() == ["third", "second", "first"]
    assert [supervisor.exit_codes(n) for n in ("first", "second", "third")] == [[0], [0], [0]]
    assert supervisor.running() == []


def test_end_before_ready_is_an_error_with_the_log(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor, pytest.raises(NotReadyError) as error:
        supervisor.start(
            python("broken", "raise SystemExit('port is taken')", ready=lambda: False)
        )
    assert "broken ended with code 1 before it was ready" in str(error.value)
    assert "port is taken" in str(error.value)


def test_never_ready_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        with pytest.raises(NotReadyError, match=r"slow was not ready within 0\.2 s"):
            supervisor.start(python("slow", WAIT, ready=lambda: False, ready_timeout_s=0.2))
        assert supervisor.running() == []
        supervisor.start(python("slow", WAIT))  # the name is free again
        assert supervisor.running() == ["slow"]


def test_crashed_command_comes_back_and_is_counted(tmp_path: Path) -> None:
    events: Queue[Event] = Queue()
    with Supervisor(tmp_path, on_event=events.put) as supervisor:
        supervisor.start(python("w", WAIT, restart=True, backoff_s=0.01))
        first = supervisor.pid("w")
        assert first is not None
        os.kill(first, signal.SIGKILL)
        seen: list[Event] = []
        while [e.what for e in seen].count("started") < 2:
            seen.append(events.get(timeout=10))
        assert [e.what for e in seen] == ["started", "ready", "exited", "restarting", "started"]
        assert seen[2].code == -signal.SIGKILL
        assert supervisor.pid("w") not in (None, first)
        assert supervisor.restarts("w") == 1
        assert supervisor.exit_codes("w") == [-signal.SIGKILL]


def test_gives_up_after_the_allowed_restarts(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(
            python("w", "exit(7)", restart=True, max_restarts=2, backoff_s=0.01), wait=False
        )
        assert supervisor.wait("w", 20) == 7
        assert supervisor.exit_codes("w") == [7, 7, 7]
        assert supervisor.restarts("w") == 2


def test_command_that_is_done_is_not_restarted(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(python("w", "pass", restart=True, backoff_s=0.01))
        assert supervisor.wait("w", 20) == 0
        assert supervisor.restarts("w") == 0


def test_kill_stays_dead_unless_a_restart_is_wanted(tmp_path: Path) -> None:
    started: Queue[int | None] = Queue()
    with Supervisor(
        tmp_path, on_event=lambda e: started.put(e.pid) if e.what == "started" else None
    ) as supervisor:
        supervisor.start(python("w", WAIT, restart=True, backoff_s=0.01))
        first = started.get(timeout=10)
        supervisor.kill("w", restart=True)
        assert started.get(timeout=10) != first
        supervisor.kill("w")
        assert supervisor.pid("w") is None
        assert supervisor.wait("w", 0) == -signal.SIGKILL
        assert supervisor.restarts("w") == 1


def test_names_are_unique_and_known(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        supervisor.start(python("w", WAIT))
        with pytest.raises(SupervisorError, match=f"w already runs.*{supervisor.pid('w')}"):
            supervisor.start(python("w", WAIT))
        with pytest.raises(SupervisorError, match="no process named 'x'; there are: w"):
            supervisor.pid("x")
        with pytest.raises(ChildError, match="no-such-command"):
            supervisor.start(Command("x", ["no-such-command"]))
    with pytest.raises(SupervisorError, match="was stopped"):
        supervisor.start(python("w", WAIT))


def test_many_threads_start_and_stop(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:

        def one(name: str) -> None:
            supervisor.start(python(name, WAIT))
            supervisor.stop(name)

        threads = [threading.Thread(target=one, args=(f"w{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert supervisor.running() == []
        assert all(supervisor.exit_codes(f"w{i}") == [-signal.SIGTERM] for i in range(8))


OWNER = """
import sys
from pathlib import Path
from app.processes import StopRequestedError, Supervisor, stop_on_signals
sys.path.insert(0, sys.argv[1])
from test_supervisor import farewell
folder = Path(sys.argv[2])
try:
    with stop_on_signals(), Supervisor(folder) as supervisor:
        supervisor.start(farewell(folder, "first"))
        supervisor.start(farewell(folder, "second"))
        print("up", flush=True)
        sys.stdin.read()
except StopRequestedError as stop:
    sys.exit(stop.exit_code)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop_it_stops_children_in_reverse_order(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(Path(__file__).parent), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        os.killpg(owner.pid, number)  # as the terminal does, to the whole group
        assert owner.wait(20) == 128 + number
    assert (tmp_path / "said").read_text().split() == ["second", "first"]
