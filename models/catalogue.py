"""The catalogue: what is known of each asset and tag (unit, range, calibration, limits)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.modbus import ModbusTemplate
from models.time import Duration

Severity = Literal["critical", "high", "medium", "low"]


class Model(BaseModel):
    """Base of all declared values: frozen, and a field nobody knows is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Range(Model):
    """A closed interval; an end left out is open."""

    low: float | None = Field(None, description="Lowest value allowed; none: no lower end")
    high: float | None = Field(None, description="Highest value allowed; none: no upper end")

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class Linear(Model):
    """Linear calibration: value × gain + offset."""

    kind: Literal["linear"] = "linear"
    gain: float = Field(1.0, description="Factor applied first")
    offset: float = Field(0.0, description="Added after, in the tag's unit")


class Table(Model):
    """Table calibration: linear interpolation between points, held constant beyond the ends."""

    kind: Literal["table"] = "table"
    points: tuple[tuple[float, float], ...] = Field(
        description="Pairs [raw, calibrated], raw rising", min_length=2
    )

    @model_validator(mode="after")
    def _rising(self) -> Table:
        raw = [point[0] for point in self.points]
        if any(b <= a for a, b in itertools.pairwise(raw)):
            raise ValueError(f"raw values must rise strictly, they are {raw}")
        return self


Calibration = Annotated[Linear | Table, Field(discriminator="kind")]


class FlatLine(Model):
    """QARTOD flat line: a range of at most ``tolerance`` over a time."""

    tolerance: float = Field(0.0, ge=0, description="Values within this of each other are flat")
    suspect: Duration = Field(description="Flat for this long is SUSPECT")
    fail: Duration | None = Field(None, description="Flat for this long is FAIL; none: never")


class Thresholds(Model):
    """A suspect and a fail threshold; one left out is not tested."""

    suspect: float | None = Field(None, ge=0, description="Above this is SUSPECT")
    fail: float | None = Field(None, ge=0, description="Above this is FAIL")


class Limits(Model):
    """Static alarm limits with a deadband."""

    low_low: float | None = Field(None, description="Below this: critical")
    low: float | None = Field(None, description="Below this: warning")
    high: float | None = Field(None, description="Above this: warning")
    high_high: float | None = Field(None, description="Above this: critical")
    deadband: float = Field(0.0, ge=0, description="How far back a value must come to be normal")

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        given = [v for v in (self.low_low, self.low, self.high, self.high_high) if v is not None]
        if given != sorted(given):
            raise ValueError(f"limits must rise from low_low to high_high, they are {given}")
        return self


class Tag(Model):
    """One measured point of an asset."""

    unit: str = Field("", description="Unit of the values kept, such as 'degC', 'Pa', 'm/s'")
    source_unit: str = Field("", description="Unit the source sends, where it is another one")
    description: str = Field("", description="What is measured, for people")
    calibration: Calibration | None = Field(None, description="Applied before unit conversion")
    gross_range: Range | None = Field(None, description="Outside is FAIL (sensor range)")
    suspect_range: Range | None = Field(None, description="Outside is SUSPECT (operator range)")
    rate_of_change: Thresholds | None = Field(None, description="Per second, in the tag's unit")
    spike: Thresholds | None = Field(
        None, description="Against the mean of both neighbours; holds each sample until the next"
    )
    flat_line: FlatLine | None = Field(None, description="A value that does not move")
    max_gap: Duration | None = Field(None, description="A longer time between samples is a gap")
    limits: Limits | None = Field(None, description="Static alarm limits")


class Asset(Model):
    """A device or machine: the Kafka key."""

    description: str = Field("", description="What it is, for people")
    tags: dict[str, Tag] = Field(default_factory=dict, description="Its tags by name")


class Catalogue(Model):
    """Everything known of all assets, by asset name."""

    assets: dict[str, Asset] = Field(default_factory=dict)

    def tag(self, asset: str, tag: str) -> Tag | None:
        """What is known of a tag, or None."""
        known = self.assets.get(asset)
        return known.tags.get(tag) if known else None

    def tags(self, asset: str) -> Mapping[str, Tag]:
        """All tags of an asset; empty for an unknown one."""
        known = self.assets.get(asset)
        return known.tags if known else {}


class Knowledge(Model):
    """What steps may look up beside the record: valid at one time, the same for all workers."""

    catalogue: Catalogue = Field(default_factory=Catalogue)
    modbus_templates: dict[str, ModbusTemplate] = Field(
        default_factory=dict, description="Register maps by kind of device"
    )
