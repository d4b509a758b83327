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
    tag: NDArray[np.int32]
    t: NDArray[np.int64]
    #: As it came, not made an array: no step needs it.
    server_t: list[int]
    #: Empty where every status is Good (0).
    status: NDArray[np.uint32]
    v: NDArray[np.float64]
    typed: tuple[Typed, ...]


def encode_opcua(changes: Sequence[OpcUaChange], received: int) -> bytes:
    """JSON of schema ``raw-opcua/1``: columns, with the tags and node ids listed once.

    ``status`` is left out where all are Good.
    """
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
        "v": v,
    }
    status = [change.status for change in changes]
    if any(status):
        record["status"] = status
    if typed:
        record["typed"] = typed
    return columns.dumps(record)


def decode_opcua(payload: bytes | None) -> OpcUaRecord:
    """Raises MalformedRecord with the reason."""
    what = "raw-opcua"
    record = columns.loads(payload, what)
    received = columns.time(record, "received", what)
    tags = columns.strings(record.get("tags"), "raw-opcua: 'tags'")
    nodes = record.get("nodes")
    if type(nodes) is not list or len(nodes) != len(tags):
        raise MalformedRecord("raw-opcua: 'nodes' does not name one node a tag")
    tag = columns.indexes(record.get("tag"), "raw-opcua: 'tag'", len(tags))
    size = int(tag.size)
    t = columns.integers(record.get("t"), "raw-opcua: 't'")
    typed = values.read_typed(record.get("typed"), size)
    v = values.read_floats(record.get("v"), typed, size, "raw-opcua: 'v'")
    given = record.get("status")
    if given is None:
        status = _NO_STATUS
    else:
        status = columns.bounded(given, "raw-opcua: 'status'", 0, 2**32 - 1, np.uint32)
        columns.same_length(size, what, status=status)
    columns.same_length(size, what, t=t)
    server_t = record.get("server_t")
    if type(server_t) is not list or len(server_t) != size:
        raise MalformedRecord("raw-opcua: 'server_t' is not a list of one time a sample")
    return OpcUaRecord(received, tags, tuple(map(str, nodes)), tag, t, server_t, status, v, typed)


_NO_STATUS = np.empty(0, dtype=np.uint32)


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
    received = columns.time(record, "received", what)
    template = columns.field(record, "template", str, what)
    polls: list[ModbusPoll] = []
    for poll in columns.field(record, "polls", list, what):
        if not isinstance(poll, dict):
            raise MalformedRecord(f"{what}: a poll is not an object")
        t = columns.time(poll, "t", what)
        reads = tuple(map(_modbus_read, columns.field(poll, "reads", list, what)))
        polls.append(ModbusPoll(t, reads))
    return ModbusRecord(received, template, tuple(polls))


def _modbus_read(entry: Any) -> ModbusRead:
    what = "raw-modbus: a read"
    if not (isinstance(entry, list) and len(entry) == 5):
        raise MalformedRecord(f"{what} is not [table, address, registers, exception, count]")
    table, address, registers, exception, count = entry
    if table not in TABLES:
        given, allowed = columns.shown(table), ", ".join(TABLES)
        raise MalformedRecord(f"{what} is of table {given}, not one of {allowed}")
    if type(address) is not int or not 0 <= address <= 65535:
        raise MalformedRecord(f"{what} has address {columns.shown(address)}, not 0..65535")
    if type(exception) is not int or not 0 <= exception <= 255:
        raise MalformedRecord(f"{what} has exception {columns.shown(exception)}, not 0..255")
    if type(count) is not int or not 0 <= count <= 2000:
        raise MalformedRecord(f"{what} has count {columns.shown(count)}, not 0..2000")
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
    received = columns.time(entry, "received", what)
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
