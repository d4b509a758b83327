"""Sending records back to where they came from, each once.

All of them and their marks are one transaction: either every record is back on its topic and marked
or none is. The transactional id belongs to the topology, so that of two people who redrive at the
same time the second takes over, reads the marks of the first, and the first is told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from app.kafka import KafkaSettings, admin_client, describe, producer_options
from app.kafka.topics import ensure_topics, partition_counts, redriven_topic
from app.redrive.letters import Letter, Mark, mark_key, read_marks
from app.shells.connector_runner.letters import FIRST_BYTES
from models.errors import ConfigError, PlantstreamError, TransportError
from models.records import headers

_TIMEOUT_S = 60.0
_ABORT_S = 10.0
_FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)


class Redriver:
    """Sends letters of one topology back; a context manager. Raises TransportError."""

    def __init__(self, kafka: KafkaSettings, topology: str) -> None:
        self._kafka, self._topology = kafka, topology
        admin = admin_client(kafka, "redrive")
        ensure_topics(admin, [redriven_topic(kafka)])
        self._admin = admin
        options = producer_options(
            kafka,
            f"redrive-{topology}",
            transactional_id=kafka.group(f"redrive-{topology}"),
            transaction_timeout_ms=int(_TIMEOUT_S * 1000),
        )
        self._refused: list[str] = []
        try:
            self._producer = Producer(options)
            self._producer.init_transactions(_TIMEOUT_S)
        except KafkaException as error:
            raise TransportError(f"Kafka: {describe(error.args[0])}") from error

    def __enter__(self) -> Redriver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            # An open transaction would hold up all who read these topics, until it times out.
            with suppress(KafkaException):
                self._producer.abort_transaction(_ABORT_S)
        del self._producer

    def unsent(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those that nobody has sent back until now. Nobody else can before `send` has ended."""
        marks = read_marks(self._kafka)
        return [x for x in letters if mark_key(x.dead.topology, x.address) not in marks]

    def send(self, letters: Sequence[Letter]) -> int:
        """Send them back and mark them, all or none; how many.

        Raises ConfigError where a topic is gone or a record is not whole, PlantstreamError where
        somebody else redrives the same topology, TransportError, which says so where it is unknown
        whether they were sent.
        """
        self._check(letters)
        marks = read_marks(self._kafka)
        producer = self._producer
        try:
            producer.begin_transaction()
            for letter in letters:
                self._produce(letter, marks)
            producer.flush(_TIMEOUT_S)
            if self._refused:
                producer.abort_transaction(_TIMEOUT_S)
                raise TransportError(f"nothing was sent: {'; '.join(self._refused)}")
            self._commit()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() in _FENCED:
                raise PlantstreamError(
                    f"nothing was sent: somebody else has begun to redrive {self._topology}"
                ) from error
            raise TransportError(f"nothing was sent: {describe(reason)}") from error
        return len(letters)

    def _commit(self) -> None:
        """Raises KafkaException where nothing was sent, TransportError where that is unknown."""
        deadline = time.monotonic() + _TIMEOUT_S
        asked_again = False
        while True:
            try:
                self._producer.commit_transaction(_TIMEOUT_S)
                return
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.retriable() and time.monotonic() < deadline:
                    asked_again = True
                    self._producer.poll(0.2)
                    continue
                refused = reason.txn_requires_abort() or reason.code() in _FENCED
                if refused and not asked_again:
                    raise
                raise TransportError(
                    f"it is unknown whether the records were sent ({describe(reason)}): look at the"
                    f" list, 'plantstream redrive {self._topology}', for what was sent back"
                ) from error

    def _check(self, letters: Sequence[Letter]) -> None:
        topics = {letter.dead.topic for letter in letters}
        counts = partition_counts(self._admin, topics)
        if gone := sorted(topics - counts.keys()):
            raise ConfigError(f"there is no topic {', '.join(gone)} any more")
        for letter in letters:
            letter.check_whole()
            if letter.dead.key is None and letter.dead.partition >= counts[letter.dead.topic]:
                raise ConfigError(f"{letter.address}: its partition is gone, and it has no key")

    def _produce(self, letter: Letter, marks: dict[bytes, Mark]) -> None:
        dead, name = letter.dead, mark_key(letter.dead.topology, letter.address)
        before = marks.get(name)
        mark = {"at": time.time_ns(), "times": before.times + 1 if before else 1}
        # Without a key nothing says where it belongs but the partition it was in (-1: any).
        where = {"partition": dead.partition} if dead.key is None else {}
        self._put(
            dead.topic,
            dead.value,
            dead.key,
            headers=redriven_headers(letter),
            timestamp=max(dead.timestamp_ms, 1),
            **where,
        )
        self._put(self._kafka.topics.redriven, orjson.dumps(mark), name)

    def _put(self, topic: str, value: bytes | None, key: bytes | None, **more: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered, **more)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self._refused.append(describe(error))


def redriven_headers(letter: Letter) -> list[tuple[str, str | bytes | None]]:
    """The record's own headers, its event id among them, and what says that it comes again.

    One that never landed is for all who read its topic.
    """
    given = {**letter.dead.headers}
    given.pop(FIRST_BYTES, None)
    given.setdefault(headers.EVENT_ID, letter.address.encode())
    given[headers.REDRIVES] = str(letter.redrives + 1).encode()
    given[headers.REDRIVE_OF] = letter.address.encode()
    if letter.landed:
        given[headers.REDRIVE_FOR] = letter.dead.topology.encode()
    return list(given.items())
