"""Starts named commands, knows when they are ready, restarts those that crash, stops all in order.

Threads, no asyncio: one watcher thread a command. Every command runs under a guard
(`app.processes.guard`), so it ends with this process, however this process ends.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from app.processes.child import ChildError, GuardedChild

Ready = Callable[[], bool] | str
_READY_POLL_S = 0.05
_HTTP_TIMEOUT_S = 2.0
_LOG_TAIL_BYTES = 4000


class SupervisorError(Exception):
    """A name that is unknown or taken, or a supervisor already stopped."""


class NotReadyError(SupervisorError):
    """A command ended, or stayed silent too long, before it was ready. Carries its last output."""


@dataclass(frozen=True)
class Command:
    """What to start. ``env`` is laid over this process's environment.

    ``ready`` is a function that returns True, or the URL of a ``/ready`` page that answers 200;
    None means ready as soon as it runs. Restarts wait ``backoff_s``, doubled each time up to
    ``backoff_max_s``, and start over after ``steady_s`` seconds without a crash. A command that
    ends with code 0 is done, and is not restarted.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    ready: Ready | None = None
    ready_timeout_s: float = 30.0
    restart: bool = False
    max_restarts: int | None = None
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    steady_s: float = 60.0
    grace_s: float = 10.0


@dataclass(frozen=True)
class Event:
    """Something that happened to a command. ``code`` only with ``exited`` (negative: a signal)."""

    name: str
    what: Literal["started", "ready", "exited", "restarting", "gave up"]
    pid: int | None = None
    code: int | None = None


@dataclass
class _Entry:
    command: Command
    child: GuardedChild
    started: float
    exit_codes: list[int] = field(default_factory=list)
    restarts: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    watcher: threading.Thread | None = None


