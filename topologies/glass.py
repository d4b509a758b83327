"""A glass production line: furnace and lehr over OPC UA, drives and valves over Modbus, climate
of the hall over MQTT."""

from topologies.core import Input, Output, Topology
from topologies.steps import decode, extract, transform

CLIMATE = decode.MqttTemplate(
    name="climate", topic="glass/env/+", time="ts", time_format="unix_s", fields="*", ignore=("ts",)
)

topology = Topology(
    name="glass",
    title="Glass line: furnace, lehr, drives, valves and hall climate",
    inputs=(
        Input(source="opcua", decode=decode.OpcUa(), assets=("glass/*",)),
        Input(source="modbus", decode=decode.Modbus(), assets=("glass/*",)),
        Input(source="mqtt", decode=decode.Mqtt(templates=(CLIMATE,)), assets=("glass/*",)),
    ),
    steps=(
        transform.Scale(),
        extract.Window(size="5s", grace="1s"),
    ),
    outputs=(
        Output(kind="readings", retention="90d"),
        Output(kind="features"),
    ),
)
