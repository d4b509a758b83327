"""Parameters of the Modbus connector."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.base import ConnectorParameters
from models.time import Duration


class ModbusUnit(BaseModel):
    """One unit behind the connection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: int = Field(1, ge=0, le=255, description="Unit id (slave address)")
    asset: str = Field(min_length=1, description="The asset it is")
    template: str = Field(min_length=1, description="Register map of its kind of device")
    interval: Duration = Field(1_000_000_000, ge=1_000_000, description="Time between polls")


class ModbusParameters(ConnectorParameters):
    """A Modbus TCP server or gateway, and the units behind it."""

    host: str = Field("127.0.0.1", min_length=1, description="Host of the device or gateway")
    port: int = Field(502, ge=1, le=65535, description="TCP port")
    timeout: Duration = Field(
        1_000_000_000, ge=1_000_000, description="Longest wait for an answer"
    )
    retries: int = Field(
        0, ge=0, le=10, description="How often a request without an answer is sent again"
    )
    silent_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of the line's time that a unit which does not answer may take",
    )
    units: tuple[ModbusUnit, ...] = Field(min_length=1, description="The units to poll")

    @model_validator(mode="after")
    def _one_template_an_asset(self) -> ModbusParameters:
        seen: set[tuple[int, str, str]] = set()
        for unit in self.units:
            key = (unit.unit, unit.asset, unit.template)
            if key in seen:
                raise ValueError(
                    f"unit {unit.unit} is polled twice as asset {unit.asset!r} with template"
                    f" {unit.template!r}"
                )
            seen.add(key)
        return self
