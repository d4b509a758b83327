"""A smart factory: a press behind a PLC, an oven and vibration sensors; anomalies with alerts."""

from topologies.core import Input, Output, Topology
from topologies.steps import alarm, decode, detect, extract, transform, validate

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
    steps=(
        transform.Scale(),
        validate.Qartod(),
        extract.Window(size="6s", grace="1s"),  # two strokes of the press
        detect.Limits(),
        detect.Limits(name="critical", level="critical"),
        detect.Ewma(name="drift", of="window", statistic="rms", tau="10m", threshold=5.0),
        # What no single tag shows: an unusual way in which the press moves as a whole.
        detect.IsolationForest(
            name="press_pattern",
            of="window",
            features=("force:std", "hydraulic_pressure:mean", "stroke:mean"),
            train_on=100,
        ),
        alarm.Alarm(name="warning", of="limits", on_delay="2s", off_delay="5s", severity="medium"),
        alarm.Alarm(name="critical_alarm", of="critical", off_delay="5s", severity="critical"),
        alarm.Alarm(name="pattern_alarm", of="press_pattern", on_delay="30s", severity="low"),
    ),
    outputs=(
        Output(kind="readings", retention="90d"),
        Output(kind="features"),
        Output(kind="anomalies"),
        Output(kind="alarms"),
    ),
)
