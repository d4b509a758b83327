"""Dead letters: a record that could not be processed, with its bytes, the reason and where."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import MalformedRecord
from models.records import columns


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Everything needed to understand a record that failed, and to send it through again."""

    #: Topology (or ``sink:<topology>``) that could not process it, and its version.
    topology: str
    version: int
    #: Where it failed: the step, or ``decode``, ``state``, ``output``, ``store``.
    step: str
    #: Short kind of the reason (:attr:`models.errors.RecordError.reason`) and the sentence.
    reason: str
    error: str
    #: Where it came from.
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")


def encode(letter: DeadLetter) -> bytes:
    """JSON of schema ``dead-letter/1``; bytes as base64, exactly as they were."""
    return columns.dumps(
        {
            "topology": letter.topology,
            "version": letter.version,
            "step": letter.step,
            "reason": letter.reason,
            "error": letter.error,
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "timestamp_ms": letter.timestamp_ms,
            "key": _text(letter.key),
            "value": _text(letter.value),
            "headers": {name: _text(value) for name, value in letter.headers.items()},
        }
    )


def _bytes(value: Any, name: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise MalformedRecord(f"dead letter: {name!r} is not base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise MalformedRecord(f"dead letter: {name!r} is not base64: {error}") from error


def decode(payload: bytes | None) -> DeadLetter:
    """Raises MalformedRecord with the reason."""
    what = "dead letter"
    record = columns.loads(payload, what)
    headers = columns.field(record, "headers", dict, what)
    return DeadLetter(
        topology=columns.field(record, "topology", str, what),
        version=columns.field(record, "version", int, what),
        step=columns.field(record, "step", str, what),
        reason=columns.field(record, "reason", str, what),
        error=columns.field(record, "error", str, what),
        topic=columns.field(record, "topic", str, what),
        partition=columns.field(record, "partition", int, what),
        offset=columns.field(record, "offset", int, what),
        timestamp_ms=columns.field(record, "timestamp_ms", int, what),
        key=_bytes(record.get("key"), "key"),
        value=_bytes(record.get("value"), "value"),
        headers={str(name): _bytes(value, name) or b"" for name, value in headers.items()},
    )
