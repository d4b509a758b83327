"""The configuration with which a connector reads a recording that a simulator plays."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from connectors.simulators.config import (
    ModbusSimulator,
    MqttAsset,
    MqttSimulator,
    OpcUaSimulator,
    Trace,
)
from connectors.simulators.duration import SECOND, text_of
from connectors.simulators.player import AnySimulator
from connectors.simulators.registers import played_asset
from connectors.simulators.trace import Recording

#: Where the devices listen if nothing else is said. Modbus' own port 502 needs root.
PORTS = {"opcua": 4840, "modbus": 5020}
#: Fields of each payload that hold the time, and its format, for Kafka's timestamp of a record.
_PAYLOAD_TIMES = {"flat": ("ts", "unix_s"), "nested": ("device.time", "iso8601")}
_MS = 1_000_000
#: Polls a row, so that none is missed when a poll comes late.
_POLLS = 4
#: A poll of a loaded machine, with its few requests, is done in this time: asked more often, the
#: connector would count polls as missed that nobody missed. A simulator that plays as fast as it
#: is read waits for each poll.
_SHORTEST = 10 * _MS


def snippet(simulator: AnySimulator, recording: Recording) -> str:
    """TOML for ``plantstream.toml``: connector, register map, catalogue of the recorded asset.

    The connector is called after asset and protocol: ``glass-pump-opcua``.
    """
    trace = simulator.trace
    assert trace is not None
    name = f"{re.sub(r'[^A-Za-z0-9]+', '-', trace.asset).strip('-') or 'asset'}-{simulator.kind}"
    more: dict[tuple[str, ...], dict[str, Any]] = {}
    match simulator:
        case OpcUaSimulator():
            note, connector = _opcua(simulator, trace, recording)
        case ModbusSimulator():
            note, connector, fields = _modbus(simulator, trace, recording, name)
            more["modbus_templates", name, "fields"] = fields
        case MqttSimulator():
            note, connector = _mqtt(simulator, trace)
    tables = {("connectors", name): {"kind": simulator.kind, **connector}, **more}
    # Their units, ranges and limits are the reader's to add.
    tables["catalogue", trace.asset, "tags"] = {tag: {} for tag in recording.tags}
    return "\n".join([f"# {note}", *(_table(path, values) for path, values in tables.items())])


def _table(path: tuple[str, ...], values: dict[str, Any]) -> str:
    """A table of TOML, a line a member, as people write them."""
    lines = [f"{_key(key)} = {_lines(value)}\n" for key, value in values.items()]
    return f"[{'.'.join(map(_key, path))}]\n{''.join(lines)}"


def _lines(value: object) -> str:
    if isinstance(value, list):
        return "[\n" + "".join(f"    {_inline(each)},\n" for each in value) + "]"
    return _inline(value)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        members = ", ".join(f"{_key(key)} = {_inline(each)}" for key, each in value.items())
        return f"{{ {members} }}" if members else "{}"
    # Numbers and text are written alike in JSON and TOML, but for one character.
    return json.dumps(value).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _inline(key)


def _opcua(
    simulator: OpcUaSimulator, trace: Trace, recording: Recording
) -> tuple[str, dict[str, Any]]:
    port = simulator.port or PORTS["opcua"]
    items = [
        {"node": f"ns=2;s={trace.asset}/{tag}", "asset": trace.asset, "tag": tag}
        for tag in recording.tags
    ]
    endpoint = f"opc.tcp://127.0.0.1:{port}/plantstream/"
    note = f"For a simulator with --port {port}: a variable a tag, source time as recorded."
    return note, {"endpoint": endpoint, "items": items}


def _modbus(
    simulator: ModbusSimulator, trace: Trace, recording: Recording, template: str
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    port = simulator.port or PORTS["modbus"]
    asset = played_asset(simulator, recording.tags)
    fields = {}
    for name, field in asset.fields.items():
        if field.source == "row":
            continue  # a count, not a reading
        given: dict[str, Any] = {"address": field.address, "type": field.type}
        if field.table != "holding":
            given["table"] = field.table
        if field.order != "ABCD":
            given["order"] = field.order
        if field.scale != 1:
            given["scale"] = field.scale
        if field.source != "value":
            given["role"] = field.source
        fields[name] = given
    unit = {
        "unit": asset.unit, "asset": trace.asset, "template": template,
        "interval": text_of(_interval(trace, recording)),
    }  # fmt: skip
    note = f"For a simulator with --port {port}: the time as recorded, then a register map of tags."
    connector = {"host": "127.0.0.1", "port": port, "units": [unit]}
    return note, connector, fields


def _interval(trace: Trace, recording: Recording) -> int:
    """Time between polls, ns: a quarter of the time that a row stays, 10 ms to 1 s."""
    steps = np.diff(recording.t)
    steps = steps[steps > 0]
    if trace.rows_per_second is not None:
        stays = SECOND / trace.rows_per_second
    elif trace.speed == "max" or not steps.size:
        stays = 0.0
    else:
        stays = float(np.median(steps)) / trace.speed
    return min(max(int(stays / _POLLS) // _MS * _MS, _SHORTEST), SECOND)


def _mqtt(simulator: MqttSimulator, trace: Trace) -> tuple[str, dict[str, Any]]:
    known = {asset.name: asset for asset in simulator.assets}
    asset = known.get(trace.asset) or MqttAsset(name=trace.asset)
    subscription: dict[str, Any] = {
        "filter": asset.topic_of("+"),
        "asset": trace.asset.replace("{", "{{").replace("}", "}}"),
    }
    if asset.shape in _PAYLOAD_TIMES:
        path, written = _PAYLOAD_TIMES[asset.shape]
        subscription["time"] = {"path": path, "format": written}
    note = (
        f"The topology needs a payload template for topic {asset.topic_of('+')} and payloads of"
        f" shape {asset.shape!r}."
    )
    return note, {"subscriptions": [subscription]}
