"""What a connector says of itself on the compacted ``connectors`` topic, keyed by its name."""

from __future__ import annotations

from typing import Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from models.errors import MalformedRecord
from models.records import headers

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
    assets: tuple[str, ...]
    state: StatusState
    #: How often it says so, ns.
    interval: int = Field(gt=0)
    #: When it said so, ns since 1970.
    t: int
    #: Why it is not connected, and what a person should look at.
    reason: str = ""
    problems: tuple[str, ...] = ()


def encode(status: ConnectorStatus) -> bytes:
    """JSON."""
    return status.model_dump_json().encode()


def decode(value: bytes | None) -> ConnectorStatus:
    """Raises MalformedRecord with the reason."""
    try:
        return ConnectorStatus.model_validate_json(value or b"")
    except pydantic.ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        raise MalformedRecord(f"connector-status: {place}: {found['msg']}") from None
