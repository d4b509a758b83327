"""A guarded child ends with its parent, however the parent ends, and ends as itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.processes import ChildError, GuardedChild

# Starts a child that starts a grandchild; both print their pids and ignore SIGTERM if asked.
FAMILY = """
import os, signal, subprocess, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
if "child" in sys.argv:
    subprocess.run([sys.executable, "-c", sys.argv[1], *sys.argv[1:2], *sys.argv[3:]])
else:
    signal.pause()
"""

PARENT = """
import sys, time
from pathlib import Path
from app.processes import GuardedChild
log = Path(sys.argv[1])
child = GuardedChild(sys.argv[2:], log=log, grace_s=1.0)
while len(log.read_text().split()) < 2:
    time.sleep(0.01)
print(child.pid, child.guard_pid, flush=True)
sys.stdin.read()
"""


def family(*words: str) -> list[str]:
    return [sys.executable, "-c", FAMILY, FAMILY, *words]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("manners", ["polite", "stubborn"])
def test_nothing_outlives_the_parent(tmp_path: Path, number: signal.Signals, manners: str) -> None:
    log = tmp_path / "child.log"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log), *family("child", manners)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        pids += [int(word) for word in log.read_text().split()]
        assert len(set(pids)) == 3  # child, guard, grandchild; the log has the child again
        processes = [psutil.Process(pid) for pid in set(pids)]
        parent.send_signal(number)
        parent.wait(10)
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert alive == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(0)", 0),
        ("import sys; sys.exit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.abort()", -6),
    ],
)
def test_exit_code_is_the_childs(tmp_path: Path, code: str, expected: int) -> None:
    child = GuardedChild([sys.executable, "-c", code], log=tmp_path / "log")
    assert child.wait(10) == expected


def test_killing_the_child_by_its_pid_is_seen(tmp_path: Path) -> None:
    child = GuardedChild(family(), log=tmp_path / "log")
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL


def test_stubborn_child_is_killed_after_its_grace(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = GuardedChild(family("stubborn"), log=log, grace_s=0.3)
    while not log.read_text():
        assert child.wait(0.01) is None
    child.terminate()
    assert child.wait(10) == -signal.SIGKILL


def test_unknown_command_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="no-such-command"):
        GuardedChild(["no-such-command"], log=tmp_path / "log")


def test_output_is_appended_and_a_large_log_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "child.log"
    for word in ("one", "two"):
        GuardedChild([sys.executable, "-c", f"print({word!r})"], log=log).wait(10)
    assert log.read_text() == "one\ntwo\n"
    with log.open("r+b") as file:
        file.truncate(17 << 20)
    GuardedChild([sys.executable, "-c", "print('three')"], log=log).wait(10)
    assert log.read_text() == "three\n"
    assert log.with_name("child.log.1").stat().st_size == 17 << 20


def test_environment_is_laid_over_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTSTREAM_TEST_OUTER", "outer")
    log = tmp_path / "log"
    code = "import os; print(os.environ['PLANTSTREAM_TEST_OUTER'], os.environ['INNER'])"
    GuardedChild([sys.executable, "-c", code], log=log, env={"INNER": "inner"}).wait(10)
    assert log.read_text() == "outer inner\n"
