"""A smart factory: a press behind a PLC, an oven and vibration sensors; anomalies with alerts."""

from topologies.core import Input, Output, Topology
from topologies.steps import decode

OVEN = decode.MqttTemplate(
    name="oven", topic="factory/oven/data", time="device.time",
    items="readings", tag="name", value="value",
)  # fmt: skip
VIBRATION = decode.MqttTemplate(
    name="vibration", topic="factory/+/data", time="timestamps", time_format="unix_ms",
    columns="data",
)  # fmt: skip

topology = Topology(
    name="factory",
    title="Press, oven and vibration sensors of a factory",
    inputs=(
        Input(source="modbus", decode=decode.Modbus(), assets=("factory/*",)),
        Input(
            source="mqtt", decode=decode.Mqtt(templates=(OVEN, VIBRATION)), assets=("factory/*",)
        ),
    ),
    outputs=(Output(kind="readings", retention="90d"),),
)
