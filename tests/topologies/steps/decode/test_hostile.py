"""Nothing that a record holds stops a topology: it is a dead letter that says why, or is read."""

from __future__ import annotations

import orjson
import pytest

from app.shells.driver import Driver
from models.catalogue import Asset, Catalogue, FlatLine, Knowledge, Range, Tag, Thresholds
from models.modbus import ModbusField, ModbusTemplate
from models.quality import VALID
from models.records import headers
from tests.hostile import KEY, SCHEMAS, Hostile, good, hostile, strange
from topologies.core import Input, Output, Topology
from topologies.steps.decode import Blocks, Modbus, Mqtt, MqttTemplate, OpcUa
from topologies.steps.validate import Qartod

SOURCES = {
    "raw-opcua": "opcua",
    "raw-modbus": "modbus",
    "raw-mqtt": "mqtt",
    "heartbeat": "opcua",
    "block": "other.readings",
}
TOPOLOGY = Topology(
    name="probe",
    inputs=(
        Input(source="opcua", decode=OpcUa()),
        Input(source="modbus", decode=Modbus()),
        Input(
            source="mqtt",
            decode=Mqtt(
                templates=(
                    MqttTemplate(
                        name="flat", topic="site/#", time="ts", time_format="unix_s", fields="*"
                    ),
                )
            ),
        ),
        Input(source="other.readings", decode=Blocks()),
    ),
    steps=(Qartod(),),
    outputs=(Output(kind="readings"),),
)
TAG = Tag(
    gross_range=Range(low=0, high=100),
    rate_of_change=Thresholds(suspect=1),
    flat_line=FlatLine(suspect="1s"),
    spike=Thresholds(suspect=1),
    max_gap="1s",
)
KNOWLEDGE = Knowledge(
    catalogue=Catalogue(assets={KEY.decode(): Asset(tags={"x": TAG, "temperature": TAG})}),
    modbus_templates={"meter": ModbusTemplate(fields={"x": ModbusField(address=0, type="uint32")})},
)


def feed(driver: Driver, schema: str, record: Hostile) -> None:
    driver.raw(SOURCES[schema], record.key, record.value, record.headers)


def fine(schema: str) -> Hostile:
    head = {headers.SCHEMA: f"{schema}/1".encode()}
    return Hostile("fine", KEY, orjson.dumps(good(schema)), head)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_hostile_record_is_a_dead_letter_between_good_ones(schema: str) -> None:
    driver = Driver(TOPOLOGY, KNOWLEDGE)
    corpus = hostile(schema)
    feed(driver, schema, fine(schema))
    before = driver.state(SOURCES[schema], KEY.decode())
    assert driver.dead_letters() == []
    for number, record in enumerate(corpus, 1):
        feed(driver, schema, record)
        letters = driver.dead_letters()
        assert len(letters) == number, f"{record.name} was not refused"
        letter = letters[-1]
        assert letter.reason == "malformed", (record.name, letter.error)
        assert letter.error, record.name
        assert len(letter.error) < 600, record.name
        assert (letter.key, letter.value, dict(letter.headers)) == record[1:]
    assert driver.state(SOURCES[schema], KEY.decode()) == before
    feed(driver, schema, fine(schema))
    assert len(driver.dead_letters()) == len(corpus)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_strange_records_are_taken(schema: str) -> None:
    driver = Driver(TOPOLOGY, KNOWLEDGE)
    for record in strange(schema):
        for turn in (record, fine(schema), record):
            feed(driver, schema, turn)
        assert driver.dead_letters() == [], record.name
    for block in driver.blocks():
        assert VALID[block.q].all()


def test_names_are_distinct() -> None:
    names = [record.name for schema in SCHEMAS for record in (*hostile(schema), *strange(schema))]
    assert len(set(names)) == len(names)
