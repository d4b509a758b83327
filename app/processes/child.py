"""Start a command under its guard, and talk to it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_GUARD = Path(__file__).with_name("guard.py")
_SPAWN_TIMEOUT_S = 30.0
_LOG_ROTATE_BYTES = 16 << 20


class ChildError(Exception):
    """A command could not be started."""


def rotate_log(path: Path, limit: int = _LOG_ROTATE_BYTES) -> None:
    """Move a log larger than ``limit`` bytes to ``NAME.1``, overwriting an older one."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > limit:
            path.replace(path.with_name(path.name + ".1"))


class GuardedChild:
    """A running command that ends when this process ends, even by SIGKILL.

    ``pid`` is the command's own process id, not the guard's. Output of both goes to ``log``.
    Methods may be called from any thread. Raises `ChildError` when the command cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace_s: float = 10.0,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        rotate_log(log)
        ours, theirs = socket.socketpair()
        self._line: socket.socket | None = ours
        self._lock = threading.Lock()
        self.grace_s = grace_s
        with theirs, log.open("ab") as output:
            # A session of its own: Ctrl-C on the terminal reaches us, and we stop in order.
            guard = [sys.executable, "-I", "-S", str(_GUARD), str(theirs.fileno()), str(grace_s)]
            self._guard = subprocess.Popen(
                [*guard, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if env is None else {**os.environ, **env},
                cwd=cwd,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.pid = self._read_pid(argv)

    def _read_pid(self, argv: Sequence[str]) -> int:
        assert self._line is not None
        self._line.settimeout(_SPAWN_TIMEOUT_S)
        answer = b""
        try:
            while not answer.endswith(b"\n"):
                part = self._line.recv(256)
                if not part:
                    break
                answer += part
        except TimeoutError:
            pass
        self._line.settimeout(None)
        word, _, rest = answer.decode(errors="replace").strip().partition(" ")
        if word != "pid":
            self._hang_up()
            self._guard.kill()
            self._guard.wait()
            raise ChildError(f"cannot start {argv[0]}: {rest or 'its guard did not answer'}")
        return int(rest)

    @property
    def guard_pid(self) -> int:
        """Process id of the guard, for those who check that nothing is left."""
        return self._guard.pid

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._guard.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the end; None when it still runs after ``timeout_s``."""
        try:
            code = self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._hang_up()
        return code

    def terminate(self) -> None:
        """Ask the command to end; it is killed when ``grace_s`` seconds have passed."""
        self._order(b"T")

    def kill(self) -> None:
        """SIGKILL to the command and everything in its process group."""
        self._order(b"K")

    def _order(self, order: bytes) -> None:
        with self._lock:
            if self._line is not None:
                with contextlib.suppress(OSError):
                    self._line.sendall(order)

    def _hang_up(self) -> None:
        with self._lock:
            if self._line is not None:
                self._line.close()
                self._line = None
