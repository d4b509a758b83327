"""What a connector says of itself on the compacted ``connectors`` topic, keyed by its name."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from models.errors import MalformedRecord
from models.records import headers

#: Most of what a status holds, so that Kafka takes it whatever there is to say.
_ASSETS, _PROBLEMS, _LETTERS = 100, 20, 500

#: Connecting, connected, ended in order, or found dead by a watchdog.
StatusState = Literal["disconnected", "connected", "stopped", "dead"]

HEADERS = [
    (headers.SCHEMA, headers.CONNECTOR_STATUS.header),
    (headers.CONTENT_TYPE, headers.JSON),
]


class ConnectorStatus(BaseModel):
    """Schema ``connector-status/1``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1)
    kind: str
    session: str
    #: The raw topic it lands on.
    topic: str
    #: The first of its assets, in order, and how many there are; all of them are on pages.
    assets: tuple[str, ...]
    known: int = 0
    state: StatusState
    #: How often it says so, ns.
    interval: int = Field(gt=0)
    #: When it said so, ns since 1970.
    t: int
    #: Why it is not connected, and what a person should look at.
    reason: str = ""
    problems: tuple[str, ...] = ()


def encode(status: ConnectorStatus) -> bytes:
    """JSON of at most 0.4 MB: long lists are cut, and say so."""
    problems = [_cut(each) for each in status.problems[:_PROBLEMS]]
    if more := len(status.problems) - len(problems):
        problems.append(f"… and {more} more")
    short = {
        "assets": status.assets[:_ASSETS],
        "problems": tuple(problems),
        "reason": _cut(status.reason),
    }
    return status.model_copy(update=short).model_dump_json().encode()


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"


def decode(value: bytes | None) -> ConnectorStatus:
    """Raises MalformedRecord with the reason."""
    try:
        return ConnectorStatus.model_validate_json(value or b"")
    except pydantic.ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        raise MalformedRecord(f"connector-status: {place}: {found['msg']}") from None
