"""Everything a source sent lands on Kafka, with its values, times and status: real protocols."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings
from models.modbus import ModbusTemplate
from models.records import heartbeat, raw
from models.records.values import exact
from tests.connector_site import LandedRecord, LandedTopic, RunningConnector, beats, data, until
from tests.connectors.simulators.conftest import Process, simulate, skab_file, trace_file

__all__ = ["simulate", "skab_file", "trace_file"]

Simulate = Callable[[dict[str, Any]], Process]
pytestmark = pytest.mark.integration

SKAB_TAGS = [
    "Accelerometer1RMS", "Accelerometer2RMS", "Current", "Pressure", "Temperature",
    "Thermocouple", "Voltage", "Volume Flow RateRMS",
]  # fmt: skip


@pytest.fixture
def kafka(stack: EmbeddedStack, topic_prefix: str) -> KafkaSettings:
    assert stack.endpoints.kafka_bootstrap
    return KafkaSettings(bootstrap=stack.endpoints.kafka_bootstrap, prefix=topic_prefix)


def sent(simulator: Process) -> list[tuple[str, int, Any]]:
    return sorted((line["tag"], line["t"], line["v"]) for line in simulator.journal())


def opcua_samples(records: list[LandedRecord]) -> list[tuple[str, int, Any]]:
    samples = []
    for record in data(records):
        read = raw.decode_opcua(record.value)
        values = exact(read.v, read.typed)
        samples += [
            (read.tags[tag], t, value)
            for tag, t, value in zip(read.tag.tolist(), read.t.tolist(), values, strict=True)
        ]
    return sorted(samples)


def opcua_parameters(endpoint: str, tags: list[str], **more: Any) -> dict[str, Any]:
    items = [{"node": f"ns=2;s=pump/{tag}", "asset": "pump", "tag": tag} for tag in tags]
    return {"endpoint": endpoint, "items": items, "publishing_interval": "20ms", **more}


def test_opcua_recording_lands_whole(
    simulate: Simulate, kafka: KafkaSettings, skab_file: Path
) -> None:
    simulator = simulate(
        {
            "kind": "opcua",
            "exit_at_end": True,
            "trace": {"path": str(skab_file), "asset": "pump", "speed": "max"},
        }
    )
    parameters = opcua_parameters(simulator.endpoint, SKAB_TAGS)
    with (
        LandedTopic(kafka, kafka.topics.raw("opcua")) as topic,
        RunningConnector("press", "opcua", parameters, kafka) as connector,
    ):
        finished = simulator.finished()
        assert finished["overrun"] == 0
        expected = sent(simulator)
        topic.until(lambda records: len(opcua_samples(records)) >= len(expected), "all samples")
        assert opcua_samples(topic.records) == expected
        assert connector.stats.lost == {}
        assert connector.stats.counters.lost == {}
    record = next(data(topic.records))
    assert record.key == "pump"
    assert record.headers["schema"] == b"raw-opcua/1"
    assert record.headers["connector"] == b"press"
    assert record.headers["content-type"] == b"application/json"
    assert record.headers["config-version"]
    name, session, number = record.headers["event-id"].decode().split(":")
    assert (name, number) == ("press", "0")
    assert session
    newest = max(t for _, t, _ in opcua_samples([record]))
    assert record.timestamp == newest // 1_000_000


def test_modbus_recording_lands_whole(
    simulate: Simulate, kafka: KafkaSettings, trace_file: Path
) -> None:
    simulator = simulate(
        {
            "kind": "modbus",
            "exit_at_end": True,
            "assets": [{"name": "pump", "unit": 7}],
            "trace": {
                "path": str(trace_file), "asset": "pump", "rows_per_second": 2, "speed": 1,
            },
        }
    )  # fmt: skip
    fields = {
        "row": {"address": 0, "type": "uint32"},
        "time": {"address": 2, "type": "int64", "role": "time_ns"},
        "Pressure": {"address": 6, "type": "float64"},
        "Flow Rate": {"address": 10, "type": "float64"},
    }
    templates = {"map": ModbusTemplate.model_validate({"fields": fields})}
    parameters = {
        "port": simulator.port,
        "units": [{"unit": 7, "asset": "pump", "template": "map", "interval": "20ms"}],
    }
    with (
        LandedTopic(kafka, kafka.topics.raw("modbus")) as topic,
        RunningConnector("line", "modbus", parameters, kafka, templates),
    ):
        simulator.finished()
        expected = {line["t"] for line in simulator.journal()}

        def seen(records: list[LandedRecord]) -> set[int]:
            times = set()
            for record in data(records):
                read = raw.decode_modbus(record.value)
                assert (record.key, read.template) == ("pump", "map")
                for poll in read.polls:
                    assert [each.count for each in poll.reads] == [14]
                    if not poll.reads[0].exception:
                        words = poll.reads[0].registers[2:6]
                        packed = b"".join(word.to_bytes(2, "big") for word in words)
                        times.add(int.from_bytes(packed, "big"))
            return times

        topic.until(lambda records: seen(records) >= expected, "all rows")
        assert seen(topic.records) == expected


def mqtt_parameters(stack: EmbeddedStack, **more: Any) -> dict[str, Any]:
    return {
        "host": stack.endpoints.mqtt_host,
        "port": stack.endpoints.mqtt_port,
        "subscriptions": [{"filter": "plant/+/+/data", "asset": "energy/{1}/{2}"}],
        **more,
    }


def test_mqtt_recording_lands_whole(
    simulate: Simulate, kafka: KafkaSettings, stack: EmbeddedStack, skab_file: Path,
    topic_prefix: str,
) -> None:  # fmt: skip
    site = topic_prefix.strip(".")
    more = {
        "subscriptions": [
            {
                "filter": f"{site}/+/data",
                "asset": "energy/{1}",
                "time": {"path": "ts", "format": "unix_s"},
            }
        ]
    }
    with (
        LandedTopic(kafka, kafka.topics.raw("mqtt")) as topic,
        RunningConnector("loggers", "mqtt", mqtt_parameters(stack, **more), kafka) as connector,
    ):
        connector.wait_connected()
        simulator = simulate(
            {
                "kind": "mqtt",
                "port": stack.endpoints.mqtt_port,
                "client_id": site,
                "exit_at_end": True,
                "assets": [{"name": "pump", "topic": f"{site}/{{asset}}/data"}],
                "trace": {"path": str(skab_file), "asset": "pump", "speed": "max"},
            }
        )
        simulator.finished()
        expected = sent(simulator)

        def samples(records: list[LandedRecord]) -> list[tuple[str, int, Any]]:
            found = []
            for record in data(records):
                assert record.key == "energy/pump"
                for message in raw.decode_mqtt(record.value):
                    body = json.loads(message.payload)
                    t = round(body.pop("ts") * 1000) * 1_000_000
                    found += [(tag, t, value) for tag, value in body.items()]
            return sorted(found)

        topic.until(lambda records: len(samples(records)) >= len(expected), "all samples")
        assert samples(topic.records) == expected
        # the event time of the payload is the record's time in Kafka
        first = next(data(topic.records))
        assert first.timestamp // 1000 < 1_600_000_000
        until(lambda: connector.stats.buffered_records == 0, "everything acknowledged")
        assert connector.stats.counters.lost == {}


def test_silent_assets_keep_time_moving(
    simulate: Simulate, kafka: KafkaSettings, trace_file: Path
) -> None:
    """A recording of 2020 ends; heartbeats go on from its last time, at the pace of the clock."""
    simulator = simulate(
        {
            "kind": "opcua",
            "assets": [
                {"name": "mute", "rows": 1, "tags": {"a": {"kind": "level", "at": 1.0}}}
            ],
            "trace": {"path": str(trace_file), "asset": "pump", "speed": "max"},
        }
    )  # fmt: skip
    parameters = opcua_parameters(
        simulator.endpoint, ["Pressure", "Flow Rate"], heartbeat="500ms", quiet="2s"
    )
    with (
        LandedTopic(kafka, kafka.topics.raw("opcua")) as topic,
        RunningConnector("press", "opcua", parameters, kafka) as connector,
    ):

        def beats_of(records: list[LandedRecord]) -> list[heartbeat.Heartbeat]:
            found = [heartbeat.decode(each.value) for each in beats(records)]
            return [beat for beat in found if beat.state is heartbeat.State.ALIVE]

        topic.until(lambda records: len(beats_of(records)) >= 4, "heartbeats")
        last = max(t for _, t, _ in opcua_samples(topic.records))
        found = beats_of(topic.records)
        assert {beat.asset for beat in found} == {"pump"}
        for beat in found:
            assert beat.elapsed is not None
            assert beat.t == last + beat.elapsed
        elapsed = [beat.elapsed or 0 for beat in found]
        assert all(0.4e9 < b - a < 2e9 for a, b in itertools.pairwise(elapsed))
        # the same key and the same path: in the order in which it happened
        places = [(each.partition, each.offset) for each in topic.records]
        assert places == sorted(places)
        assert [each.schema for each in topic.records][-4:] == ["heartbeat/1"] * 4
        until(lambda: not connector.stats.ready, "no data flows, and health says so")
        assert "no data" in connector.stats.why_not_ready


def test_partitions_are_those_of_quixstreams(stack: EmbeddedStack, kafka: KafkaSettings) -> None:
    """Our producers and quixstreams' (murmur2) put a key in the same partition."""
    from confluent_kafka import Producer

    from app.kafka import admin_client, producer_options
    from app.kafka.topics import ensure_topics, log_topic

    name = kafka.topics.raw("opcua")
    ensure_topics(admin_client(kafka), [log_topic(kafka, name)])
    keys = [f"glass/line-{n}/öfen".encode() for n in range(50)]
    ours = Producer(producer_options(kafka, "test"))
    theirs = Producer({"bootstrap.servers": kafka.bootstrap, "partitioner": "murmur2"})
    for producer in (ours, theirs):
        for key in keys:
            producer.produce(name, b"x", key, headers={"schema": b"x/1"})
        assert producer.flush(30) == 0
    with LandedTopic(kafka, name) as topic:
        topic.until(lambda records: len(records) == 100, "all")
        partitions: dict[str, set[int]] = {}
        for record in topic.records:
            partitions.setdefault(record.key, set()).add(record.partition)
    assert all(len(found) == 1 for found in partitions.values())
    assert len({next(iter(found)) for found in partitions.values()}) == kafka.partitions
