"""Kafka, sources and connectors that go away and come back."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings
from app.shells.connector_runner import Watchdog
from models.modbus import ModbusTemplate
from models.records import heartbeat, raw
from models.records.heartbeat import State
from tests.connector_site import (
    ConnectorProcess,
    LandedRecord,
    LandedTopic,
    RunningConnector,
    beats,
    data,
    until,
)
from tests.connectors.simulators.conftest import Process, simulate

__all__ = ["simulate"]

Simulate = Callable[[dict[str, Any]], Process]
pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.fixture
def kafka(stack: EmbeddedStack, topic_prefix: str) -> KafkaSettings:
    assert stack.endpoints.kafka_bootstrap
    return KafkaSettings(bootstrap=stack.endpoints.kafka_bootstrap, prefix=topic_prefix)


class Publisher:
    """Publishes numbered messages at QoS 1, each once; waits for the broker's word on all."""

    def __init__(self, stack: EmbeddedStack, site: str) -> None:
        self._site = site
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"publisher-{site}")
        self._client.max_inflight_messages_set(200)
        self._client.connect(stack.endpoints.mqtt_host or "", stack.endpoints.mqtt_port or 0)
        self._client.loop_start()
        self.count = 0

    def send(self, messages: int) -> None:
        until(self._client.is_connected, "the publisher is connected again")
        infos = []
        for _ in range(messages):
            topic = f"{self._site}/{self.count % 5}/data"
            payload = json.dumps({"n": self.count})
            infos.append(self._client.publish(topic, payload, qos=1))
            self.count += 1
        for info in infos:
            info.wait_for_publish(30)
            assert info.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def publisher(stack: EmbeddedStack, topic_prefix: str) -> Iterator[Publisher]:
    made = Publisher(stack, topic_prefix.strip("."))
    yield made
    made.close()


def mqtt_parameters(stack: EmbeddedStack, prefix: str, **more: Any) -> dict[str, Any]:
    return {
        "host": stack.endpoints.mqtt_host,
        "port": stack.endpoints.mqtt_port,
        "subscriptions": [{"filter": f"{prefix.strip('.')}/+/data", "asset": "logger/{1}"}],
        **more,
    }


def numbers(records: list[LandedRecord]) -> Counter[int]:
    return Counter(
        json.loads(message.payload)["n"]
        for record in data(records)
        for message in raw.decode_mqtt(record.value)
    )


def in_order(records: list[LandedRecord]) -> bool:
    """Whether, without repeats, the numbers of each asset rise."""
    last: dict[str, int] = {}
    seen = set()
    for record in sorted(data(records), key=lambda each: (each.partition, each.offset)):
        for message in raw.decode_mqtt(record.value):
            number = json.loads(message.payload)["n"]
            if number not in seen and number < last.get(record.key, -1):
                return False
            seen.add(number)
            last[record.key] = max(number, last.get(record.key, -1))
    return True


def test_mqtt_killed_between_receive_and_kafka(
    stack: EmbeddedStack, kafka: KafkaSettings, publisher: Publisher, topic_prefix: str
) -> None:
    """kill -9 while messages are in its hands and Kafka is away: each lands afterwards."""
    parameters = mqtt_parameters(stack, topic_prefix)
    with LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic:
        first = ConnectorProcess("loggers", "mqtt", parameters, kafka)
        publisher_done = threading.Event()
        try:
            # the first message says that it is subscribed
            until(lambda: _subscribed(publisher, topic), "subscribed", 60)
            stack.stop_service("kafka", kill=True)
            publisher.send(500)
        finally:
            first.kill()
            publisher_done.set()
            stack.start_service("kafka")
        second = ConnectorProcess("loggers", "mqtt", parameters, kafka)
        try:
            publisher.send(100)
            topic.until(
                lambda records: len(numbers(records)) == publisher.count, "every message", 90
            )
        finally:
            assert second.stop() == 0
        assert in_order(topic.records)


def _subscribed(publisher: Publisher, topic: LandedTopic) -> bool:
    if not topic.records:
        # nobody keeps what comes before the first subscription: count anew
        publisher.count = 0
        publisher.send(1)
    topic.poll(0.3)
    return bool(list(data(topic.records)))


