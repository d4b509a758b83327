"""A glass production line: furnace and lehr over OPC UA, drives and valves over Modbus, climate
of the hall over MQTT."""

from topologies.core import Input, Output, Topology
from topologies.steps import alarm, decode, detect, extract, transform, validate

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
        validate.Qartod(),
        transform.Derive(
            tag="shaft_power", expression="torque * speed / 9549.3", assets=("glass/drives",)
        ),
        extract.Window(size="10s", grace="1s"),
        # A limit is a matter of seconds; what drifts is seen in the windows.
        detect.Limits(),
        detect.Ewma(name="drift", of="window", statistic="mean", tau="10m", threshold=5.0),
        detect.RobustZ(name="unrest", of="window", statistic="std", threshold=8.0),
        alarm.Alarm(name="limit_alarm", of="limits", on_delay="2s", severity="high"),
        alarm.Alarm(name="drift_alarm", of="drift", on_delay="30s", off_delay="1m", severity="low"),
    ),
    outputs=(
        Output(kind="readings", retention="90d"),
        Output(kind="features"),
        Output(kind="anomalies"),
        Output(kind="alarms"),
    ),
)
