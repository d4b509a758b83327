"""Dead letters of a connector: records that Kafka would not take on their raw topic.

A letter takes the place of its record: same key, same way, and the source hears that its messages
are safe once Kafka has the letter. It holds the raw record as it would have landed, so that it
can be sent on when the topic takes records of its size; where even a dead letter cannot hold it,
its first bytes, and says so.
"""

from __future__ import annotations

import dataclasses

from app.kafka import KafkaSettings
from app.shells.connector_runner.records import Record
from models.records import deadletter, headers
from models.records.deadletter import DeadLetter

#: Header of a letter's record that holds the first bytes of one too large to be kept.
FIRST_BYTES = "first-bytes"
_FIRST = 64 * 1024
#: What Kafka adds to a record's bytes, at most, beside what its headers take.
_FRAMING = 1024
_PER_HEADER = 16


class Letters:
    """Makes the dead letters of one connector."""

    def __init__(self, name: str, topic: str, kafka: KafkaSettings) -> None:
        """``topic``: where its records should have landed."""
        self._name, self._from = name, topic
        self._topic = kafka.topics.dead_letters
        self._limit = kafka.max_message_bytes - _FRAMING
        self._letter_limit = kafka.max_dead_letter_bytes - _FRAMING

    def too_large(self, record: Record) -> bool:
        """Whether the raw topic refuses a record for its size."""
        return not record.topic and _size(record) > self._limit

    def replace(self, record: Record, reason: str, error: str) -> None:
        """Make a record its own dead letter; it is to be handed to Kafka again."""
        event_id = dict(record.headers)[headers.EVENT_ID]
        letter = DeadLetter(
            topology=f"connect/{self._name}",
            version=0,
            step="land",
            reason=reason,
            error=error[:2000],
            topic=self._from,
            partition=-1,
            offset=_place(event_id),
            timestamp_ms=record.timestamp,
            key=record.key.encode(),
            value=record.value,
            headers=dict(record.headers),
        )
        # base64 takes four bytes for three
        if 4 * _size(record) // 3 + _FRAMING > self._letter_limit:
            letter = _stripped(letter)
        record.topic = self._topic
        record.value = deadletter.encode(letter)
        record.headers = [
            (headers.SCHEMA, headers.DEAD_LETTER.header),
            (headers.CONTENT_TYPE, headers.JSON),
            (headers.EVENT_ID, event_id),
        ]
        if len(record.key) > _FIRST:
            record.key = record.key[:1024]


def _place(event_id: bytes) -> int:
    """What stands for the offset of a record that never had one: no other of the topic has it.

    The start of its session, ns, plus its number (one session makes no 10^9 records a second).
    """
    _, session, number = event_id.decode().rsplit(":", 2)
    return int(session, 36) + int(number)


def _stripped(letter: DeadLetter) -> DeadLetter:
    value, key = letter.value or b"", letter.key or b""
    kept = {name: each for name, each in letter.headers.items() if len(each) <= 1024}
    return dataclasses.replace(
        letter,
        error=f"{letter.error} (too large to be kept here: value of {len(value)} bytes, the first"
        f" {min(len(value), _FIRST)} are in its header {FIRST_BYTES!r})",
        key=key if len(key) <= _FIRST else None,
        value=None,
        headers={**kept, FIRST_BYTES: value[:_FIRST]},
    )


def _size(record: Record) -> int:
    more = sum(len(name) + len(value) + _PER_HEADER for name, value in record.headers)
    return len(record.value) + len(record.key.encode()) + more
