"""Raw records: what a source said, verbatim, gathered per asset. One schema a protocol.

A connector gathers messages and packs them with these encoders; a topology's decode step reads
them. Nothing here scales, filters or interprets values.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import MalformedRecord
from models.records import columns, values
from models.records.values import Typed


# ---------------------------------------------------------------- OPC UA
@dataclass(frozen=True, slots=True)
class OpcUaChange:
    """One data-change notification of one node."""

    tag: str
    node: str
    #: Source timestamp, ns; the server's where the source gave none; else receive time.
    t: int
    #: Server timestamp, ns (0 where there was none).
    server_t: int
    status: int
    value: Any


@dataclass(frozen=True, slots=True)
class OpcUaRecord:
    """Data changes as columns; arrays of shape (n,)."""

    received: int
    tags: tuple[str, ...]
    nodes: tuple[str, ...]
    tag: NDArray[np.int64]
    t: NDArray[np.int64]
    server_t: NDArray[np.int64]
    status: NDArray[np.uint32]
    v: NDArray[np.float64]
    typed: tuple[Typed, ...]


def encode_opcua(changes: Sequence[OpcUaChange], received: int) -> bytes:
    """JSON of schema ``raw-opcua/1``: columns, with the tags and node ids listed once."""
    index: dict[str, int] = {}
    nodes: list[str] = []
    tag: list[int] = []
    for change in changes:
        place = index.get(change.tag)
        if place is None:
            place = index[change.tag] = len(nodes)
            nodes.append(change.node)
        tag.append(place)
    v, typed = values.split([change.value for change in changes])
    record: dict[str, Any] = {
        "received": received,
        "tags": list(index),
        "nodes": nodes,
        "tag": tag,
        "t": [change.t for change in changes],
        "server_t": [change.server_t for change in changes],
        "status": [change.status for change in changes],
        "v": v,
    }
    if typed:
        record["typed"] = typed
    return columns.dumps(record)


def decode_opcua(payload: bytes | None) -> OpcUaRecord:
    """Raises MalformedRecord with the reason."""
    what = "raw-opcua"
    record = columns.loads(payload, what)
    received = columns.field(record, "received", int, what)
    tags = columns.strings(record.get("tags"), f"{what}: 'tags'")
    nodes = record.get("nodes")
    if not isinstance(nodes, list) or len(nodes) != len(tags):
        raise MalformedRecord(f"{what}: 'nodes' does not name one node a tag")
    tag = columns.integers(record.get("tag"), f"{what}: 'tag'", 0, max(len(tags) - 1, 0))
    size = int(tag.size)
    if size and not tags:
        raise MalformedRecord(f"{what}: samples but no tags")
    t = columns.integers(record.get("t"), f"{what}: 't'")
    server_t = columns.integers(record.get("server_t"), f"{what}: 'server_t'")
    status = columns.integers(record.get("status"), f"{what}: 'status'", 0, 2**32 - 1)
    v = values.read_floats(record.get("v"), (), f"{what}: 'v'")
    columns.same_length(size, what, t=t, server_t=server_t, status=status, v=v)
    typed = values.read_typed(record.get("typed"), size)
    for index, kind, value in typed:
        if kind == "f":
            v[index] = float(value)
    return OpcUaRecord(
        received, tags, tuple(map(str, nodes)), tag, t, server_t, status.astype(np.uint32), v, typed
    )


# ---------------------------------------------------------------- Modbus
#: Register tables of the Modbus application protocol v1.1b3, section 4.3.
TABLES = ("coil", "discrete", "input", "holding")


@dataclass(frozen=True, slots=True)
class ModbusRead:
    """One answer: consecutive registers (0..65535) or bits (0, 1), or an exception code."""

    table: str
    address: int
    #: Register or bit values; empty where the device answered with an exception.
    registers: Sequence[int]
    #: Modbus exception code (section 7), or 0. 11 also stands for a unit that did not answer.
    exception: int = 0
    #: How many were asked for.
    count: int = 0


@dataclass(frozen=True, slots=True)
class ModbusPoll:
    """All reads of one unit in one poll, at one time."""

    t: int
    reads: tuple[ModbusRead, ...]


@dataclass(frozen=True, slots=True)
class ModbusRecord:
    """Polls of one unit; ``template`` names the register map of its kind of device."""

    received: int
    template: str
    polls: tuple[ModbusPoll, ...]


def encode_modbus(template: str, polls: Sequence[ModbusPoll], received: int) -> bytes:
    """JSON of schema ``raw-modbus/1``."""
    return columns.dumps(
        {
            "received": received,
            "template": template,
            "polls": [
                {
                    "t": poll.t,
                    "reads": [
                        [read.table, read.address, list(read.registers), read.exception, read.count]
                        for read in poll.reads
                    ],
                }
                for poll in polls
            ],
        }
    )


def decode_modbus(payload: bytes | None) -> ModbusRecord:
    """Raises MalformedRecord with the reason."""
    what = "raw-modbus"
    record = columns.loads(payload, what)
    received = columns.field(record, "received", int, what)
    template = columns.field(record, "template", str, what)
    polls: list[ModbusPoll] = []
    for poll in columns.field(record, "polls", list, what):
        if not isinstance(poll, dict):
            raise MalformedRecord(f"{what}: a poll is not an object")
        t = columns.field(poll, "t", int, what)
        if not values.EXACT * -1024 < t < values.EXACT * 1024:
            raise MalformedRecord(f"{what}: 't' is beyond 64 bits")
        reads = tuple(map(_modbus_read, columns.field(poll, "reads", list, what)))
        polls.append(ModbusPoll(t, reads))
    return ModbusRecord(received, template, tuple(polls))


def _modbus_read(entry: Any) -> ModbusRead:
    what = "raw-modbus: a read"
    if not (isinstance(entry, list) and len(entry) == 5):
        raise MalformedRecord(f"{what} is not [table, address, registers, exception, count]")
    table, address, registers, exception, count = entry
    if table not in TABLES:
        raise MalformedRecord(f"{what} is of table {table!r:.40}, not one of {', '.join(TABLES)}")
    if type(address) is not int or not 0 <= address <= 65535:
        raise MalformedRecord(f"{what} has address {address!r:.40}, not 0..65535")
    if type(exception) is not int or not 0 <= exception <= 255:
        raise MalformedRecord(f"{what} has exception {exception!r:.40}, not 0..255")
    if type(count) is not int or not 0 <= count <= 2000:
        raise MalformedRecord(f"{what} has count {count!r:.40}, not 0..2000")
    limit = 1 if table in ("coil", "discrete") else 65535
    if not isinstance(registers, list) or not set(map(type, registers)) <= {int}:
        raise MalformedRecord(f"{what} has registers that are no integers")
    if registers and not (min(registers) >= 0 and max(registers) <= limit):
        raise MalformedRecord(f"{what} has a register outside 0..{limit}")
    if not exception and len(registers) != count:
        raise MalformedRecord(f"{what} has {len(registers)} registers of {count} asked for")
    return ModbusRead(table, address, registers, exception, count)


# ---------------------------------------------------------------- MQTT
@dataclass(frozen=True, slots=True)
class MqttMessage:
    """One message as the broker delivered it."""

    topic: str
    payload: bytes
    received: int
    qos: int = 0
    retain: bool = False


def encode_mqtt(messages: Sequence[MqttMessage]) -> bytes:
    """JSON of schema ``raw-mqtt/1``: payloads verbatim, as text, or base64 if not UTF-8."""
    return columns.dumps({"messages": [_mqtt_entry(message) for message in messages]})


def _mqtt_entry(message: MqttMessage) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "topic": message.topic,
        "received": message.received,
        "qos": message.qos,
        "retain": message.retain,
    }
    try:
        entry["payload"] = message.payload.decode("utf-8")
    except UnicodeDecodeError:
        entry["base64"] = base64.b64encode(message.payload).decode("ascii")
    return entry


def decode_mqtt(payload: bytes | None) -> list[MqttMessage]:
    """Raises MalformedRecord with the reason."""
    what = "raw-mqtt"
    record = columns.loads(payload, what)
    return [_mqtt_message(entry, what) for entry in columns.field(record, "messages", list, what)]


def _mqtt_message(entry: Any, what: str) -> MqttMessage:
    if not isinstance(entry, dict):
        raise MalformedRecord(f"{what}: a message is not an object")
    topic = columns.field(entry, "topic", str, what)
    received = columns.field(entry, "received", int, what)
    if not abs(received) < 2**63:
        raise MalformedRecord(f"{what}: 'received' is beyond 64 bits")
    qos = columns.field(entry, "qos", int, what)
    retain = columns.field(entry, "retain", bool, what)
    if "base64" in entry:
        try:
            body = base64.b64decode(columns.field(entry, "base64", str, what), validate=True)
        except ValueError as error:
            raise MalformedRecord(f"{what}: 'base64' is not base64: {error}") from error
    else:
        body = columns.field(entry, "payload", str, what).encode("utf-8")
    return MqttMessage(topic, body, received, qos, retain)
