"""Configuration of the simulators: what they serve, what goes wrong, and what they play.

``Simulator`` is the union of the three, told apart by ``kind``.
"""

from __future__ import annotations

import string
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from connectors.simulators.duration import Duration
from connectors.simulators.signal_config import Model, Signal, evaluation_order

FaultKind = Literal["spike", "drift", "offset", "stuck", "dropout", "bad", "uncertain"]
OpcUaType = Literal[
    "double", "float", "int16", "int32", "int64", "uint16", "uint32", "uint64", "boolean"
]
ModbusType = Literal[
    "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bool"
]
ModbusTable = Literal["holding", "input", "coil", "discrete"]
ByteOrder = Literal["ABCD", "DCBA", "BADC", "CDAB"]
Shape = Literal["flat", "nested", "columns", "plain", "sg"]

#: Registers a value of each type takes; a bool is one bit.
WIDTH: dict[str, int] = {
    "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4,
    "float32": 2, "float64": 4, "bool": 1,
}  # fmt: skip
#: Columns that are labels of data sets, not readings.
LABELS = ("anomaly", "changepoint", "label", "is_anomaly")


class Fault(Model):
    """A fault at a set time, counted in event time from the asset's first row."""

    asset: str = Field(description="Asset it happens to.")
    tag: str | None = Field(
        default=None, description="Tag it happens to; without one, all of the asset."
    )
    kind: FaultKind = Field(
        description="spike (one sample), drift (grows to size), offset, stuck (last value kept),"
        " dropout (nothing sent), bad and uncertain (quality)."
    )
    at: Duration = Field(
        default="0", validate_default=True, description="When, from the first row."
    )
    length: Duration = Field(
        default="30s",
        validate_default=True,
        alias="for",
        description="How long; a spike is one sample.",
    )
    size: float | None = Field(
        default=None,
        description="Added to the value; by default six times the signal's usual spread.",
    )
    every: Duration | None = Field(
        default=None, gt=0, description="Happens again so often; without it once."
    )


class RandomFaults(Model):
    """Faults at random times, reproducible from the simulator's seed."""

    rate_per_hour: float = Field(gt=0, description="Mean number of faults per tag and hour.")
    kinds: tuple[FaultKind, ...] = Field(
        default=("spike", "drift", "offset", "stuck", "dropout", "bad"),
        min_length=1,
        description="Kinds drawn from, equally likely.",
    )
    longest: Duration = Field(
        default="1m", validate_default=True, gt=0, description="Each lasts up to this, uniformly."
    )


class Trace(Model):
    """A recorded CSV played through the protocol as one asset."""

    path: Path = Field(description="CSV file with a header line and a time column.")
    asset: str = Field(description="Asset the columns become tags of.")
    delimiter: str | None = Field(
        default=None, description="Column separator; guessed when absent."
    )
    time_column: str | None = Field(
        default=None, description="Column of the time; else timestamp, datetime, time, date or ts."
    )
    columns: tuple[str, ...] | None = Field(
        default=None,
        description="Columns played; by default all that hold numbers and are no labels.",
    )
    exclude: tuple[str, ...] = Field(
        default=LABELS, description="Columns left out when not chosen."
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="Tag name per column; the column's name otherwise."
    )
    speed: float | Literal["max"] = Field(
        default=1.0,
        description="Times faster than recorded; max is as fast as the other side takes rows.",
    )
    rows_per_second: float | None = Field(
        default=None, gt=0, description="Fixed pace instead of the recorded one."
    )
    first: int = Field(default=0, ge=0, description="Rows skipped at the start of the file.")
    rows: int | None = Field(default=None, ge=1, description="Rows played; all by default.")
    wait_for_client: bool = Field(
        default=True,
        description="OPC UA: rows wait while no client monitors all tags. Modbus: the first row"
        " stays until the unit is read. MQTT: no effect.",
    )
    patience: Duration = Field(
        default="30s",
        validate_default=True,
        description="How long a row waits for a client that is slow before the trace goes on"
        " regardless, which is counted as overrun; also the wait at the end.",
    )

    @field_validator("speed")
    @classmethod
    def _positive(cls, speed: float | str) -> float | str:
        if not isinstance(speed, str) and not speed > 0:
            raise ValueError("must be above 0, or 'max'")
        return speed


