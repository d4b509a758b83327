"""Decodes one raw record, as a stage does."""

from __future__ import annotations

from typing import Any

from models.catalogue import Knowledge
from models.modbus import ModbusTemplate
from models.records.block import Block
from models.records.headers import RAW_MODBUS, RAW_MQTT, RAW_OPCUA, Schema
from models.records.raw import (
    ModbusPoll,
    MqttMessage,
    OpcUaChange,
    encode_modbus,
    encode_mqtt,
    encode_opcua,
)
from models.time import NS_PER_S
from topologies.core import Record
from topologies.core.step import Context, Decoder
from topologies.steps.decode import Modbus, Mqtt, MqttTemplate, OpcUa

T0 = 1_700_000_000 * NS_PER_S


def read(
    decoder: Decoder, schema: Schema, value: bytes, knowledge: Knowledge | None = None
) -> Block:
    context = Context("probe", 1, knowledge or Knowledge(), 300 * NS_PER_S)
    record = Record("raw", 0, 0, 0, b"a", value, {"schema": schema.header})
    return decoder.bind(context)(record, "a")


def opcua(*changes: tuple[str, int, Any, int]) -> Block:
    """Changes as (tag, t, value, status)."""
    named = [OpcUaChange(tag, f"ns=2;s={tag}", t, t, status, v) for tag, t, v, status in changes]
    return read(OpcUa(), RAW_OPCUA, encode_opcua(named, T0))


def modbus(fields: dict[str, Any], *polls: ModbusPoll) -> Block:
    known = Knowledge(modbus_templates={"meter": ModbusTemplate.model_validate({"fields": fields})})
    return read(Modbus(), RAW_MODBUS, encode_modbus("meter", polls, T0), known)


def mqtt(
    templates: MqttTemplate | list[MqttTemplate], *messages: tuple[str, bytes], received: int = T0
) -> Block:
    given = tuple(templates) if isinstance(templates, list) else (templates,)
    wrapped = [MqttMessage(topic, payload, received) for topic, payload in messages]
    return read(Mqtt(templates=given), RAW_MQTT, encode_mqtt(wrapped))


def rows(block: Block) -> list[tuple[str, int, Any, int]]:
    """Every sample as (tag, t, exact value, quality)."""
    return [
        (block.tags[tag], t, value, q)
        for tag, t, value, q in zip(
            block.tag.tolist(), block.t.tolist(), block.exact(), block.q.tolist(), strict=True
        )
    ]
