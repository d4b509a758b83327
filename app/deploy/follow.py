"""Following pauses while a worker runs: a thread that reads the topic of deployments."""

from __future__ import annotations

import logging
import threading
import uuid
from types import TracebackType

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from app.deploy.registry import Entries
from app.kafka import KafkaSettings, consumer_options, describe

LOG = logging.getLogger("plantstream.deploy")
_POLL_S = 0.2
_AGAIN_S = 5.0


class Follower:
    """Whether the workers of a topology are to hold still, as was said last.

    Without Kafka the last word stands.
    """

    def __init__(self, kafka: KafkaSettings, topology: str) -> None:
        self._kafka, self._topology = kafka, topology
        self._entries = Entries()
        self._stop = threading.Event()
        self._ready = threading.Event()
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
        """Returns once everything that was said so far is known."""
        self._thread.start()
        while not self._ready.wait(0.1) and self._thread.is_alive():
            pass
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except KafkaException as error:
                LOG.warning("deployments: %s; tries again", describe(error.args[0]))
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
                    self._ready.set()
                elif error.fatal() or not error.retriable():
                    raise KafkaException(error)
        finally:
            consumer.close()
