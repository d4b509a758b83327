"""Reading what a real Kafka holds, while others write and where it says no."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from app.deploy import registry, reset
from app.deploy.record import DEPLOYMENT, deployment
from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, producer_options
from app.kafka.reading import committed_records, records_at
from app.kafka.topics import TopicSpec, ensure_topics
from models.errors import TransportError
from topologies.core.declaration import Declaration
from topologies.core.discover import find

pytestmark = pytest.mark.integration


@pytest.fixture
def kafka(stack: EmbeddedStack, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=str(stack.endpoints.kafka_bootstrap), prefix=topic_prefix)


def test_a_partition_that_ends_again_and_again_does_not_stand_for_another(
    kafka: KafkaSettings,
) -> None:
    topic = kafka.topics.raw("mqtt")
    ensure_topics(admin_client(kafka), [TopicSpec(topic, 2, 1)])
    producer = Producer(producer_options(kafka, "test"))
    producer.produce(topic, b"first", partition=0)
    for number in range(300):
        producer.produce(topic, b"%d" % number, partition=1)
        assert producer.flush(20) == 0
    # One batch at a time, so that the other partition takes a while.
    slow = kafka.model_copy(update={"max_message_bytes": 1})
    read, grown = [], 0
    for message in committed_records(slow, topic, "test"):
        if message.partition() == 1:
            read.append(message.value())
        elif grown < 5:
            grown += 1
            producer.produce(topic, b"next", partition=0)
            assert producer.flush(20) == 0
    assert grown > 1
    assert read == [b"%d" % number for number in range(300)]


def test_a_record_that_cannot_be_read_is_not_called_deleted(kafka: KafkaSettings) -> None:
    topic = kafka.topics.raw("mqtt")
    ensure_topics(admin_client(kafka), [TopicSpec(topic, 1, 1)])
    producer = Producer(producer_options(kafka, "test", transactional_id=kafka.group("test")))
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"aborted", partition=0)
    assert producer.flush(20) == 0
    producer.abort_transaction(20)
    assert records_at(kafka, [(topic, 0, 0), (topic, 0, 9)], "test") == {}
    producer.begin_transaction()
    producer.produce(topic, b"kept", partition=0)
    producer.commit_transaction(20)
    found = records_at(kafka, [(topic, 0, 0), (topic, 0, 2)], "test")
    assert {place: message.value() for place, message in found.items()} == {(topic, 0, 2): b"kept"}


def test_a_reset_that_fails_half_way_has_forgotten_the_epoch(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, topology = next(iter(find().items()))
    entry = deployment(Declaration.of(topology), {}, frozenset(), "0.1.0", "epoch")
    registry.write(kafka, DEPLOYMENT, name, entry)
    planned = reset.plan(topology, kafka, tmp_path, outputs=False)
    assert planned.deployed

    def refused(*_: object) -> None:
        raise TransportError("cannot delete topic")

    monkeypatch.setattr(reset, "_delete_topics", refused)
    with pytest.raises(TransportError, match="cannot delete topic"):
        reset.carry_out(planned, kafka)
    assert name not in registry.read(kafka).deployments
