"""What goes into a stage's function and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from models.records import headers

#: Output name of records that could not be processed.
DEAD_LETTERS = "dead-letters"


class Record(NamedTuple):
    """One Kafka record, as the shells read it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]

    @property
    def event_id(self) -> bytes:
        """The connector's event id, or the record's address where it brought none."""
        given = self.headers.get(headers.EVENT_ID)
        return given or f"{self.topic}:{self.partition}:{self.offset}".encode()


class Emission(NamedTuple):
    """One record to write: ``output`` is the name of a declared output, or ``dead-letters``."""

    output: str
    key: bytes
    value: bytes
    headers: dict[str, bytes]
    #: Kafka's timestamp for it; None: that of the record it comes of.
    timestamp_ms: int | None = None

    @property
    def size(self) -> int:
        """Bytes that Kafka counts, to within its own framing."""
        head = sum(len(name) + len(value) + 8 for name, value in self.headers.items())
        return len(self.key) + len(self.value) + head + 80


class Result(NamedTuple):
    """The whole effect of one record beside its state writes."""

    emissions: list[Emission]
    #: What was counted: ``samples``, ``skipped.asset``, ``dead.malformed``, ``late`` …
    counts: dict[str, int]
