"""A connector that starts again expects what it knew: what fell silent meanwhile is noticed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings
from app.shells.connector_runner.status import ConnectorStatus, decode
from models.records import heartbeat, raw
from models.records.heartbeat import Heartbeat, State
from tests.connector_site import (
    ROOT,
    ConnectorProcess,
    LandedRecord,
    LandedTopic,
    beats,
    data,
)

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.fixture
def kafka(stack: EmbeddedStack, topic_prefix: str) -> KafkaSettings:
    assert stack.endpoints.kafka_bootstrap
    return KafkaSettings(bootstrap=stack.endpoints.kafka_bootstrap, prefix=topic_prefix)


@pytest.fixture
def publisher(stack: EmbeddedStack) -> Iterator[Client]:
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect(stack.endpoints.mqtt_host or "", stack.endpoints.mqtt_port or 0)
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()


def beats_of(records: list[LandedRecord], asset: str) -> list[Heartbeat]:
    found = [heartbeat.decode(each.value) for each in beats(records)]
    return [beat for beat in found if beat.asset == asset]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_logger_that_dies_around_a_restart_is_silent_since_it_was_heard(
    how: str, stack: EmbeddedStack, kafka: KafkaSettings, publisher: Client, topic_prefix: str
) -> None:
    site = topic_prefix.strip(".")
    parameters: dict[str, Any] = {
        "host": stack.endpoints.mqtt_host,
        "port": stack.endpoints.mqtt_port,
        "heartbeat": "1s",
        "subscriptions": [
            {
                "filter": f"{site}/+/data",
                "asset": "logger/{1}",
                "time": {"path": "t", "format": "unix_ns"},
            }
        ],
    }
    runner = {"runner": {"status_interval": 200_000_000}}
    # their own clock is an hour behind ours
    behind = 3600 * 10**9

    def say(logger: str) -> None:
        payload = json.dumps({"t": time.time_ns() - behind})
        publisher.publish(f"{site}/{logger}/data", payload, qos=1).wait_for_publish(30)

    def heard(records: list[LandedRecord], logger: str) -> list[raw.MqttMessage]:
        return [
            message
            for each in data(records)
            if each.key == f"logger/{logger}"
            for message in raw.decode_mqtt(each.value)
        ]

    with LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic:
        first = ConnectorProcess("loggers", "mqtt", parameters, kafka, **runner)
        while not (heard(topic.records, "1") and heard(topic.records, "2")):
            say("1")
            say("2")
            topic.poll(0.3)
        # its memory of both is on Kafka, where a kill does not reach it
        topic.until(
            lambda records: beats_of(records, "logger/1") and beats_of(records, "logger/2"),
            "both silent",
        )
        if how == "kill":
            first.kill()
        else:
            assert first.stop() == 0
        last = heard(topic.records, "2")[-1]
        before = len(topic.records)
        second = ConnectorProcess("loggers", "mqtt", parameters, kafka, **runner)
        try:
            topic.until(
                lambda records: any(
                    beat.state is State.ALIVE for beat in beats_of(records[before:], "logger/2")
                ),
                "the logger that died is missed",
            )
            say("1")
            topic.until(lambda records: heard(records[before:], "1"), "the other lives")
        finally:
            assert second.stop() == 0
    for beat in beats_of(topic.records[before:], "logger/2"):
        assert beat.elapsed == beat.received - last.received
        t = json.loads(last.payload)["t"]
        assert beat.t == (t + beat.elapsed if beat.state is State.ALIVE else t)


def test_a_logger_of_the_catalogue_that_never_spoke_is_missed(
    stack: EmbeddedStack, kafka: KafkaSettings, topic_prefix: str, tmp_path: Path
) -> None:
    """`plantstream connect` knows the catalogue: an asset that never came is told of, too."""
    site = tmp_path / "plantstream.toml"
    site.write_text(
        f"""
        data_dir = "data"
        [kafka]
        bootstrap = "{kafka.bootstrap}"
        prefix = "{kafka.prefix}"
        [connector]
        status_interval = "250ms"
        [connectors.loggers]
        kind = "mqtt"
        host = "{stack.endpoints.mqtt_host}"
        port = {stack.endpoints.mqtt_port}
        heartbeat = "500ms"
        subscriptions = [{{ filter = "{topic_prefix}/+/data", asset = "logger/{{1}}" }}]
        [catalogue."logger/7"]
        [catalogue."furnace"]
        """
    )
    with (
        LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic,
        LandedTopic(kafka, kafka.topics.connectors) as told,
    ):
        command = [sys.executable, "-m", "app", "--config", str(site), "connect", "loggers"]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            topic.until(lambda records: len(list(beats(records))) >= 2, "heartbeats", 90)
        finally:
            process.terminate()
            assert process.wait(60) == 0
        found = [heartbeat.decode(each.value) for each in beats(topic.records)]
        assert {(beat.asset, beat.state, beat.elapsed) for beat in found} == {
            ("logger/7", State.DISCONNECTED, None)
        }

        def statuses(records: list[LandedRecord]) -> list[ConnectorStatus]:
            return [decode(each.value) for each in records if each.key == "loggers"]

        told.until(
            lambda records: any(each.state == "stopped" for each in statuses(records)), "its end"
        )
        last = statuses(told.records)[-1]
        assert (last.state, last.interval, last.assets) == ("stopped", 250_000_000, ("logger/7",))
