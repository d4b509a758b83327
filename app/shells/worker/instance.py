"""A folder for each worker's state, so that two workers on one machine never share one.

A worker holds its folder by a file lock, which the system lets go when the process ends, however
it ends: nothing stale is left behind by SIGKILL.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from pathlib import Path
from types import TracebackType

from models.errors import ConfigError, PlantstreamError

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
_MOST = 1000


class Instance:
    """``<data folder>/state/<topology>/<name>``, held from construction until `release`.

    Without a name the lowest free number is taken, so a worker that is started again finds its
    state again.
    """

    def __init__(self, data_dir: Path, topology: str, name: str | None = None) -> None:
        """Raises ConfigError for a bad name, PlantstreamError where the folder is in use."""
        if name is not None and not _NAME.match(name):
            raise ConfigError(
                "an instance name is up to 64 letters, digits, '.', '_' or '-'",
                field="instance",
                value=name,
            )
        parent = data_dir.expanduser().resolve() / "state" / topology
        for candidate in [name] if name is not None else map(str, range(_MOST)):
            folder = parent / candidate
            lock = _try_lock(folder)
            if lock is not None:
                self.name, self.folder, self._lock = candidate, folder, lock
                return
        taken = f"{parent / name}" if name is not None else f"every number in {parent}"
        raise PlantstreamError(
            f"another worker of {topology!r} runs as this instance ({taken} is in use);"
            " give this one an instance name of its own"
        )

    @property
    def state_dir(self) -> Path:
        """Where the state stores live; may be deleted between runs: changelogs restore it."""
        return self.folder / "rocksdb"

    @property
    def id(self) -> str:
        """Unlike any other worker's, and the same when this one is started again."""
        path = self.folder / "id"
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.write_text(uuid.uuid4().hex)
            fresh.replace(path)
        return path.read_text().strip()

    def belongs_to(self, epoch: str) -> None:
        """Forget local state of another epoch: the topology was reset since it was written.

        Changelogs restore what there is.
        """
        path = self.folder / "epoch"
        if not path.exists() or path.read_text().strip() != epoch:
            shutil.rmtree(self.state_dir, ignore_errors=True)
            fresh = path.with_suffix(".new")
            fresh.write_text(epoch)
            fresh.replace(path)

    def release(self) -> None:
        """Let another worker have the folder. Safe to repeat."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Instance:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _try_lock(folder: Path) -> int | None:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
