"""A tiny process between a parent and its child, so that the child cannot outlive the parent.

Run by file name with ``python -I -S``, standard library only, so that it starts in some 30 ms:

    guard.py FD GRACE_S COMMAND...

FD is a socket whose other end only the parent holds. When the parent ends, in whatever way, the
kernel closes that end and the guard reads end-of-file: it sends SIGTERM to the child's process
group, and SIGKILL after GRACE_S seconds. This needs nothing of the operating system beyond POSIX,
so it works on Linux and macOS alike; on Linux the child also asks to be killed if the guard dies.

The guard writes ``pid N`` (or ``error TEXT``) once, and obeys the bytes ``T`` (terminate, with
grace) and ``K`` (kill now). It ends as its child ended: with the same code, or by the same signal.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _die_with_guard() -> Callable[[], None] | None:
    """A hook for the child, run before exec, that ties its life to the guard's (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


class _Guard:
    """Watches one child and the line to the parent until the child is gone."""

    def __init__(self, line: socket.socket, grace_s: float, command: list[str]) -> None:
        self.line: socket.socket | None = line
        self.grace_s = grace_s
        self.asked_to_stop = False
        self.kill_at: float | None = None
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(self.wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: a handler is reset by exec, so the child starts with defaults.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.child = subprocess.Popen(
            command, start_new_session=True, preexec_fn=_die_with_guard()
        )

    def _on_stop_signal(self, *_: object) -> None:
        self.asked_to_stop = True

    def signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, number)

    def terminate(self) -> None:
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.grace_s
            self.signal_group(signal.SIGTERM)

    def read_line(self) -> None:
        """Obey the parent; the end of its line means that it is gone."""
        assert self.line is not None
        try:
            orders = self.line.recv(16)
        except OSError:
            orders = b""
        if not orders:
            self.line.close()
            self.line = None
            self.terminate()
        if b"T" in orders:
            self.terminate()
        if b"K" in orders:
            self.signal_group(signal.SIGKILL)

    def run(self) -> int:
        """Return the child's code, negative for a signal, once it and its group are gone."""
        while (code := self.child.poll()) is None:
            watched: list[int | socket.socket] = [self.wake_read]
            if self.line is not None:
                watched.append(self.line)
            left = None if self.kill_at is None else max(0.0, self.kill_at - time.monotonic())
            ready, _, _ = select.select(watched, [], [], left)
            if self.wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake_read, 512)
            if self.line is not None and self.line in ready:
                self.read_line()
            if self.asked_to_stop:
                self.terminate()
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                self.signal_group(signal.SIGKILL)
                self.kill_at = time.monotonic() + 1.0
        self.signal_group(signal.SIGKILL)  # what the child left behind in its group
        return code


def _end_like(code: int) -> None:
    """End this process as the child ended, without a core file of our own."""
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = -code
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def main(argv: list[str]) -> None:
    """Entry point; never returns."""
    line = socket.socket(fileno=int(argv[0]))
    try:
        guard = _Guard(line, float(argv[1]), argv[2:])
    except OSError as error:
        line.sendall(f"error {error}\n".encode())
        os._exit(127)
    try:
        line.sendall(f"pid {guard.child.pid}\n".encode())
    except OSError:
        guard.terminate()  # the parent went away while we started
    _end_like(guard.run())


if __name__ == "__main__":
    main(sys.argv[1:])