class Supervisor:
    """Owner of a set of named commands; logs go to ``log_dir/NAME.log``. Thread-safe.

    A context manager: leaving it stops everything in reverse order of starting.
    """

    def __init__(
        self, log_dir: Path, *, on_event: Callable[[Event], None] | None = None
    ) -> None:
        self.log_dir = log_dir
        self._on_event = on_event
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.RLock()
        self._closed = False

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def log_path(self, name: str) -> Path:
        """Where the output of ``name`` is written."""
        return self.log_dir / f"{name}.log"

    def log_tail(self, name: str) -> str:
        """The last lines a command wrote, for error messages."""
        try:
            with self.log_path(name).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _LOG_TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def start(self, command: Command, *, wait: bool = True) -> None:
        """Start a command and, unless ``wait`` is False, wait until it is ready.

        A name may be started again once its earlier run is over. Raises `NotReadyError` (the
        command is stopped then), `SupervisorError` for a name that still runs, or
        `app.processes.child.ChildError` when it cannot be started at all.
        """
        with self._lock:
            if self._closed:
                raise SupervisorError("this supervisor was stopped: make a new one")
            old = self._entries.get(command.name)
            if old is not None and not old.over.is_set():
                raise SupervisorError(f"{command.name} already runs (pid {old.child.pid})")
            entry = _Entry(command, self._spawn(command), time.monotonic())
            self._entries.pop(command.name, None)  # so that it stops in its new place
            self._entries[command.name] = entry
            entry.watcher = threading.Thread(
                target=self._watch, args=(entry,), name=f"watch-{command.name}", daemon=True
            )
            entry.watcher.start()
        self._tell(Event(command.name, "started", entry.child.pid))
        if wait:
            self.wait_ready(command.name)

    def wait_ready(self, name: str) -> None:
        """Wait for the readiness a command declared; see `start` for the errors."""
        entry = self._entry(name)
        deadline = time.monotonic() + entry.command.ready_timeout_s
        while not _is_ready(entry.command.ready):
            if entry.over.is_set():
                raise NotReadyError(
                    f"{name} ended with code {entry.exit_codes[-1]} before it was ready; "
                    f"log {self.log_path(name)} ends:\n{self.log_tail(name)}"
                )
            if time.monotonic() > deadline:
                self.stop(name)
                raise NotReadyError(
                    f"{name} was not ready within {entry.command.ready_timeout_s:g} s; "
                    f"log {self.log_path(name)} ends:\n{self.log_tail(name)}"
                )
            entry.over.wait(_READY_POLL_S)
        self._tell(Event(name, "ready", entry.child.pid))

    def stop(self, name: str | None = None) -> None:
        """End one command, or all in reverse order: SIGTERM, and SIGKILL after its grace."""
        if name is not None:
            self._end(self._entry(name), lambda child: child.terminate())
            return
        with self._lock:
            self._closed = True
            entries = list(self._entries.values())
        for entry in entries:
            entry.stopping.set()  # no restarts while the others are being stopped
        for entry in reversed(entries):
            self._end(entry, lambda child: child.terminate())

    def kill(self, name: str, *, restart: bool = False) -> None:
        """SIGKILL a command and wait for its end.

        With ``restart`` it counts as a crash: a command that asks for restarts comes back.
        """
        entry = self._entry(name)
        if not restart:
            self._end(entry, lambda child: child.kill())
            return
        with self._lock:
            child = entry.child
        child.kill()
        child.wait()

    def pid(self, name: str) -> int | None:
        """Process id of the command itself; None when it does not run."""
        entry = self._entry(name)
        with self._lock:
            return entry.child.pid if entry.child.poll() is None else None

    def running(self) -> list[str]:
        """Names of the commands that run now, in order of starting."""
        with self._lock:
            return [n for n, e in self._entries.items() if e.child.poll() is None]

    def exit_codes(self, name: str) -> list[int]:
        """Codes of all ended runs of ``name``, oldest first; negative means a signal."""
        return list(self._entry(name).exit_codes)

    def restarts(self, name: str) -> int:
        """How often ``name`` was restarted after a crash."""
        return self._entry(name).restarts

    def wait(self, name: str, timeout_s: float | None = None) -> int | None:
        """Wait until ``name`` is over for good; its last code, or None after ``timeout_s``."""
        entry = self._entry(name)
        return entry.exit_codes[-1] if entry.over.wait(timeout_s) else None

    def _entry(self, name: str) -> _Entry:
        with self._lock:
            if name not in self._entries:
                known = ", ".join(self._entries) or "none"
                raise SupervisorError(f"no process named {name!r}; there are: {known}")
            return self._entries[name]

    def _spawn(self, command: Command) -> GuardedChild:
        return GuardedChild(
            command.argv,
            log=self.log_path(command.name),
            env=command.env,
            cwd=command.cwd,
            grace_s=command.grace_s,
        )

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _end(self, entry: _Entry, how: Callable[[GuardedChild], None]) -> None:
        entry.stopping.set()
        with self._lock:
            child = entry.child
        how(child)
        if child.wait(child.grace_s + 5.0) is None:
            child.kill()
            child.wait()
        entry.over.wait()

    def _watch(self, entry: _Entry) -> None:
        try:
            self._follow(entry)
        finally:
            entry.over.set()

    def _follow(self, entry: _Entry) -> None:
        command = entry.command
        backoff = command.backoff_s
        while True:
            code = entry.child.wait()
            assert code is not None
            entry.exit_codes.append(code)
            self._tell(Event(command.name, "exited", entry.child.pid, code))
            wanted = command.restart and code != 0 and not entry.stopping.is_set()
            if wanted and command.max_restarts is not None:
                wanted = entry.restarts < command.max_restarts
                if not wanted:
                    self._tell(Event(command.name, "gave up"))
            if not wanted:
                break
            if time.monotonic() - entry.started > command.steady_s:
                backoff = command.backoff_s
            self._tell(Event(command.name, "restarting"))
            if entry.stopping.wait(backoff):
                break
            backoff = min(backoff * 2, command.backoff_max_s)
            with self._lock:
                if entry.stopping.is_set():
                    break
                try:
                    entry.child = self._spawn(command)
                except ChildError:
                    self._tell(Event(command.name, "gave up"))
                    break
                entry.started = time.monotonic()
                entry.restarts += 1
            self._tell(Event(command.name, "started", entry.child.pid))


def _is_ready(ready: Ready | None) -> bool:
    if ready is None:
        return True
    if callable(ready):
        return ready()
    try:
        with urllib.request.urlopen(ready, timeout=_HTTP_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return False
