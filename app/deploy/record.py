"""What is written down of a deployment and of a pause: who, when, and what."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import MalformedRecord
from topologies.core.declaration import Declaration

#: Keys of the topic: ``<kind>:<topology>``.
DEPLOYMENT, PAUSE = "deployment", "pause"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    #: ``user@host``.
    by: str
    #: When, ns.
    at: int

    def encode(self) -> bytes:
        """JSON."""
        return self.model_dump_json().encode()

    @property
    def said(self) -> str:
        """``by user@host at 2026-01-31 12:00:00 UTC``."""
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self.at / 1e9))
        return f"by {self.by} at {when} UTC"


class Deployment(_Entry):
    """What the workers of a topology were last started with."""

    declaration: Declaration
    #: Version of the code.
    code: str
    #: Partitions of each input's topic.
    partitions: dict[str, int] = Field(default_factory=dict)
    #: Steps that may begin anew on partitions that were not taken over yet (``--accept-reset``).
    accepted: tuple[str, ...] = ()
    #: Another one after every reset: local state of an earlier one is of no use.
    epoch: str = ""

    def same_as(self, other: Deployment) -> bool:
        """Whether both say the same, whoever said it when."""
        return self.model_dump(exclude={"by", "at"}) == other.model_dump(exclude={"by", "at"})


class Pause(_Entry):
    """The workers of a topology hold still."""


def who() -> str:
    """``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def now() -> int:
    """ns since 1970 UTC."""
    return time.time_ns()


def deployment(
    declaration: Declaration,
    partitions: Mapping[str, int],
    accepted: frozenset[str],
    code: str,
    epoch: str,
) -> Deployment:
    """A deployment by this process, now."""
    return Deployment(
        by=who(),
        at=now(),
        declaration=declaration,
        code=code,
        partitions=dict(sorted(partitions.items())),
        accepted=tuple(sorted(accepted)),
        epoch=epoch,
    )


def decode(kind: str, value: bytes) -> Deployment | Pause:
    """A record's value by the kind its key names. Raises MalformedRecord."""
    try:
        if kind == DEPLOYMENT:
            return Deployment.model_validate_json(value)
        if kind == PAUSE:
            return Pause.model_validate_json(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise MalformedRecord(f"{kind}: {field}: {first['msg']}") from error
    raise MalformedRecord(f"no such kind of entry: {kind!r}")
