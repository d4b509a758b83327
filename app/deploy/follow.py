"""Following pauses while a worker runs: a thread that reads the topic of deployments."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from types import TracebackType

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from app.deploy.registry import Entries
from app.kafka import KafkaSettings, consumer_options, describe
from models.errors import TransportError

LOG = logging.getLogger("plantstream.deploy")
_POLL_S = 0.2
_AGAIN_S = 5.0
#: Longest wait at the start for what was said so far.
_PATIENCE_S = 30.0


class Follower:
    """Whether the workers of a topology are to hold still, as was said last.

    Without Kafka the last word stands.
    """

    def __init__(self, kafka: KafkaSettings, topology: str) -> None:
        self._kafka, self._topology = kafka, topology
        self._entries = Entries()
        self._stop = threading.Event()
        self._ready = threading.Event()
        #: What went wrong, logged once, until it goes well again.
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="deployments", daemon=True)

    @property
    def paused(self) -> bool:
        """Whether to hold still."""
        return self._topology in self._entries.pauses

    @property
    def said(self) -> str:
        """Who paused it and when; empty where nobody did."""
        pause = self._entries.pauses.get(self._topology)
        return pause.said if pause is not None else ""

    def __enter__(self) -> Follower:
        """Returns once everything that was said so far is known. Raises TransportError."""
        self._thread.start()
        deadline = time.monotonic() + _PATIENCE_S
        try:
            while not self._ready.wait(0.1):
                if time.monotonic() > deadline:
                    topic, why = self._kafka.topics.deployments, self._trouble or "no answer"
                    raise TransportError(f"cannot read {topic} for {_PATIENCE_S:g} s: {why}")
        except BaseException:
            self._end()  # __exit__ is not called for who never entered
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except Exception as error:
                # Whatever it is, such as no file left to open: who does not follow never pauses.
                known = isinstance(error, KafkaException)
                trouble = describe(error.args[0]) if known else f"{type(error).__name__}: {error}"
                if trouble != self._trouble:
                    LOG.warning("deployments: %s; tries again", trouble)
                self._trouble = trouble
            self._stop.wait(_AGAIN_S)

    def _follow(self) -> None:
        group = self._kafka.group(f"deployments-{uuid.uuid4().hex[:12]}")
        options = consumer_options(self._kafka, "deployments", group)
        consumer = Consumer({**options, "enable.partition.eof": True})
        entries = Entries()
        try:
            consumer.assign([TopicPartition(self._kafka.topics.deployments, 0, 0)])
            while not self._stop.is_set():
                message = consumer.poll(_POLL_S)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    entries.take(message.key(), message.value())
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._entries = entries
                    self._trouble = ""
                    self._ready.set()
                elif error.fatal() or not error.retriable():
                    raise KafkaException(error)
        finally:
            consumer.close()
