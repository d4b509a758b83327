"""What an error that ended the loop means: try again with fresh clients, or stop and say why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from quixstreams.checkpointing.exceptions import CheckpointProducerTimeout
from quixstreams.exceptions import PartitionAssignmentError
from quixstreams.kafka.exceptions import BaseKafkaException, KafkaBrokerUnavailableError

from app.kafka import describe
from models.errors import PlantstreamError, TransportError


class LostInput(PlantstreamError):
    """Records were deleted before the worker read them: its state cannot be right."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an error, and one line that says what happened."""

    retry: bool
    exit_code: int
    message: str


#: Trying again changes nothing about these.
_FATAL = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_CONFIG,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.INVALID_TRANSACTION_TIMEOUT,
        KafkaError._AUTHENTICATION,
        KafkaError._INVALID_ARG,
    }
)


def judge(error: BaseException) -> Verdict:
    """The verdict on an error, from the whole chain of errors that led to it."""
    chain = list(_chain(error))
    ours = [e for e in chain if isinstance(e, PlantstreamError)]
    if ours:
        first = ours[0]
        return Verdict(isinstance(first, TransportError), first.exit_code, str(first))
    kafka = [e for e in map(_kafka_error, chain) if e is not None]
    for reason in kafka:
        if reason.code() in _FATAL:
            return Verdict(False, 1, f"Kafka refuses: {describe(reason)}")
    if kafka:
        return Verdict(True, 1, f"Kafka: {describe(kafka[-1])}")
    kinds = (KafkaBrokerUnavailableError, CheckpointProducerTimeout, PartitionAssignmentError)
    waits = [e for e in chain if isinstance(e, kinds)]
    if waits and len(waits) == len(chain):
        return Verdict(True, 1, f"Kafka: {str(waits[-1]).splitlines()[0]}")
    last = chain[-1]
    return Verdict(False, 1, f"unexpected {type(last).__name__}: {last}")


def retriable(error: BaseException) -> bool:
    """Whether a consumer's error passes by itself, such as a broker that restarts."""
    reason = _kafka_error(error)
    return reason is not None and (reason.retriable() or reason.code() in _PASSING)


_PASSING = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)


def _kafka_error(error: BaseException) -> KafkaError | None:
    if isinstance(error, BaseKafkaException):
        return error.error
    if isinstance(error, KafkaException) and error.args and isinstance(error.args[0], KafkaError):
        return error.args[0]
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and those that led to it, the first cause last."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
