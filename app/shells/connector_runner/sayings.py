"""What a connector says of itself on the ``connectors`` topic: of each key the newest word counts.

While a word of a key is on its way the next ones wait, and replace one another: nothing piles up
while Kafka is away. What Kafka refuses is logged and counted; it is said again, newer, soon.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException

from app.kafka import describe, error_name
from app.shells.connector_runner.stats import ConnectorStats

LOG = logging.getLogger("plantstream.connector")

_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
Headers = list[tuple[str, bytes]]


class Produce(Protocol):
    """Hands a record to the Kafka client of the moment."""

    def __call__(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Headers,
        on_delivery: Callable[[KafkaError | None, object], None],
    ) -> None:
        """Raises BufferError, KafkaException."""


class Sayings:
    """Words by key. All methods are called in the runner's loop."""

    def __init__(
        self,
        topic: str,
        stats: ConnectorStats,
        produce: Produce,
        later: Callable[..., None],
        on_said: Callable[[], None],
    ) -> None:
        self._topic, self._stats = topic, stats
        self._produce, self._later, self._on_said = produce, later, on_said
        #: What marks the word of a key that is on its way.
        self._under_way: dict[str, object] = {}
        self._next: dict[str, tuple[bytes | None, Headers]] = {}
        self._final = False
        self._last_reason = ""

    def say(self, key: str, value: bytes | None, headers: Headers) -> None:
        """Say something, or once the last word of this key has arrived. None deletes."""
        if key in self._under_way and not self._final:
            self._next[key] = (value, headers)
            return
        mark = self._under_way[key] = object()

        def done(error: KafkaError | None, message: object) -> None:
            """In the polling thread, perhaps before `produce` returns."""
            self._later(self._said, key, mark, error)

        try:
            self._produce(self._topic, key.encode(), value, headers, done)
        except (BufferError, KafkaException) as error:
            del self._under_way[key]
            self._refused(key, value, str(error), error_name(error))

    def _said(self, key: str, mark: object, error: KafkaError | None) -> None:
        if error is None:
            self._last_reason = ""
            self._on_said()
        elif error.code() not in _PURGED:
            self._refused(key, None, describe(error), error.name())
        if self._under_way.get(key) is mark:
            del self._under_way[key]
            self._say_next(key)

    def _say_next(self, key: str) -> None:
        if key in self._next:
            self.say(key, *self._next.pop(key))

    def _refused(self, key: str, value: bytes | None, error: str, reason: str) -> None:
        self._stats.error("status", reason)
        if reason != self._last_reason:
            size = "" if value is None else f" of {len(value)} bytes"
            LOG.warning(
                "%s: Kafka does not take its status %r%s on topic %s: %s; a watchdog may take it"
                " for dead", self._stats.name, key, size, self._topic, error,
            )  # fmt: skip
        self._last_reason = reason

    def begin_anew(self) -> None:
        """The client is another one: what was on its way with the old one is not any more."""
        self._under_way.clear()
        for key in list(self._next):
            self._say_next(key)

    def finish(self) -> None:
        """From now on nothing waits, and nothing that waited is said any more: the last words."""
        self._final = True
        self._next.clear()
