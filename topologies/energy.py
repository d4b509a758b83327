"""Solar plants: loggers with four vendors' payloads, made one; loggers that fall silent."""

from topologies.core import Input, Output, Topology
from topologies.steps import alarm, decode, detect, extract, transform, validate

#: What each vendor's loggers send, told apart by a path that only they have.
FLAT = decode.MqttTemplate(
    name="flat", topic="solar/#", when="ts", time="ts", time_format="unix_s",
    fields="*", ignore=("ts",),
)  # fmt: skip
NESTED = decode.MqttTemplate(
    name="nested", topic="solar/#", when="device.time", time="device.time",
    items="readings", tag="name", value="value",
)  # fmt: skip
COLUMNS = decode.MqttTemplate(
    name="columns", topic="solar/#", when="timestamps", time="timestamps", time_format="unix_ms",
    columns="data",
)  # fmt: skip
LOCAL = decode.MqttTemplate(
    name="local", topic="solar/#", when="local_time", time="local_time",
    fields="values.*", decimal=",",
    rename={"G": "irradiance", "P_DC": "dc_power", "P_AC": "ac_power", "E_TOTAL": "ac_energy_total",
            "T_MOD": "module_temperature"},
)  # fmt: skip

topology = Topology(
    name="energy",
    title="Data loggers of solar plants, whatever the vendor",
    inputs=(
        Input(
            source="mqtt",
            decode=decode.Mqtt(templates=(FLAT, NESTED, COLUMNS, LOCAL)),
            assets=("energy/*",),
        ),
    ),
    steps=(
        transform.Scale(),
        validate.Qartod(),
        transform.Derive(tag="efficiency", expression="ac_power / dc_power", on="ac_power"),
        extract.Window(size="1m", grace="10s"),
        detect.Silence(after="2m"),
        detect.Limits(),
        detect.Ewma(name="drift", of="window", tags=("efficiency", "module_temperature"), tau="1h"),
        alarm.Alarm(name="logger_missing", of="silence", severity="high"),
        alarm.Alarm(name="limit_alarm", of="limits", on_delay="5s", off_delay="30s"),
    ),
    outputs=(
        Output(kind="readings", retention="365d"),
        Output(kind="features"),
        Output(kind="anomalies"),
        Output(kind="alarms"),
    ),
)
