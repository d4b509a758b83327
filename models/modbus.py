"""Register maps of Modbus devices: which fields a kind of device has, where, and in what form.

The connector reads the ranges; the topology's decode step turns registers into values, so a
mended map replays.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Table = Literal["coil", "discrete", "input", "holding"]
FieldType = Literal[
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "string",
]  # fmt: skip
ByteOrder = Literal["ABCD", "DCBA", "BADC", "CDAB"]

#: Registers each type takes; strings say their own length.
REGISTERS: dict[str, int] = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 1, "uint16": 1, "float16": 1,
    "int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4,
}  # fmt: skip


class ModbusField(BaseModel):
    """One value in a device's registers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    table: Table = Field("holding", description="Which of the four Modbus tables")
    address: int = Field(ge=0, le=65535, description="Zero-based address of the first register")
    type: FieldType = Field("uint16", description="How the registers are read")
    order: ByteOrder = Field(
        "ABCD",
        description="Byte order, A the most significant byte: ABCD big-endian, DCBA all bytes"
        " swapped, BADC bytes in each word swapped, CDAB words swapped",
    )
    bit: int | None = Field(None, ge=0, le=15, description="For bool in a register: which bit")
    length: int = Field(1, ge=1, le=125, description="Registers of a string")
    scale: float = Field(1.0, description="Raw number × scale")
    offset: float = Field(0.0, description="Added after scaling")
    role: Literal["value", "time_ns", "time_ms", "time_s"] = Field(
        "value",
        description="A time field gives the event time of the whole poll instead of a value",
    )

    @property
    def registers(self) -> int:
        """How many registers (or bits, of a bit table) the field takes."""
        return self.length if self.type == "string" else REGISTERS[self.type]

    @model_validator(mode="after")
    def _fits(self) -> ModbusField:
        if self.table in ("coil", "discrete") and self.type != "bool":
            raise ValueError(f"table {self.table!r} holds bits: type must be 'bool'")
        if self.address + self.registers > 65536:
            raise ValueError(f"address {self.address} + {self.registers} registers ends past 65535")
        if self.type in ("string", "bool") and self.role != "value":
            raise ValueError("a time field is a number")
        return self


class ModbusTemplate(BaseModel):
    """The register map of one kind of device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = Field("", description="Which device, for people")
    fields: dict[str, ModbusField] = Field(description="Tags of the device by name", min_length=1)
    max_registers: int = Field(125, ge=1, le=125, description="Most registers in one request")
    max_hole: int = Field(
        8, ge=0, le=124, description="Unused registers read over to save a request; 0: never"
    )

    @model_validator(mode="after")
    def _one_time(self) -> ModbusTemplate:
        times = [name for name, field in self.fields.items() if field.role != "value"]
        if len(times) > 1:
            raise ValueError(f"only one field can be the time, these are: {', '.join(times)}")
        return self
