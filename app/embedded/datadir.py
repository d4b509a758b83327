"""The folder that holds everything of an embedded stack: marker, lock, state, who runs it.

    .plantstream-data   marks the folder as ours; `fresh` clears no folder without it
    lock                held (flock) by the process that runs the stack; the kernel frees it
    state.json          ports and Kafka's cluster id, remembered between starts
    running.json        pid of the owner, its endpoints and children; removed by a clean stop
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import IO, Any

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.embedded.errors import StackError

_MARKER = ".plantstream-data"
_MARKER_TEXT = "A Plantstream data folder. `plantstream up --fresh` empties it.\n"
_LEFTOVER_TIMEOUT_S = 15.0


class Endpoints(BaseModel):
    """Where the services of a stack listen; None for a service that is not part of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka_bootstrap: str | None = None
    mongodb_uri: str | None = None
    mqtt_host: str | None = None
    mqtt_port: int | None = None

    def __str__(self) -> str:
        parts = {
            "Kafka": self.kafka_bootstrap,
            "MongoDB": self.mongodb_uri,
            "MQTT": self.mqtt_host and f"{self.mqtt_host}:{self.mqtt_port}",
        }
        return ", ".join(f"{name} {where}" for name, where in parts.items() if where)


class State(BaseModel):
    """What a folder remembers between starts."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(default=1, ge=1, le=1)
    ports: dict[str, int] = Field(default_factory=dict)
    kafka_cluster_id: str | None = None


class ProcessId(BaseModel):
    """A process, told apart from a later one with the same number by its start time."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process with this number, None if there is none."""
        try:
            return cls(pid=pid, started=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def find(self) -> psutil.Process | None:
        """The process, if it still lives."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            # A zombie has ended; who should reap it may never do so (process 1 of a container).
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class Running(BaseModel):
    """Who runs the stack of a folder, and where it listens."""

    model_config = ConfigDict(extra="forbid")

    owner: ProcessId
    endpoints: Endpoints
    children: list[ProcessId] = Field(default_factory=list)


class DataDir:
    """A stack's folder. `acquire` it before anything else; one process at a time holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self._lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        """Folder of the log files, one a process."""
        return self.path / "logs"

    def acquire(self, *, fresh: bool = False) -> None:
        """Create the folder if need be, and take its lock.

        With ``fresh`` everything in it is deleted. Raises `StackError` when the folder is not
        ours, or when another process runs a stack in it (naming its pid and endpoints). A lock
        left by a process that crashed is free: leftover children of it are ended first.
        """
        self._check_ours()
        self.path.mkdir(parents=True, exist_ok=True)
        lock = (self.path / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StackError(self._in_use()) from None
        self._lock = lock
        try:
            (self.path / _MARKER).write_text(_MARKER_TEXT)
            self._end_leftovers()
            if fresh:
                self._clear()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give the folder back. The lock file stays: deleting it would race with others."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _check_ours(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise StackError(f"{self.path} is a file; the data folder must be a folder")
        if not self.path.exists() or (self.path / _MARKER).is_file():
            return
        names = sorted(entry.name for entry in self.path.iterdir())
        if names and names != ["lock"]:
            raise StackError(
                f"{self.path} is not a Plantstream data folder (it holds {', '.join(names[:3])}"
                f"{', ...' if len(names) > 3 else ''} and no {_MARKER}): "
                "give an empty or a new folder"
            )

    def _in_use(self) -> str:
        running = read_running(self.path)
        if running is None:
            return f"another process is starting or stopping a stack in {self.path}: try again"
        return (
            f"a stack already runs in {self.path}: process {running.owner.pid}, "
            f"{running.endpoints}. Use it, stop it, or give another data folder"
        )

    def _end_leftovers(self) -> None:
        """End children of an owner that crashed; normally their guards have done it already."""
        try:
            text = (self.path / "running.json").read_text()
            children = Running.model_validate_json(text).children
        except (FileNotFoundError, ValidationError):
            children = []
        for child in _wait_gone(children):
            if (process := child.find()) is not None:
                process.kill()
        if left := _wait_gone(children):
            pids = ", ".join(str(child.pid) for child in left)
            raise StackError(f"processes left in {self.path} by a crash cannot be ended: {pids}")
        (self.path / "running.json").unlink(missing_ok=True)

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.name in (_MARKER, "lock"):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def read_state(self) -> State:
        """What is remembered; a new state if nothing is. Raises `StackError` when unreadable."""
        file = self.path / "state.json"
        try:
            return State.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return State()
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole file"
            raise StackError(
                f"{file} is damaged: {field}: {first['msg']}. Delete the file to choose new ports "
                "(Kafka's data is kept), or start with --fresh to begin anew"
            ) from None

    def write_state(self, state: State) -> None:
        """Remember the state; the file is replaced at once or not at all."""
        self._write("state.json", state)

    def write_running(self, running: Running) -> None:
        """Publish who runs the stack."""
        self._write("running.json", running)

    def clear_running(self) -> None:
        """Say that nobody runs the stack any more."""
        (self.path / "running.json").unlink(missing_ok=True)

    def _write(self, name: str, model: BaseModel) -> None:
        new = self.path / f"{name}.new"
        data: dict[str, Any] = model.model_dump(mode="json")
        with new.open("w") as file:
            file.write(json.dumps(data, indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / name)


def _wait_gone(children: list[ProcessId]) -> list[ProcessId]:
    """Wait a bounded time for processes that are not our children; those that still live."""
    deadline = time.monotonic() + _LEFTOVER_TIMEOUT_S
    while (left := [child for child in children if child.find()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def read_running(path: Path) -> Running | None:
    """Who runs the stack in this folder now; None if nobody does. Callable from any process."""
    try:
        running = Running.model_validate_json((path / "running.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    return running if running.owner.find() is not None else None
