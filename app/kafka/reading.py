"""Reading topics from here to there without a group: for commands that look at what is kept."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from app.kafka.clients import admin_client, consumer_options, describe
from app.kafka.settings import KafkaSettings
from app.kafka.topics import partition_counts
from models.errors import TransportError

#: Longest wait for the next record or the end of a partition.
_PATIENCE_S = 15.0


def committed_records(
    settings: KafkaSettings, topic: str, role: str, seen: Callable[[int], None] | None = None
) -> Iterator[Message]:
    """All committed records that a topic holds now; none where there is no such topic.

    ``seen`` hears how many records were read. Raises TransportError.
    """
    count = partition_counts(admin_client(settings, role), [topic]).get(topic, 0)
    with _consumer(settings, role) as consumer:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(count)])
        # A set: a partition says that it ends again after each record that comes meanwhile.
        ended: set[int | None] = set()
        while len(ended) < count:
            message = _next(consumer, topic)
            if message.error() is not None:
                ended.add(message.partition())
                continue
            if seen is not None:
                seen(1)
            yield message


def records_at(
    settings: KafkaSettings, places: Iterable[tuple[str, int, int]], role: str
) -> dict[tuple[str, int, int], Message]:
    """The records at (topic, partition, offset), as far as Kafka still has them.

    Raises TransportError.
    """
    found: dict[tuple[str, int, int], Message] = {}
    with _consumer(settings, role) as consumer:
        for place in places:
            topic, partition, offset = place
            try:
                at = TopicPartition(topic, partition, offset)
                low, high = consumer.get_watermark_offsets(at, _PATIENCE_S)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.code() in (
                    KafkaError.UNKNOWN_TOPIC_OR_PART,
                    KafkaError._UNKNOWN_PARTITION,
                    KafkaError._UNKNOWN_TOPIC,
                ):
                    continue
                raise TransportError(f"{topic}: {describe(reason)}") from error
            if not low <= offset < high:
                continue
            consumer.assign([at])
            message = _next(consumer, topic)
            if message.error() is None and message.offset() == offset:
                found[place] = message
    return found


def _next(consumer: Consumer, topic: str) -> Message:
    """The next record, or the end of a partition as a message with that error.

    Raises TransportError.
    """
    deadline = time.monotonic() + _PATIENCE_S
    why = "Kafka gives no records"
    while (left := deadline - time.monotonic()) > 0:
        # One at a time: `consume` of several waits for as many, past the end of a partition.
        message = consumer.poll(left)
        if message is None:
            continue
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return message
        if error.fatal() or not error.retriable():
            raise TransportError(f"{topic}: {describe(error)}")
        why = describe(error)
    raise TransportError(f"{topic}: {why} for {_PATIENCE_S:g} s")


@contextmanager
def _consumer(settings: KafkaSettings, role: str) -> Iterator[Consumer]:
    group = settings.group(f"{role}-{uuid.uuid4().hex[:12]}")
    options = consumer_options(settings, role, group, fetch_wait_max_ms=10)
    consumer = Consumer({**options, "enable.partition.eof": True})
    try:
        yield consumer
    finally:
        consumer.close()
