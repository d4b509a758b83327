"""Between Kafka messages and the core's records, with as little in between as possible.

quixstreams lets a topic say how its messages become rows and rows messages. Doing it here spares
its serializers, and hands the stage a whole `Record` with topic, partition and offset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quixstreams.models import MessageContext, Row, Topic
from quixstreams.models.messages import KafkaMessage

from app.kafka import read_headers
from models.records import deadletter
from topologies.core import Emission, Record
from topologies.core.record import DEAD_LETTERS

#: Called with topic, partition, the offset that was due, the offset that came.
OnJump = Callable[[str, int, int, int], None]

#: librdkafka takes 0 for "now", and Kafka no negative times.
_EARLIEST_MS = 1


class InputTopic(Topic):
    """Messages become rows whose value is the `Record`.

    Offsets that are missing are reported: one is a transaction's end, more may be records that
    retention deleted before they were read.
    """

    on_jump: OnJump | None = None

    def __init__(self, name: str) -> None:
        super().__init__(name, value_deserializer="bytes", key_deserializer="bytes")
        self._due: dict[int, int] = {}

    def forget(self, partition: int) -> None:
        """The partition is another worker's now."""
        self._due.pop(partition, None)

    def row_deserialize(self, message: Any) -> Row:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        due = self._due.get(partition, offset)
        if offset > due + 1 and self.on_jump is not None:
            self.on_jump(topic, partition, due, offset)
        self._due[partition] = offset + 1
        key = message.key()
        timestamp = message.timestamp()[1]
        record = Record(
            topic, partition, offset, timestamp, key, message.value(), read_headers(message)
        )
        # The row's key only prefixes the state; a record without a key touches none.
        return Row(
            value=record,
            key=key or b"",
            timestamp=max(timestamp, _EARLIEST_MS),
            context=MessageContext(topic=topic, partition=partition, offset=offset, size=0),
            headers=None,
        )


class OutputTopic(Topic):
    """Rows whose value is an `Emission` become messages."""

    def __init__(self, name: str) -> None:
        super().__init__(name, value_serializer="bytes", key_serializer="bytes")

    def row_serialize(self, row: Row, key: Any) -> KafkaMessage:
        emission: Any = row.value
        _, key, value, headers = emission
        return KafkaMessage(key=key, value=value, headers=headers)


def fitted(emission: Emission, limit: int) -> Emission:
    """The emission, or where it is a dead letter over ``limit`` bytes one without its bytes.

    Raises ValueError for another output over the limit, which the core had to refuse.
    """
    if emission.size <= limit:
        return emission
    if emission.output != DEAD_LETTERS:
        raise ValueError(f"output {emission.output!r} of {emission.size} bytes, at most {limit}")
    letter = deadletter.decode(emission.value)
    parts = {"key": letter.key, "value": letter.value}
    sizes = {name: len(part) for name, part in parts.items() if part is not None}
    sizes["headers"] = sum(len(name) + len(value) for name, value in letter.headers.items())
    left = ", ".join(f"{name} of {size} bytes" for name, size in sizes.items())
    short = deadletter.DeadLetter(
        topology=letter.topology,
        version=letter.version,
        step=letter.step,
        reason=letter.reason,
        error=f"{letter.error} (too large to be kept here: {left})",
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        timestamp_ms=letter.timestamp_ms,
        key=None,
        value=None,
        headers={},
    )
    return emission._replace(key=emission.key[:1024], value=deadletter.encode(short))
