"""Connectors keep their bounds, whatever a source sends: nothing grows, nothing falls silent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, producer_options
from app.kafka.topics import connectors_topic, ensure_topics, log_topic
from app.shells.connector_runner import RunnerSettings, Watchdog, known
from app.shells.connector_runner.heartbeats import Known
from app.shells.connector_runner.status import ConnectorStatus, decode, encode
from models.records import deadletter, heartbeat, raw
from tests.connector_site import LandedRecord, LandedTopic, RunningConnector, beats, data, until

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.fixture
def kafka(stack: EmbeddedStack, topic_prefix: str) -> KafkaSettings:
    assert stack.endpoints.kafka_bootstrap
    return KafkaSettings(bootstrap=stack.endpoints.kafka_bootstrap, prefix=topic_prefix)


class Loggers:
    """A connector's parameters for topics of a test's own, and who publishes on them."""

    def __init__(self, stack: EmbeddedStack, site: str) -> None:
        self._site = site
        host, port = stack.endpoints.mqtt_host or "", stack.endpoints.mqtt_port or 0
        self.parameters: dict[str, Any] = {
            "host": host,
            "port": port,
            "heartbeat": "500ms",
            "subscriptions": [{"filter": f"{site}/+/data", "asset": "logger/{1}"}],
        }
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"loggers-{site}")
        self._client.connect(host, port)
        self._client.loop_start()

    def say(self, logger: str, payload: bytes) -> None:
        info = self._client.publish(f"{self._site}/{logger}/data", payload, qos=1)
        info.wait_for_publish(30)
        assert info.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def loggers(stack: EmbeddedStack, topic_prefix: str) -> Iterator[Loggers]:
    made = Loggers(stack, topic_prefix.strip("."))
    yield made
    made.close()


def payloads(records: list[LandedRecord]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for record in data(records):
        messages = raw.decode_mqtt(record.value)
        found.setdefault(record.key, []).extend(message.payload for message in messages)
    return found


def test_assets_beyond_the_limit_land_without_heartbeats(
    kafka: KafkaSettings, loggers: Loggers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "plantstream.connector")
    settings = RunnerSettings(max_assets=3)
    with (
        LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic,
        RunningConnector(
            "loggers", "mqtt", loggers.parameters, kafka, settings=settings
        ) as connector,
    ):
        connector.wait_connected()
        for number in range(6):
            loggers.say(str(number), b"first")
            loggers.say(str(number), b"second")
        expected = {f"logger/{number}": [b"first", b"second"] for number in range(6)}
        topic.until(lambda records: payloads(records) == expected, "all messages of all loggers")
        topic.until(lambda records: len(list(beats(records))) >= 6, "heartbeats")
        known = {heartbeat.decode(each.value).asset for each in beats(topic.records)}
        assert known == {"logger/0", "logger/1", "logger/2"}
        until(lambda: connector.stats.assets_known == 3, "counted")
        assert connector.stats.counters.errors == {"asset-beyond-limit": 6}
    said = [each.getMessage() for each in caplog.records if "max_assets" in each.getMessage()]
    assert len(said) == 1
    assert "'logger/3'" in said[0]


def test_a_status_of_many_assets_keeps_the_connector_alive_and_all_of_them_known(
    kafka: KafkaSettings, loggers: Loggers
) -> None:
    """Together their names are larger than any record may be."""
    names = {f"{number:04}-" + "x" * 500 for number in range(2500)}
    fixed = [{"filter": f"none/{number}", "asset": name} for number, name in enumerate(names)]
    parameters = {**loggers.parameters, "heartbeat": "1h", "subscriptions": fixed[:200]}
    parameters["subscriptions"] += [{"filter": "none/x", "asset": each["asset"]} for each in fixed]
    settings = RunnerSettings.model_validate({"status_interval": "200ms"})
    watchdog, stop = Watchdog(kafka), threading.Event()
    watching = threading.Thread(target=watchdog.run, args=(stop,))
    watching.start()
    try:
        with (
            LandedTopic(kafka, kafka.topics.connectors) as topic,
            RunningConnector(
                "loggers", "mqtt", parameters, kafka, settings=settings
            ) as connector,
        ):
            connector.wait_connected()

            def told(records: list[LandedRecord]) -> set[str]:
                pages = (each for each in records if each.schema == "connector-assets/1")
                return {asset.asset for each in pages for asset in known.decode(each.value)}

            topic.until(lambda records: told(records) == names, "all assets on pages")
            until(lambda: watchdog.stats.alive == 1, "alive")
            assert connector.stats.errors == {}
        until(lambda: watchdog.stats.alive == 0, "stopped in order")
        assert watchdog.stats.deaths == 0
        statuses = [decode(each.value) for each in topic.records if "/" not in each.key]
        assert statuses[-1].known == 2500
    finally:
        stop.set()
        watching.join()


def test_a_watchdog_whose_queue_is_full_speaks_for_every_asset(
    stack: EmbeddedStack, kafka: KafkaSettings
) -> None:
    """A site may set how much its Kafka clients queue."""
    names = {f"logger/{number}" for number in range(60)}
    dead = ConnectorStatus(
        name="loggers", kind="mqtt", session="s", topic=kafka.topics.raw("mqtt"), assets=(),
        state="connected", interval=100_000_000, t=0,
    )  # fmt: skip
    specs = [log_topic(kafka, dead.topic), connectors_topic(kafka)]
    ensure_topics(admin_client(kafka), specs)
    producer = Producer(producer_options(kafka, "test"))
    page = known.encode("loggers", [Known(name, 1, 1) for name in names])
    producer.produce(kafka.topics.connectors, page, known.page_key("loggers", 0))
    producer.produce(kafka.topics.connectors, encode(dead), b"loggers")
    assert producer.flush(30) == 0
    small = kafka.model_copy(update={"options": {"queue.buffering.max.messages": 10}})
    watchdog, stop = Watchdog(small), threading.Event()
    watching = threading.Thread(target=watchdog.run, args=(stop,))
    watching.start()
    try:
        with LandedTopic(kafka, dead.topic) as topic:
            topic.until(lambda records: {each.key for each in beats(records)} == names, "all")
        until(lambda: watchdog.stats.deaths == 1, "told")
        assert watchdog.stats.heartbeats == 60
        assert watching.is_alive()
    finally:
        stop.set()
        watching.join()


def test_a_message_that_no_topic_takes_lands_as_a_dead_letter_and_comes_no_more(
    kafka: KafkaSettings, loggers: Loggers
) -> None:
    large, huge = b"\x00\xff" * 450_000, b"0123456789" * 400_000
    with (
        LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic,
        LandedTopic(kafka, kafka.topics.dead_letters) as dead,
    ):
        with RunningConnector("loggers", "mqtt", loggers.parameters, kafka) as connector:
            connector.wait_connected()
            for payload in (b"before", large, huge, b"after"):
                loggers.say("7", payload)
            dead.until(lambda records: len(records) == 2, "both letters")
            topic.until(lambda records: len(list(data(records))) == 2, "the rest")
            until(lambda: connector.stats.buffered_records == 0, "everything acknowledged")
            assert connector.stats.lost == {}
            assert connector.stats.dead_letters == {"too-large": 2}
            assert connector.stats.landed_messages == 2
            assert connector.stats.producer_restarts == 0
        with RunningConnector("loggers", "mqtt", loggers.parameters, kafka) as connector:
            connector.wait_connected()
            loggers.say("7", b"last")
            topic.until(lambda records: payloads(records)["logger/7"][-1] == b"last", "the last")
        assert payloads(topic.records) == {"logger/7": [b"before", b"after", b"last"]}
        dead.poll(0.5)
    letters = [deadletter.decode(each.value) for each in dead.records]
    assert [each.key for each in dead.records] == ["logger/7"] * 2
    assert {each.schema for each in dead.records} == {"dead-letter/1"}
    for letter in letters:
        assert (letter.topology, letter.step, letter.reason) == (
            "connect/loggers", "land", "too-large",
        )  # fmt: skip
        assert (letter.topic, letter.key) == (kafka.topics.raw("mqtt"), b"logger/7")
        assert letter.headers["schema"] == b"raw-mqtt/1"
    assert letters[0].offset != letters[1].offset
    # what fits is whole, as it would have landed; of the other its first bytes are kept
    assert letters[0].value is not None
    assert [each.payload for each in raw.decode_mqtt(letters[0].value)] == [large]
    assert letters[1].value is None
    assert "too large to be kept here" in letters[1].error
    assert "'first-bytes'" in letters[1].error
    assert len(letters[1].headers["first-bytes"]) == 65536
    assert b"0123456789" * 1000 in letters[1].headers["first-bytes"]