def test_mqtt_kafka_away_for_ten_seconds(
    stack: EmbeddedStack, kafka: KafkaSettings, publisher: Publisher, topic_prefix: str
) -> None:
    """Kafka stops and starts again in the middle: nothing lost, nothing twice, order kept."""
    parameters = mqtt_parameters(stack, topic_prefix)
    with (
        LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic,
        RunningConnector("loggers", "mqtt", parameters, kafka) as connector,
    ):
        connector.wait_connected()
        publisher.send(200)
        topic.until(lambda records: len(numbers(records)) == 200, "the first")
        stack.stop_service("kafka")
        try:
            for _ in range(10):
                publisher.send(50)
                threading.Event().wait(1.0)
            until(lambda: connector.stats.kafka_reason, "not ready without Kafka")
            assert not connector.stats.ready
        finally:
            stack.start_service("kafka")
        publisher.send(200)
        topic.until(lambda records: len(numbers(records)) == publisher.count, "all", 90)
        assert set(numbers(topic.records).values()) == {1}
        assert in_order(topic.records)
        until(lambda: not connector.stats.kafka_reason, "ready again")
        assert connector.stats.counters.lost == {}
        assert connector.stats.lost == {}


def test_mqtt_broker_goes_and_comes_back(
    stack: EmbeddedStack, kafka: KafkaSettings, publisher: Publisher, topic_prefix: str
) -> None:
    parameters = mqtt_parameters(stack, topic_prefix)
    with (
        LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic,
        RunningConnector("loggers", "mqtt", parameters, kafka) as connector,
    ):
        connector.wait_connected()
        publisher.send(20)
        topic.until(lambda records: len(numbers(records)) == 20, "the first")
        stack.stop_service("mqtt", kill=True)
        try:
            until(lambda: connector.stats.state == "disconnected", "noticed", 10)
            assert not connector.stats.ready
            topic.until(
                lambda records: {
                    heartbeat.decode(each.value).asset
                    for each in beats(records)
                    if heartbeat.decode(each.value).state is State.DISCONNECTED
                }
                == {f"logger/{n}" for n in range(5)},
                "a heartbeat for every asset",
            )
        finally:
            stack.start_service("mqtt")
        connector.wait_connected()
        publisher.send(20)
        topic.until(lambda records: len(numbers(records)) == publisher.count, "all")
        assert connector.stats.counters.reconnects >= 1


def level(interval: str = "100ms") -> dict[str, Any]:
    return {"interval": interval, "tags": {"a": {"kind": "level", "at": 5.0, "noise": 1.0}}}


def test_opcua_server_restarts(simulate: Simulate, kafka: KafkaSettings) -> None:
    """Noticed within seconds, told to the topology, and mended when the server is back."""
    asset = {"name": "pump", **level()}
    first = simulate({"kind": "opcua", "assets": [asset]})
    parameters = {
        "endpoint": first.endpoint,
        "heartbeat": "1s",
        "items": [{"node": "ns=2;s=pump/a", "asset": "pump", "tag": "a"}],
    }
    with (
        LandedTopic(kafka, kafka.topics.raw("opcua")) as topic,
        RunningConnector("press", "opcua", parameters, kafka) as connector,
    ):
        topic.until(lambda records: list(data(records)), "data")
        until(lambda: connector.stats.ready, "ready")
        first.kill()
        until(lambda: connector.stats.state == "disconnected", "noticed", 10)
        topic.until(
            lambda records: any(
                heartbeat.decode(each.value).state is State.DISCONNECTED for each in beats(records)
            ),
            "disconnected",
        )
        second = simulate({"kind": "opcua", "port": first.port, "assets": [asset]})
        before = len(topic.records)
        topic.until(lambda records: list(data(records[before:])), "data again", 60)
        connector.wait_connected()
        second.stop()


def test_opcua_missing_node_is_named_and_the_rest_flows(
    simulate: Simulate, kafka: KafkaSettings
) -> None:
    simulator = simulate({"kind": "opcua", "assets": [{"name": "pump", **level()}]})
    parameters = {
        "endpoint": simulator.endpoint,
        "items": [
            {"node": "ns=2;s=pump/a", "asset": "pump", "tag": "a"},
            {"node": "ns=2;s=pump/gone", "asset": "pump", "tag": "gone"},
        ],
    }
    with (
        LandedTopic(kafka, kafka.topics.raw("opcua")) as topic,
        RunningConnector("press", "opcua", parameters, kafka) as connector,
    ):
        topic.until(lambda records: list(data(records)), "data")
        until(lambda: connector.stats.problems, "a problem")
        assert connector.stats.problems == (
            "the server refuses node ns=2;s=pump/gone (pump gone): BadNodeIdUnknown",
        )
        assert connector.stats.counters.errors["item-refused"] >= 1


