"""The end of a transaction, as Kafka may answer: a producer that says what a broker seldom does."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from app.redrive import Redriver
from app.redrive import send as module
from models.errors import TransportError


def _error(*, retriable: bool = False, abort: bool = False) -> KafkaException:
    return KafkaException(KafkaError(KafkaError._TIMED_OUT, "slow", False, retriable, abort))


class Answers:
    """Gives the answers one after the other, the last one for ever."""

    def __init__(self, *answers: KafkaException | None) -> None:
        self.left = [*answers]

    def commit_transaction(self, timeout: float) -> None:
        answer = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if answer is not None:
            raise answer

    def poll(self, timeout: float) -> int:
        return 0


def _committing(*answers: KafkaException | None) -> Any:
    redriver = object.__new__(Redriver)
    redriver._topology = "glass"
    redriver._producer = cast(Producer, Answers(*answers))
    return redriver


def test_a_commit_that_may_yet_succeed_is_tried_again() -> None:
    slow = _error(retriable=True)
    _committing(slow, slow, None)._commit()


def test_a_commit_in_doubt_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.01)
    for answers in ([_error(retriable=True)], [_error()], [_error(retriable=True), _error()]):
        with pytest.raises(TransportError, match=r"unknown whether .* 'plantstream redrive"):
            _committing(*answers)._commit()


def test_a_commit_that_kafka_refuses_sent_nothing() -> None:
    with pytest.raises(KafkaException):  # `send` makes "nothing was sent" of it
        _committing(_error(abort=True))._commit()
