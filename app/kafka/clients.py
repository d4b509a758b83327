"""Options of every Kafka client, in one place, so that all of them promise the same.

Producers: idempotent, ``acks=all``, Java's murmur2 partitioner. Consumers: read committed, offsets
only where we commit them.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from app.kafka.settings import KafkaSettings
from models.errors import TransportError

#: librdkafka's own log lines; quiet unless asked for.
LOG = logging.getLogger("plantstream.kafka")
_PROBE_S = 2.0


def client_id(role: str) -> str:
    """``plantstream-<role>-<host>-<pid>``: what a group's description shows of its members."""
    return f"plantstream-{role}-{socket.gethostname()}-{os.getpid()}"


def producer_options(settings: KafkaSettings, role: str, **more: Any) -> dict[str, Any]:
    """Options of a ``confluent_kafka.Producer``; ``more`` as in librdkafka with '_' for '.'."""
    return {
        **_common(settings, role),
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        # The largest record of any topic. A batch stays below the smallest topic's limit.
        "message.max.bytes": settings.max_dead_letter_bytes,
        "batch.size": 1_000_000,
        **_dotted(more),
    }


def consumer_options(settings: KafkaSettings, role: str, group: str, **more: Any) -> dict[str, Any]:
    """Options of a ``confluent_kafka.Consumer`` that begins at the oldest record."""
    return {
        **_common(settings, role),
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "fetch.message.max.bytes": settings.max_message_bytes,
        **_dotted(more),
    }


def admin_client(settings: KafkaSettings, role: str = "admin") -> AdminClient:
    """An admin client that logs through `LOG`."""
    options = {**_common(settings, role), "error_cb": _ignore}
    return AdminClient(options, logger=LOG)


def wait_for_kafka(
    settings: KafkaSettings, timeout_s: float, stop: threading.Event | None = None
) -> bool:
    """Wait until a broker answers; False when ``stop`` was set first.

    Raises TransportError that names the brokers and the last reason after ``timeout_s``.
    """
    stop = stop or threading.Event()
    deadline = time.monotonic() + timeout_s
    admin = admin_client(settings)
    reason = "no answer"
    while not stop.is_set():
        try:
            admin.list_topics(timeout=_PROBE_S)
            return True
        except KafkaException as error:
            reason = describe(error.args[0])
        if time.monotonic() >= deadline:
            raise TransportError(
                f"Kafka at {settings.bootstrap} does not answer ({reason}),"
                f" tried for {timeout_s:g} s"
            )
        stop.wait(0.25)
    return False


def describe(error: KafkaError) -> str:
    """A Kafka error in words, with librdkafka's name for it."""
    return f"{error.str()} [{error.name()}]"


def error_name(error: BaseException) -> str:
    """What a metric calls an error: Kafka's name for the one that led to it, else its class."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        given = getattr(current, "error", None) or (current.args[0] if current.args else None)
        if isinstance(given, KafkaError):
            return str(given.name())
        current = current.__cause__ or current.__context__
    return type(error).__name__


def _common(settings: KafkaSettings, role: str) -> dict[str, Any]:
    return {
        **settings.connection(),
        "client.id": client_id(role),
        # Seconds, not minutes, until a broker that was restarted is found again.
        "reconnect.backoff.max.ms": 1000,
        "log.connection.close": False,
    }


def _dotted(options: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in options.items()}


def _ignore(error: KafkaError) -> None:
    """Connection errors are retried by librdkafka; callers see them as failed requests."""
    LOG.debug("%s", error)
