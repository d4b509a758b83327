"""Topics on a real broker: created once by many, right in what they keep, checked at start."""

from __future__ import annotations

import threading
import time

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, consumer_options, producer_options
from app.kafka.clients import wait_for_kafka
from app.kafka.topics import (
    TopicSpec,
    changelog_topic,
    check_configs,
    check_partitions,
    connectors_topic,
    dead_letter_topic,
    ensure_topics,
    log_topic,
)
from models.errors import ConfigError, TransportError

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(stack: EmbeddedStack, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap=str(stack.endpoints.kafka_bootstrap), prefix=topic_prefix)


@pytest.fixture
def admin(settings: KafkaSettings) -> AdminClient:
    return admin_client(settings)


def _specs(settings: KafkaSettings) -> list[TopicSpec]:
    return [
        log_topic(settings, settings.topics.raw("opcua")),
        dead_letter_topic(settings),
        connectors_topic(settings),
        changelog_topic(settings, settings.topics.name("changelog"), 3),
    ]


def test_many_processes_create_the_same_topics_at_once(settings: KafkaSettings) -> None:
    results: list[dict[str, int]] = []

    def create() -> None:
        results.append(ensure_topics(admin_client(settings), _specs(settings)))

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(result == results[0] for result in results)
    assert sorted(results[0].values()) == [1, 3, 4, 4]


def test_our_own_topics_give_no_warnings(settings: KafkaSettings, admin: AdminClient) -> None:
    specs = _specs(settings)
    ensure_topics(admin, specs)
    assert check_configs(admin, specs) == []


def test_a_topic_that_forgets_by_age_is_warned_of(
    settings: KafkaSettings, admin: AdminClient
) -> None:
    name = settings.topics.raw("opcua")
    config = {"retention.ms": "604800000", "message.timestamp.after.max.ms": "3600000"}
    for future in admin.create_topics([NewTopic(name, 4, 1, config=config)]).values():
        future.result()
    spec = log_topic(settings, name)
    ensure_topics(admin, [spec])
    warnings = check_configs(admin, [spec])
    assert len(warnings) == 2
    assert f"{name}: retention.ms is 604800000, should be -1" in warnings[0]
    resource = ConfigResource(ResourceType.TOPIC, name)
    [future] = admin.describe_configs([resource]).values()
    assert future.result()["retention.ms"].value == "604800000"  # the site's topic is not touched


@pytest.mark.parametrize("name", ["message.timestamp.after.max.ms", "max.message.bytes"])
def test_a_topic_we_write_that_would_refuse_a_record_one_day_is_an_error(
    settings: KafkaSettings, admin: AdminClient, name: str
) -> None:
    dead = dead_letter_topic(settings)
    config = {**dead.config, name: "1100000"}
    for future in admin.create_topics([NewTopic(dead.name, 4, 1, config=config)]).values():
        future.result()
    ensure_topics(admin, [dead])
    assert len(check_configs(admin, [dead])) == 1
    with pytest.raises(ConfigError, match=f"{name} is 1100000, should be {dead.config[name]}"):
        check_configs(admin, [dead], {dead.name})


def test_records_dated_long_ago_and_far_ahead_are_kept(
    settings: KafkaSettings, admin: AdminClient
) -> None:
    name = settings.topics.raw("opcua")
    ensure_topics(admin, [log_topic(settings, name)])
    times = [1, 1_356_998_400_000, int(time.time() * 1000) + 10 * 365 * 86_400_000]
    outcomes: list[object] = []
    producer = Producer(producer_options(settings, "test"))
    for stamp in times:
        producer.produce(
            name, b"x", b"k", timestamp=stamp, on_delivery=lambda e, _: outcomes.append(e)
        )
    producer.flush(20)
    assert outcomes == [None] * 3
    reader = Consumer(consumer_options(settings, "test", settings.group("test")))
    reader.assign([TopicPartition(name, p, 0) for p in range(4)])
    read = [reader.poll(20).timestamp()[1] for _ in times]
    reader.close()
    assert read == times


def test_partition_counts_that_differ_are_named() -> None:
    check_partitions("glass", {"raw.opcua": 4, "glass.readings": 4})
    with pytest.raises(ConfigError) as caught:
        check_partitions("glass", {"raw.opcua": 6, "glass.readings": 4})
    assert "'glass'" in str(caught.value)
    assert "glass.readings has 4, raw.opcua has 6" in str(caught.value)
    assert caught.value.exit_code == 2


def test_kafka_away_is_an_error_that_names_it() -> None:
    settings = KafkaSettings(bootstrap="127.0.0.1:1")
    with pytest.raises(TransportError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        wait_for_kafka(settings, 0.5)
    stop = threading.Event()
    stop.set()
    assert wait_for_kafka(settings, 60, stop) is False
