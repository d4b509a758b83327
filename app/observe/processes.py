"""Every process says in ``<data_dir>/run`` that it runs, so that `status` and the demo find it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError


class Process(BaseModel):
    """One process of a site on this machine."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: worker, sink, connect, simulator, watchdog, up, demo …
    kind: str
    #: What it does it for: a topology, connectors, a simulator.
    name: str
    pid: int
    #: When it started, Unix time: tells it from a later process with the same number.
    started: float
    host: str = "127.0.0.1"
    #: Port of its /metrics, /live and /ready; None where it serves none.
    port: int | None = None
    #: Where it listens for its own work, if anywhere.
    endpoint: str = ""

    def url(self, page: str) -> str | None:
        """Address of one of its pages."""
        return None if self.port is None else f"http://{self.host}:{self.port}/{page}"

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 1.0
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


@contextmanager
def announced(
    data_dir: Path,
    kind: str,
    name: str,
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    endpoint: str = "",
) -> Iterator[Process]:
    """This process is in the run folder while the block runs."""
    process = Process(
        kind=kind,
        name=name,
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        host="127.0.0.1" if host in ("0.0.0.0", "::") else host,
        port=port,
        endpoint=endpoint,
    )
    folder = run_folder(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind}-{_plain(name)}-{process.pid}.json"
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(process.model_dump()) + "\n")
    fresh.replace(file)
    try:
        yield process
    finally:
        file.unlink(missing_ok=True)


def running(data_dir: Path) -> list[Process]:
    """All processes that run now, by kind and name. Files that a crash left are removed."""
    found = []
    for file in sorted(run_folder(data_dir).glob("*.json")):
        try:
            process = Process.model_validate_json(file.read_bytes())
        except (FileNotFoundError, ValidationError):
            continue
        if process.alive:
            found.append(process)
        else:
            file.unlink(missing_ok=True)
    return sorted(found, key=lambda process: (process.kind, process.name, process.pid))


def run_folder(data_dir: Path) -> Path:
    """Where the files are."""
    return data_dir.expanduser().resolve() / "run"


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._" else "-" for c in name)[:80] or "x"
