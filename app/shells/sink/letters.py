"""Dead letters of the sink: records that are no documents, documents the store does not take."""

from __future__ import annotations

import dataclasses
import threading
import time

from confluent_kafka import KafkaError, KafkaException, Producer

from app.kafka import KafkaSettings, describe, producer_options
from app.shells.sink.stats import SinkStats
from app.store import Source
from models.errors import TransportError
from models.records import deadletter, headers
from models.records.deadletter import DeadLetter

#: What Kafka adds to a record's bytes, at most.
_FRAMING = 1024
_POLL_S = 0.1


class Letters:
    """Writes dead letters; `settled` says when Kafka has them all."""

    def __init__(self, topology: str, version: int, kafka: KafkaSettings, stats: SinkStats) -> None:
        self._topology, self._version = f"sink:{topology}", version
        self._topic = kafka.topics.dead_letters
        self._limit = kafka.max_dead_letter_bytes - _FRAMING
        # An outage of Kafka is waited out; nothing is committed meanwhile.
        options = producer_options(kafka, f"sink-{topology}", message_timeout_ms=0)
        self._producer = Producer(options)
        self._failed: KafkaError | None = None
        self._stats = stats

    def send(self, source: Source, step: str, reason: str, error: str) -> None:
        """One dead letter, with the record's bytes unless Kafka would not take them."""
        letter = DeadLetter(
            topology=self._topology,
            version=self._version,
            step=step,
            reason=reason,
            error=error[:2000],
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            timestamp_ms=source.timestamp_ms,
            key=source.key,
            value=source.value,
            headers=source.headers,
        )
        key, value = source.key, deadletter.encode(letter)
        if len(value) + len(key or b"") > self._limit:
            size = len(source.value or b"")
            short = dataclasses.replace(
                letter,
                error=f"{letter.error} (its {size} bytes were left where they are)",
                key=None,
                value=None,
                headers={},
            )
            key, value = None, deadletter.encode(short)
        head: list[tuple[str, str | bytes | None]] = [
            (headers.SCHEMA, headers.DEAD_LETTER.header),
            (headers.CONTENT_TYPE, headers.JSON),
            (headers.EVENT_ID, f"{source.topic}:{source.partition}:{source.offset}".encode()),
        ]
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key, headers=head, on_delivery=self._delivered
                )
                break
            except BufferError:
                self._producer.poll(_POLL_S)
            except KafkaException as failure:
                raise TransportError(f"dead letters: {describe(failure.args[0])}") from failure
        self._stats.dead_letter(reason)

    def settled(self, stop: threading.Event, patience_s: float) -> bool:
        """Wait until Kafka has every letter; once ``stop`` is set at most ``patience_s``.

        False: it has not. Raises TransportError where it refused one.
        """
        deadline: float | None = None
        while self._producer.flush(_POLL_S):
            if stop.is_set():
                deadline = deadline or time.monotonic() + patience_s
                if time.monotonic() > deadline:
                    return False
        if self._failed is not None:
            raise TransportError(f"dead letters: {describe(self._failed)}")
        return True

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed = error
