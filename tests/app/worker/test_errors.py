"""What an error means for the worker, whatever it is wrapped in."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException
from quixstreams.exceptions import PartitionAssignmentError
from quixstreams.kafka.exceptions import KafkaBrokerUnavailableError, KafkaProducerDeliveryError

from app.shells.worker.errors import LostInput, judge, retriable
from models.errors import ConfigError, StepFailed, TransportError


def _caused(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "retry", "code", "says"),
    [
        (StepFailed("step 'x' failed"), False, 1, "step 'x' failed"),
        (ConfigError("no"), False, 2, "no"),
        (TransportError("cannot list topics"), True, 1, "cannot list topics"),
        (_caused(PartitionAssignmentError("x"), LostInput("gone")), False, 1, "gone"),
        (KafkaProducerDeliveryError(KafkaError(KafkaError._MSG_TIMED_OUT)), True, 1, "timed out"),
        (KafkaBrokerUnavailableError("All brokers\nmore"), True, 1, "Kafka: All brokers"),
        (
            KafkaProducerDeliveryError(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)),
            False,
            1,
            "MSG_SIZE_TOO_LARGE",
        ),
        (
            _caused(KafkaException(KafkaError(KafkaError._FENCED)), StepFailed("step failed")),
            False,
            1,
            "step failed",
        ),
        (ZeroDivisionError("division"), False, 1, "unexpected ZeroDivisionError: division"),
        (_caused(PartitionAssignmentError("x"), OSError("disk full")), False, 1, "disk full"),
    ],
)
def test_judge(error: Exception, retry: bool, code: int, says: str) -> None:
    verdict = judge(error)
    assert (verdict.retry, verdict.exit_code) == (retry, code)
    assert says in verdict.message
    assert "\n" not in verdict.message


def test_errors_that_pass_by_themselves_do_not_stop_the_consumer() -> None:
    assert retriable(KafkaException(KafkaError(KafkaError._TRANSPORT)))
    assert not retriable(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    assert not retriable(ValueError("x"))
