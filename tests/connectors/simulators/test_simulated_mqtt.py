"""The MQTT simulator, seen by a paho subscriber behind a real broker (amqtt)."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.connectors.simulators.conftest import TRACE_SAMPLES

Messages = queue.Queue[tuple[str, bytes]]


@contextmanager
def subscriber(port: int) -> Iterator[Messages]:
    """Everything published, from when this begins."""
    found: Messages = queue.Queue()
    ready: queue.Queue[bool] = queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2, client_id="watcher")
    client.on_connect = lambda *_: client.subscribe("#", qos=1)
    client.on_subscribe = lambda *_: ready.put(True)
    client.on_message = lambda _client, _data, message: found.put((message.topic, message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    ready.get(timeout=20)
    yield found
    client.disconnect()
    client.loop_stop()


def take(messages: Messages, count: int) -> list[tuple[str, bytes]]:
    return [messages.get(timeout=30) for _ in range(count)]


def ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 10**6


def number(text: str) -> float:
    return float(text.replace(",", "."))


def read_flat(body: Any) -> list[tuple[str, int, Any]]:
    t = round(body.pop("ts") * 1000) * 10**6
    return [(tag, t, value) for tag, value in body.items()]


def read_nested(body: Any) -> list[tuple[str, int, Any]]:
    t = ns(body["device"]["time"])
    return [(one["name"], t, one["value"]) for one in body["readings"]]


def read_columns(body: Any) -> list[tuple[str, int, Any]]:
    return [
        (tag, t * 10**6, value)
        for tag, values in body["data"].items()
        for t, value in zip(body["timestamps"], values, strict=True)
        if value is not None
    ]


def read_sg(body: Any) -> list[tuple[str, int, Any]]:
    t = ns(body["local_time"])
    return [(tag, t, number(text)) for tag, text in body["values"].items()]


READERS = {"flat": read_flat, "nested": read_nested, "columns": read_columns, "sg": read_sg}


def as_seen(journal: list[dict[str, Any]]) -> list[tuple[str, int, Any]]:
    return sorted((line["tag"], line["t"], line["v"]) for line in journal)


@pytest.mark.parametrize("shape", ["flat", "nested", "columns", "sg"])
def test_a_trace_arrives_in_every_shape(
    simulate: Any, trace_file: Any, broker: int, shape: str
) -> None:
    asset = {"name": "energy/site-a/logger-1", "topic": "solar/{1}/{2}/data", "shape": shape}
    if shape == "columns":
        asset["batch"] = 2
    trace = {"path": str(trace_file), "asset": asset["name"], "speed": "max"}
    config = {"kind": "mqtt", "port": broker, "assets": [asset], "trace": trace}
    with subscriber(broker) as messages:
        process = simulate({**config, "exit_at_end": True})
        assert process.finished()["overrun"] == 0
        found = take(messages, 3 if shape == "columns" else 5)
        assert messages.empty()
    assert {topic for topic, _ in found} == {"solar/site-a/logger-1/data"}
    seen = [one for _, payload in found for one in READERS[shape](json.loads(payload))]
    assert sorted(seen) == TRACE_SAMPLES == as_seen(process.journal())


def test_plain_numbers_have_a_topic_each(simulate: Any, trace_file: Any, broker: int) -> None:
    asset = {"name": "rig", "topic": "{asset}/{tag}", "shape": "plain"}
    trace = {"path": str(trace_file), "asset": "rig", "speed": "max"}
    config = {"kind": "mqtt", "port": broker, "assets": [asset], "trace": trace}
    with subscriber(broker) as messages:
        process = simulate({**config, "exit_at_end": True})
        process.finished()
        found = take(messages, len(TRACE_SAMPLES))
    assert sorted((topic, float(payload)) for topic, payload in found) == sorted(
        (f"rig/{tag}", value) for tag, _, value in TRACE_SAMPLES
    )


def test_a_recorded_data_set_is_played_whole(simulate: Any, skab_file: Any, broker: int) -> None:
    trace = {"path": str(skab_file), "asset": "skab", "speed": "max", "rows": 150}
    with subscriber(broker) as messages:
        process = simulate({"kind": "mqtt", "port": broker, "trace": trace, "exit_at_end": True})
        process.finished()
        found = take(messages, 150)
    seen = [one for _, payload in found for one in read_flat(json.loads(payload))]
    lines = [row.split(";") for row in skab_file.read_text().splitlines()]
    assert sorted(seen) == as_seen(process.journal())
    assert sorted(seen) == sorted(
        (tag, ns(row[0] + "Z"), float(cell))
        for row in lines[1:151]
        for tag, cell in zip(lines[0][1:9], row[1:9], strict=True)
    )


def test_vendors_speak_of_bad_and_dropped_values(simulate: Any, broker: int) -> None:
    """Three loggers with the same faults: quality in words, null, empty; a dropped one is away."""

    def logger(shape: str) -> dict[str, Any]:
        tags = {
            "t_module": {"kind": "level", "at": 31.25, "unit": "degC"},
            "p_ac": {"kind": "level", "at": 4.5, "unit": "kW"},
        }
        names = {"p_ac": "PowerAC"}
        return {"name": shape, "shape": shape, "tags": tags, "names": names, "rows": 1}

    faults = [
        {"asset": shape, "tag": "t_module", "kind": "bad"} for shape in ("flat", "nested", "sg")
    ]
    faults.append({"asset": "columns", "tag": "t_module", "kind": "dropout"})
    config = {
        "kind": "mqtt",
        "port": broker,
        "version": "3.1.1",
        "start": "2013-12-02T21:15:00Z",
        "faults": faults,
        "assets": [logger(shape) for shape in ("flat", "nested", "sg", "columns")],
        "exit_at_end": True,
    }
    with subscriber(broker) as messages:
        process = simulate(config)
        process.finished()
        found = {topic: json.loads(payload) for topic, payload in take(messages, 4)}
    assert found["flat"] == {"ts": 1386018900, "t_module": None, "PowerAC": 4.5}
    assert found["nested"] == {
        "device": {"id": "nested", "time": "2013-12-02T21:15:00Z"},
        "readings": [
            {"name": "t_module", "value": None, "unit": "degC", "quality": "bad"},
            {"name": "PowerAC", "value": 4.5, "unit": "kW"},
        ],
    }
    assert found["sg"] == {
        "serial": "sg",
        "local_time": "2013-12-02 22:15:00+01:00",
        "values": {"t_module": "", "PowerAC": "4,5"},
    }
    assert found["columns"] == {"timestamps": [1386018900000], "data": {"PowerAC": [4.5]}}


def test_the_journal_holds_what_the_broker_acknowledged(simulate: Any, broker: int) -> None:
    """A silent logger publishes nothing, and nothing is journaled for it."""
    asset = {"name": "a", "interval": "20ms", "tags": {"x": {"kind": "level", "at": 1, "noise": 1}}}
    with subscriber(broker) as messages:
        process = simulate({"kind": "mqtt", "port": broker, "assets": [asset]})
        found = take(messages, 10)
        assert process.command(do="fault", asset="a", kind="dropout", **{"for": "1h"})["ok"]
        deadline, status = time.monotonic() + 20, process.command(do="status")
        rows = status["rows"]
        while status["rows"] < rows + 5:
            assert time.monotonic() < deadline
            status = process.command(do="status")
        assert status["samples"] < status["rows"]
        assert process.stop()["samples"] == status["samples"]
        found += take(messages, status["samples"] - 10)
        assert messages.empty()
    seen = [one for _, payload in found for one in read_flat(json.loads(payload))]
    assert sorted(seen) == as_seen(process.journal())