class SimAsset(Model):
    """An asset with generated signals; all tags are sampled together."""

    name: str = Field(min_length=1, description="Asset name, such as glass/furnace.")
    interval: Duration = Field(
        default="1s", validate_default=True, gt=0, description="Time between rows."
    )
    tags: dict[str, Signal] = Field(
        default_factory=dict, description="Signal per tag; may be empty for a trace's asset."
    )
    rows: int | None = Field(
        default=None, ge=1, description="Rows sent before the asset falls silent."
    )

    @field_validator("tags")
    @classmethod
    def _ordered(cls, tags: dict[str, Signal]) -> dict[str, Signal]:
        evaluation_order(tags)
        return tags


class OpcUaAsset(SimAsset):
    """A folder of variables with NodeIds ns=2;s=<asset>/<tag>."""

    types: dict[str, OpcUaType] = Field(
        default_factory=dict, description="OPC UA type per tag; double otherwise."
    )


class ModbusField(Model):
    """Where and how a Modbus unit holds one value."""

    table: ModbusTable = Field(default="holding", description="holding, input, coil or discrete.")
    address: int = Field(ge=0, le=65535, description="First register or bit, counted from 0.")
    type: ModbusType = Field(default="float32", description="Type of the value; bool for bits.")
    order: ByteOrder = Field(default="ABCD", description="Byte order; A is the most significant.")
    scale: float = Field(default=1.0, gt=0, description="Value per count, for integers.")
    source: Literal["value", "row", "time_ms", "time_ns"] = Field(
        default="value", description="The tag's value, or the row's number, or its event time."
    )

    @model_validator(mode="after")
    def _bits(self) -> Self:
        if (self.table in ("coil", "discrete")) != (self.type == "bool"):
            raise ValueError(f"table {self.table!r} does not hold type {self.type!r}")
        if self.source != "value" and not self.type.removeprefix("u").startswith("int"):
            raise ValueError(f"source {self.source!r} needs an integer type, not {self.type!r}")
        return self

    @property
    def stop(self) -> int:
        """The first register or bit behind the value."""
        return self.address + WIDTH[self.type]


class ModbusAsset(SimAsset):
    """One unit of a Modbus line."""

    unit: int = Field(ge=1, le=247, description="Unit id.")
    fields: dict[str, ModbusField] = Field(
        default_factory=dict,
        description="Field per tag (or any name for row and time). Empty for a trace's asset:"
        " row uint32 at 0, time_ns int64 at 2, then float64 per tag from 6, all holding.",
    )

    @model_validator(mode="after")
    def _map(self) -> Self:
        taken: dict[tuple[str, int], str] = {}
        for name, field in self.fields.items():
            if field.source == "value" and self.tags and name not in self.tags:
                raise ValueError(f"field {name!r} is not one of the tags {sorted(self.tags)}")
            for at in range(field.address, field.stop):
                other = taken.setdefault((field.table, at), name)
                if other != name:
                    raise ValueError(f"fields {other!r} and {name!r} overlap at address {at}")
        if missing := set(self.tags) - set(self.fields):
            raise ValueError(f"tags without a field: {sorted(missing)}")
        return self


class MqttAsset(SimAsset):
    """One logger that publishes its rows."""

    topic: str = Field(
        default="{asset}",
        min_length=1,
        description="Topic; {asset}, {tag}, {0}, {1}... (parts of the asset's name) are filled in.",
    )
    shape: Shape = Field(
        default="flat",
        description="Payload: flat {ts, tag...}, nested {device, readings}, columns"
        " {timestamps, data}, plain (a number per topic, no time), sg (text, decimal comma).",
    )
    names: dict[str, str] = Field(default_factory=dict, description="Payload name per tag.")
    batch: int = Field(
        default=1, ge=1, le=10_000, description="Rows per payload, in shape columns."
    )
    offset: Annotated[str, Field(pattern=r"^[+-]\d\d:\d\d$")] = Field(
        default="+01:00", description="Offset of the local time in shape sg."
    )

    @model_validator(mode="after")
    def _shape(self) -> Self:
        if self.batch > 1 and self.shape != "columns":
            raise ValueError(f"batch > 1 needs shape 'columns', not {self.shape!r}")
        if self.shape == "plain" and "{tag}" not in self.topic:
            raise ValueError("shape 'plain' needs {tag} in the topic")
        try:
            topic = self.topic_of("tag")
        except (IndexError, KeyError, ValueError) as error:
            parts = [text for _, text, _, _ in string.Formatter().parse(self.topic) if text]
            raise ValueError(
                f"topic {self.topic!r} uses {parts}; known are asset, tag and the parts 0.."
                f"{self.name.count('/')}: {error}"
            ) from None
        if set(topic) & set("+#"):
            raise ValueError(f"topic {topic!r} contains a wildcard (+ or #)")
        return self

    def topic_of(self, tag: str = "") -> str:
        """The topic with the placeholders filled in."""
        return self.topic.format(*self.name.split("/"), asset=self.name, tag=tag)


