"""The embedded document store: nx-27017, a MongoDB-wire server over SQLite."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from app.embedded.ports import HOST
from app.processes import Command

_READY_TIMEOUT_S = 30.0

# It ends within 0.1 s of SIGTERM, but now and then the exception by which it does is swallowed.
# Acknowledged writes survive SIGKILL, so there is no reason to wait longer.
_STOP_GRACE_S = 3.0

# At its INFO level it writes the documents of every command into the log.
#: Copies of documents are most of the store's work, and 64-bit integers most of a document: that
#: an integer never changes halves it.
_LAUNCH = """
import logging
from bson import Int64
Int64.__deepcopy__ = lambda self, memo: self
from nx_27017.nx_27017 import main
logging.disable(logging.INFO)
main()
"""


def uri(port: int) -> str:
    """Connection string of a store on this machine."""
    return f"mongodb://{HOST}:{port}/?directConnection=true"


def command(folder: Path, *, port: int) -> Command:
    """The command that serves the database in ``folder`` until it is stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    pid_file = folder / "pid"
    # Left by a killed store; if another process has that number now, the store would not start.
    pid_file.unlink(missing_ok=True)
    options = {
        "--host": HOST,
        "--port": str(port),
        "--db": str(folder / "store.db"),
        "--pid-file": str(pid_file),
        # It writes every line twice, here and to its output, which is our log already.
        "--log-file": os.devnull,
    }
    return Command(
        "store",
        [sys.executable, "-I", "-c", _LAUNCH, *(x for pair in options.items() for x in pair)],
        ready=lambda: answers(port),
        ready_timeout_s=_READY_TIMEOUT_S,
        grace_s=_STOP_GRACE_S,
    )


def answers(port: int) -> bool:
    """Whether the store answers a client's ping."""
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        with MongoClient[dict[str, object]](uri(port), serverSelectionTimeoutMS=500) as client:
            return bool(client.admin.command("ping").get("ok"))
    except PyMongoError:
        return False
