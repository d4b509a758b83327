"""MQTT payload templates: the shapes of several vendors, and reasons where one does not fit."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from connectors.simulators.config import MqttAsset
from connectors.simulators.faults import Sample
from connectors.simulators.payloads import messages
from connectors.simulators.player import Row
from models.errors import MalformedRecord
from models.quality import FAIL, GOOD, MISSING
from models.records.block import Block
from tests.topologies.steps.decode.reading import T0, mqtt, rows
from topologies.steps.decode import MqttTemplate

MS = 1_000_000
TEMPLATES = [
    MqttTemplate(name="plain", topic="plain/+/+", format="plain", tag_level=-1),
    MqttTemplate(name="flat", when="ts", time="ts", time_format="unix_s", fields="*"),
    MqttTemplate(
        name="nested", when="device", time="device.time", items="readings", tag="name",
        value="value",
    ),
    MqttTemplate(
        name="columns", when="timestamps", time="timestamps", time_format="unix_ms", columns="data"
    ),
    MqttTemplate(
        name="sg", when="local_time", time="local_time", fields="values.*", decimal=",",
        rename={"T_MOD": "module_temperature"},
    ),
]  # fmt: skip


def sent(shape: str, values: list[dict[str, Any]], **fields: Any) -> list[tuple[str, bytes]]:
    """What the simulator publishes for rows of values, a second and a bit apart."""
    topic = "plain/logger/{tag}" if shape == "plain" else f"solar/{shape}"
    asset = MqttAsset.model_validate(
        {"name": "a", "shape": shape, "topic": topic, "tags": {}, **fields}
    )
    many = [
        Row("a", n, T0 + n * 1001 * MS, [Sample(tag, v) for tag, v in row.items()])
        for n, row in enumerate(values)
    ]
    return [(message.topic, message.payload) for message in messages(asset, many)]


VALUES = [
    {"power": 1234.5, "level": -3, "on": True},
    {"power": 0.1, "level": math.nan, "on": False},
    {"power": 1e-7, "level": 2**60 + 1, "on": True},
]


@pytest.mark.parametrize(
    ("shape", "fields"),
    [
        ("flat", {}),
        ("nested", {}),
        ("columns", {"batch": 3}),
        ("sg", {"offset": "-03:30"}),
        ("plain", {}),
    ],
)
def test_what_the_simulator_sends_comes_back(shape: str, fields: dict[str, Any]) -> None:
    block = mqtt(TEMPLATES, *sent(shape, VALUES, **fields))
    expected = []
    for n, row in enumerate(VALUES):
        t = T0 if shape == "plain" else T0 + n * 1001 * MS
        for tag, value in row.items():
            gone = isinstance(value, float) and math.isnan(value)
            # Decimal text holds numbers only, and this simulator writes them as floats.
            text = shape == "sg" and not gone
            kept = float(value) if text and abs(value) < 2**53 else value
            kept = int(Decimal(repr(float(value)))) if text and abs(value) > 2**53 else kept
            expected.append((tag, t, None if gone else kept, MISSING if gone else GOOD))
    got = [(tag, t, None if q == MISSING else v, q) for tag, t, v, q in rows(block)]
    assert got == expected


def test_shapes_on_one_topic_are_told_apart() -> None:
    several = [sent(shape, VALUES[:1])[0][1] for shape in ("flat", "nested", "columns", "sg")]
    block = mqtt(TEMPLATES, *(("solar/x", payload) for payload in several))
    assert rows(block)[::3] == [("power", T0, 1234.5, GOOD)] * 4


def test_names_are_changed_and_text_that_is_no_number_is_kept_and_fails() -> None:
    values = {"T_MOD": "12,5", "U": "1.234,5", "state": "n/a", "I": "", "n": "17", "x": "NaN"}
    body = {"local_time": "2023-11-14T22:13:20Z", "values": values}
    block = mqtt(TEMPLATES, ("solar/x", orjson.dumps(body)))
    got = {tag: (value, q) for tag, _, value, q in rows(block)}
    assert got.pop("x")[1] == MISSING
    assert got == {
        "module_temperature": (12.5, GOOD), "U": ("1.234,5", FAIL), "state": ("n/a", FAIL),
        "I": (None, MISSING), "n": (17, GOOD),
    }  # fmt: skip


def test_flat_members_that_are_no_measured_points_are_left_out() -> None:
    template = MqttTemplate(
        name="t", time="meta.at", time_format="unix_ms", fields="*", ignore=("serial",)
    )
    body = {"meta": {"at": 5}, "serial": "X1", "a": 1, "list": [1, 2], "text": "on"}
    block = mqtt(template, ("x", orjson.dumps(body)))
    assert rows(block) == [("a", 5 * MS, 1, GOOD), ("text", 5 * MS, "on", GOOD)]


def test_paths_of_each_tag_positions_and_pointers() -> None:
    template = MqttTemplate(
        name="t", time="/head/t.utc", time_format="unix_ns",
        tags={"first": "list.0", "deep": "/a~1b/c.d", "absent": "no.such"},
    )  # fmt: skip
    body = {"head": {"t.utc": 7}, "list": [1.5], "a/b": {"c.d": None}}
    block = mqtt(template, ("x", orjson.dumps(body)))
    assert rows(block) == [("first", 7, 1.5, GOOD), ("deep", 7, None, MISSING)]


def test_items_may_carry_their_own_times() -> None:
    template = MqttTemplate(
        name="t", items="", item_time="at", time_format="unix_s", tag="n", value="v"
    )
    body = [{"at": 2, "n": "b", "v": 1}, {"at": 1.5, "n": "a", "v": 2}]
    block = mqtt(template, ("x", orjson.dumps(body)))
    assert rows(block) == [("b", 2 * 10**9, 1, GOOD), ("a", 1_500_000_000, 2, GOOD)]


@pytest.mark.parametrize(
    ("payload", "value", "q"),
    [
        (b"21.5", 21.5, GOOD), (b" -7 ", -7, GOOD), (b"9007199254740993", 2**53 + 1, GOOD),
        (b"true", True, GOOD), (b"null", None, MISSING), (b"", None, MISSING),
        (b"1e3", 1000.0, GOOD), (b"open", "open", GOOD), (b"1_000", "1_000", GOOD),
    ],
)  # fmt: skip
def test_plain_values(payload: bytes, value: object, q: int) -> None:
    block = mqtt(TEMPLATES, ("plain/hall/temperature", payload), received=T0 + 5)
    assert rows(block) == [("temperature", T0 + 5, value, q)]


def test_one_value_of_a_document_named_by_the_topic() -> None:
    template = MqttTemplate(
        name="t", topic="+/+/state", value="val", time="t", time_format="unix_s", tag_level=1
    )
    block = mqtt(template, ("plant/valve/state", b'{"val": 3, "t": 1}'))
    assert rows(block) == [("valve", 10**9, 3, GOOD)]


@pytest.mark.parametrize(
    ("wanted", "topic", "fits"),
    [
        ("#", "a/b", True), ("a/#", "a", True), ("a/#", "a/b/c", True), ("a/+", "a/b", True),
        ("a/+", "a", False), ("a/+", "a/b/c", False), ("+/b", "a/b", True), ("a", "a/", False),
        ("#", "$SYS/uptime", False), ("$SYS/#", "$SYS/uptime", True), ("a/+/#", "a/b", True),
    ],
)  # fmt: skip
def test_topic_filters(wanted: str, topic: str, fits: bool) -> None:
    assert MqttTemplate(name="t", topic=wanted, fields="*").matches(topic) is fits


@pytest.mark.parametrize(
    ("topic", "payload", "words"),
    [
        ("solar/x", b"21.5 degC", ["'flat'", "'solar/x'", "not JSON"]),
        ("solar/x", b'{"other": 1}', ["'solar/x'", "flat, nested, columns, sg"]),
        ("solar/x", b'{"ts": "noon", "a": 1}', ["'flat'", "'ts'", "'noon' is no number"]),
        ("solar/x", b'{"device": {}, "readings": []}', ["'nested'", "'device.time'"]),
        ("solar/x", b'{"device": {"time": "2023-11-14T22:13:20Z"}}', ["'nested'", "'readings'"]),
        (
            "solar/x",
            b'{"device": {"time": "2023-11-14T22:13:20Z"}, "readings": [{"name": 5, "value": 1}]}',
            ["'nested'", "tag's name is 5"],
        ),
        (
            "solar/x",
            b'{"timestamps": [1, 2], "data": {"a": [1]}}',
            ["'columns'", "'a' is not a list of 2 values"],
        ),
        ("plain/hall/t", b"\xff\xfe", ["'plain'", "not UTF-8"]),
    ],
)
def test_what_does_not_fit_names_template_topic_and_path(
    topic: str, payload: bytes, words: list[str]
) -> None:
    with pytest.raises(MalformedRecord) as refused:
        mqtt(TEMPLATES, (topic, payload))
    for word in words:
        assert word in str(refused.value)


def test_a_topic_without_a_template_is_refused() -> None:
    with pytest.raises(MalformedRecord, match="'other/x' fits none of the templates only"):
        mqtt(MqttTemplate(name="only", topic="solar/#", fields="*"), ("other/x", b"{}"))


def test_one_bad_message_refuses_the_gathered_record() -> None:
    with pytest.raises(MalformedRecord):
        mqtt(TEMPLATES, ("solar/x", b'{"ts": 1, "a": 1}'), ("solar/x", b"{}"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ["exactly one of items, tags, fields, columns, value"]),
        ({"fields": "*", "columns": "data"}, ["it has fields, columns"]),
        ({"items": "readings"}, ["items needs tag and value"]),
        ({"columns": "data"}, ["columns needs the path of the times"]),
        ({"format": "plain"}, ["needs tag_level"]),
        ({"fields": "values"}, ["'*' or a path that ends in '.*'"]),
        ({"fields": "*", "topic": "a/#/b"}, ["'a/#/b' is no topic filter"]),
        ({"fields": "*", "time_format": "unix"}, ["unix_s, unix_ms"]),
        ({"fields": "*", "timezone": "Berlin"}, ["'Berlin' is no time zone"]),
        ({"fields": "*", "decimals": ","}, ["decimals"]),
    ],
)
def test_a_wrong_template_says_what_is_allowed(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValidationError) as refused:
        MqttTemplate(name="t", **fields)
    for word in words:
        assert word in str(refused.value)


def test_empty_records_have_no_samples() -> None:
    block: Block = mqtt(TEMPLATES)
    assert len(block) == 0