class _Simulator(Model):
    name: str = Field(default="", description="Name in messages and metrics.")
    seed: int = Field(default=0, ge=0, description="Everything random follows from it.")
    start: datetime | None = Field(
        default=None,
        description="Event time of the first row of signals (UTC if naive); now by default.",
    )
    paused: bool = Field(default=False, description="Begin paused, until the command resume.")
    faults: tuple[Fault, ...] = Field(default=(), description="Faults at set times.")
    random_faults: RandomFaults | None = Field(default=None, description="Faults at random times.")
    trace: Trace | None = Field(default=None, description="A recording to play.")
    journal: Path | None = Field(default=None, description="JSON-lines file of everything sent.")
    exit_at_end: bool = Field(
        default=False,
        description="End when the trace and all bounded assets are through and served.",
    )
    linger: Duration = Field(
        default="0", validate_default=True, description="Stay this long after that end."
    )
    control: Literal["none", "stdin", "tcp"] = Field(
        default="none",
        description="Where JSON-lines commands come from; tcp is a free loopback port.",
    )

    @model_validator(mode="after")
    def _assets(self) -> Self:
        assets: tuple[SimAsset, ...] = getattr(self, "assets", ())
        names = [asset.name for asset in assets]
        if doubles := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"assets named twice: {doubles}")
        if not names and self.trace is None:
            raise ValueError("needs assets or a trace")
        known = {*names, *([self.trace.asset] if self.trace else [])}
        for fault in self.faults:
            if fault.asset not in known:
                raise ValueError(f"fault of asset {fault.asset!r}; known are {sorted(known)}")
        for asset in assets:
            played = self.trace is not None and self.trace.asset == asset.name
            if played and asset.tags:
                raise ValueError(f"asset {asset.name!r} has both signals and a trace")
            if not played and not asset.tags:
                raise ValueError(f"asset {asset.name!r} has neither signals nor a trace")
        return self


class OpcUaSimulator(_Simulator):
    """An OPC UA server on loopback."""

    kind: Literal["opcua"] = "opcua"
    port: int = Field(default=0, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    assets: tuple[OpcUaAsset, ...] = Field(default=(), description="Assets with signals.")
    max_queue: int = Field(
        default=10_000, ge=1, description="Longest queue the server grants a monitored item."
    )


class ModbusSimulator(_Simulator):
    """A Modbus TCP server on loopback."""

    kind: Literal["modbus"] = "modbus"
    port: int = Field(default=0, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    assets: tuple[ModbusAsset, ...] = Field(default=(), description="Units with signals.")

    @model_validator(mode="after")
    def _units(self) -> Self:
        units = [asset.unit for asset in self.assets]
        if len(set(units)) != len(units):
            raise ValueError(f"unit ids used twice in {units}")
        return self


class MqttSimulator(_Simulator):
    """Loggers that publish to an MQTT broker."""

    kind: Literal["mqtt"] = "mqtt"
    host: str = Field(default="127.0.0.1", description="Host of the broker.")
    port: int = Field(default=1883, ge=1, le=65535, description="TCP port of the broker.")
    version: Literal["3.1.1", "5"] = Field(default="3.1.1", description="MQTT version.")
    client_id: str = Field(default="", description="Client id; made from the seed when empty.")
    window: int = Field(
        default=20, ge=1, le=10_000, description="Publishes awaiting acknowledgement."
    )
    assets: tuple[MqttAsset, ...] = Field(default=(), description="Loggers with signals.")


Simulator = Annotated[OpcUaSimulator | ModbusSimulator | MqttSimulator, Field(discriminator="kind")]


def dump(simulator: OpcUaSimulator | ModbusSimulator | MqttSimulator) -> dict[str, Any]:
    """The configuration as JSON values that the models read back."""
    return simulator.model_dump(mode="json", by_alias=True)
