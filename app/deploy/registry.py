"""The topic of deployments and pauses: read as a whole, written one entry at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from app.deploy.record import DEPLOYMENT, PAUSE, Deployment, Pause, decode
from app.kafka import KafkaSettings, admin_client, describe, producer_options
from app.kafka.reading import committed_records
from app.kafka.topics import deployments_topic, ensure_topics
from models.errors import MalformedRecord, TransportError

LOG = logging.getLogger("plantstream.deploy")
_SEND_S = 30.0


@dataclass(slots=True)
class Entries:
    """The last word on every topology."""

    deployments: dict[str, Deployment] = field(default_factory=dict)
    pauses: dict[str, Pause] = field(default_factory=dict)

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Take one record of the topic; one that cannot be read is left out, with a warning."""
        kind, _, topology = (key or b"").decode("utf-8", "replace").partition(":")
        places: dict[str, dict[str, Any]] = {DEPLOYMENT: self.deployments, PAUSE: self.pauses}
        if kind not in places:
            LOG.warning("deployments: a record with the key %r is left out", key)
            return
        places[kind].pop(topology, None)
        if value is None:
            return
        try:
            places[kind][topology] = decode(kind, value)
        except MalformedRecord as error:
            LOG.warning("deployments: %s is left out: %s", topology, error)


def read(kafka: KafkaSettings) -> Entries:
    """All entries; none where nothing was ever deployed. Raises TransportError."""
    entries = Entries()
    for message in committed_records(kafka, kafka.topics.deployments, "deployments"):
        entries.take(message.key(), message.value())
    return entries


def write(kafka: KafkaSettings, kind: str, topology: str, entry: Deployment | Pause | None) -> None:
    """Write an entry, or None to forget it; returns once Kafka has it. Raises TransportError."""
    ensure_topics(admin_client(kafka, "deployments"), [deployments_topic(kafka)])
    producer = Producer(producer_options(kafka, "deployments"))
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failed.append(error)

    try:
        producer.produce(
            kafka.topics.deployments,
            None if entry is None else entry.encode(),
            f"{kind}:{topology}".encode(),
            on_delivery=delivered,
        )
        left = producer.flush(_SEND_S)
    except KafkaException as error:
        raise TransportError(f"cannot write down: {describe(error.args[0])}") from error
    if failed or left:
        why = describe(failed[0]) if failed else f"no answer for {_SEND_S:g} s"
        raise TransportError(f"cannot write to {kafka.topics.deployments}: {why}")
