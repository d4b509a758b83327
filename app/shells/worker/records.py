"""Between Kafka messages and the core's records, with as little in between as possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.kafka import read_headers
from models.records import deadletter
from topologies.core import Emission, Record
from topologies.core.record import DEAD_LETTERS

#: Called with topic, partition, the offset that was due, the offset that came.
OnJump = Callable[[str, int, int, int], None]


class Reception:
    """Kafka messages become records.

    Offsets that are missing are reported: one is a transaction's end, more may be records that
    retention deleted before they were read.
    """

    def __init__(self, on_jump: OnJump) -> None:
        self._on_jump = on_jump
        self._due: dict[tuple[str, int], int] = {}

    def record(self, message: Any) -> Record:
        """The record of a message without an error."""
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        place = (topic, partition)
        due = self._due.get(place, offset)
        if offset > due + 1:
            self._on_jump(topic, partition, due, offset)
        self._due[place] = offset + 1
        return Record(
            topic,
            partition,
            offset,
            message.timestamp()[1],
            message.key(),
            message.value(),
            read_headers(message),
        )

    def expect(self, topic: str, partition: int, offset: int) -> None:
        """The group's committed offset, from which a partition is read."""
        self._due[topic, partition] = offset

    def forget(self, topic: str, partition: int) -> None:
        """The partition is another worker's now."""
        self._due.pop((topic, partition), None)


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