def modbus(simulator: Process) -> tuple[dict[str, Any], dict[str, ModbusTemplate]]:
    templates = {
        "map": ModbusTemplate.model_validate(
            {"fields": {"a": {"address": 0, "type": "float32"}}}
        )
    }
    parameters = {
        "port": simulator.port,
        "heartbeat": "1s",
        "units": [{"unit": 1, "asset": "drive", "template": "map", "interval": "50ms"}],
    }
    return parameters, templates


def test_modbus_server_restarts(simulate: Simulate, kafka: KafkaSettings) -> None:
    asset = {"name": "drive", "unit": 1, "fields": {"a": {"address": 0}}, **level()}
    first = simulate({"kind": "modbus", "assets": [asset]})
    parameters, templates = modbus(first)
    with (
        LandedTopic(kafka, kafka.topics.raw("modbus")) as topic,
        RunningConnector("line", "modbus", parameters, kafka, templates) as connector,
    ):
        topic.until(lambda records: list(data(records)), "data")
        first.kill()
        until(lambda: connector.stats.state == "disconnected", "noticed", 10)
        second = simulate({"kind": "modbus", "port": first.port, "assets": [asset]})
        connector.wait_connected(60)
        before = len(topic.records)
        topic.until(lambda records: list(data(records[before:])), "data again", 60)
        # the polls of the absence were never done, and that is counted
        assert connector.stats.counters.lost["missed-poll"] > 0
        second.stop()


def test_clean_stop_says_disconnected(simulate: Simulate, kafka: KafkaSettings) -> None:
    asset = {"name": "drive", "unit": 1, "fields": {"a": {"address": 0}}, **level()}
    simulator = simulate({"kind": "modbus", "assets": [asset]})
    parameters, templates = modbus(simulator)
    parameters["units"][0]["interval"] = "1ms"  # always behind: also then it stops when asked
    with LandedTopic(kafka, kafka.topics.raw("modbus")) as topic:
        connector = RunningConnector("line", "modbus", parameters, kafka, templates)
        topic.until(lambda records: list(data(records)), "data")
        assert connector.stop() == 0
        records = topic.until(lambda records: list(beats(records)), "the last word")
    last = max(records, key=lambda record: record.offset)
    beat = heartbeat.decode(last.value)
    assert (beat.asset, beat.state) == ("drive", State.DISCONNECTED)
    assert connector.stats.buffered_records == 0


def test_watchdog_speaks_for_a_killed_connector(
    simulate: Simulate, kafka: KafkaSettings
) -> None:
    """Two watchdogs at once: the asset is disconnected, the status says dead, until it is back."""
    asset = {"name": "drive", "unit": 1, "fields": {"a": {"address": 0}}, **level()}
    simulator = simulate({"kind": "modbus", "assets": [asset]})
    parameters, templates = modbus(simulator)
    maps = {name: each.model_dump(mode="json") for name, each in templates.items()}
    more = {"templates": maps, "runner": {"status_interval": 500_000_000}}
    stop = threading.Event()
    watchdogs = [Watchdog(kafka) for _ in range(2)]
    threads = [threading.Thread(target=each.run, args=(stop,)) for each in watchdogs]
    for thread in threads:
        thread.start()
    try:
        with LandedTopic(kafka, kafka.topics.raw("modbus")) as topic:
            connector = ConnectorProcess("line", "modbus", parameters, kafka, **more)
            topic.until(lambda records: list(data(records)), "data")
            until(lambda: all(each.stats.alive == 1 for each in watchdogs), "seen")
            connector.kill()
            topic.until(
                lambda records: any(
                    record.headers["connector"] == b"watchdog.line" for record in beats(records)
                ),
                "the watchdog's heartbeat",
            )
            until(lambda: all(each.stats.dead == 1 for each in watchdogs), "dead for both")
            found = [
                heartbeat.decode(record.value)
                for record in beats(topic.records)
                if record.headers["connector"] == b"watchdog.line"
            ]
            assert {(beat.asset, beat.state) for beat in found} == {("drive", State.DISCONNECTED)}
            assert 1 <= len(found) <= 2
            connector = ConnectorProcess("line", "modbus", parameters, kafka, **more)
            until(lambda: all(each.stats.dead == 0 for each in watchdogs), "back", 60)
            assert connector.stop() == 0
            until(lambda: all(each.stats.alive == 0 for each in watchdogs), "stopped in order")
            assert sum(each.stats.deaths for each in watchdogs) <= 2
    finally:
        stop.set()
        for thread in threads:
            thread.join()
