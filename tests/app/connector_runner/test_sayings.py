"""Publishing of a connector's status: the watchdog lives on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from app.shells.connector_runner.sayings import Headers, Sayings
from app.shells.connector_runner.stats import ConnectorStats

Done = Callable[[KafkaError | None, object], None]


class Kafka:
    """What `Sayings` sees of a client: takes words, and reports on them when told to."""

    def __init__(self) -> None:
        self.words: list[tuple[str, bytes | None]] = []
        self.waiting: list[Done] = []
        self.refuses: Exception | None = None
        self.stats = ConnectorStats("a", "mqtt")
        self.sayings = Sayings(
            "connectors", self.stats, self.produce, lambda what, *args: what(*args), lambda: None
        )

    def produce(
        self, topic: str, key: bytes, value: bytes | None, headers: Headers, on_delivery: Done
    ) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.words.append((key.decode(), value))
        self.waiting.append(on_delivery)

    def say(self, value: bytes, key: str = "a") -> None:
        self.sayings.say(key, value, [])

    def delivered(self, error: KafkaError | None = None) -> None:
        self.waiting.pop(0)(error, None)

    @property
    def values(self) -> list[bytes | None]:
        return [value for _, value in self.words]


def test_nothing_piles_up_and_the_newest_word_comes_next() -> None:
    kafka = Kafka()
    for value in (b"1", b"2", b"3"):
        kafka.say(value)
    kafka.say(b"other", "b")
    assert kafka.words == [("a", b"1"), ("b", b"other")]
    kafka.delivered()
    assert kafka.values == [b"1", b"other", b"3"]
    kafka.delivered()
    kafka.delivered()
    kafka.say(b"4")
    assert kafka.values[-1] == b"4"


def test_a_delivery_quicker_than_produce_does_not_silence_the_connector() -> None:
    kafka = Kafka()

    def produce(*arguments: Any, **_: Any) -> None:
        kafka.words.append(("a", arguments[2]))
        arguments[4](None, None)  # as the polling thread may do before `produce` returns

    sayings = Sayings(
        "connectors", kafka.stats, produce, lambda what, *args: what(*args), lambda: None
    )
    sayings.say("a", b"one", [])
    sayings.say("a", b"two", [])
    assert kafka.values == [b"one", b"two"]


def test_the_last_word_waits_for_none_and_is_the_last() -> None:
    """`stopped` must be said even where a status is on its way; a watchdog waits for it."""
    kafka = Kafka()
    kafka.say(b"connected")
    kafka.say(b"connected still")
    kafka.sayings.finish()
    kafka.say(b"stopped")
    assert kafka.values == [b"connected", b"stopped"]
    kafka.delivered()
    kafka.delivered()
    assert kafka.values == [b"connected", b"stopped"]


def test_a_new_client_says_what_waited() -> None:
    kafka = Kafka()
    kafka.say(b"1")
    kafka.say(b"2")
    kafka.sayings.begin_anew()
    assert kafka.values == [b"1", b"2"]
    kafka.delivered(KafkaError(KafkaError._PURGE_QUEUE))  # of the old client: no news
    kafka.say(b"3")
    assert kafka.values == [b"1", b"2"]
    kafka.delivered()
    assert kafka.values == [b"1", b"2", b"3"]
    assert kafka.stats.errors == {}


@pytest.mark.parametrize("at_once", [True, False])
def test_refusals_are_counted_logged_once_and_silence_nobody(
    at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "plantstream.connector")
    kafka, error = Kafka(), KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    for _ in range(2):
        if at_once:
            kafka.refuses = KafkaException(error)
            kafka.say(b"x" * 10)
        else:
            kafka.say(b"x" * 10)
            kafka.delivered(error)
    kafka.refuses = None
    assert kafka.stats.errors == {("status", "MSG_SIZE_TOO_LARGE"): 2}
    [said] = [record.getMessage() for record in caplog.records]
    assert "does not take its status 'a'" in said
    kafka.say(b"small")
    assert kafka.values[-1] == b"small"
