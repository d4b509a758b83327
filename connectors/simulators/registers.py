"""Values as Modbus registers: types, scales, byte orders, and what stands for "no value"."""

from __future__ import annotations

import math
import struct

from connectors.simulators.config import WIDTH, ModbusAsset, ModbusField, ModbusSimulator

_FORMATS = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float32": "f", "float64": "d",
}  # fmt: skip


def _ordered(big: bytes, order: str) -> list[int]:
    """Registers of big-endian bytes. Words are reversed for DCBA and CDAB, bytes for DCBA, BADC."""
    words = [big[at : at + 2] for at in range(0, len(big), 2)]
    if order in ("DCBA", "CDAB"):
        words.reverse()
    if order in ("DCBA", "BADC"):
        return [int.from_bytes(word, "little") for word in words]
    return [int.from_bytes(word, "big") for word in words]


def _limits(kind: str) -> tuple[int, int]:
    bits = 16 * WIDTH[kind]
    return (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def missing(field: ModbusField) -> list[int]:
    """What devices answer for a value they do not have: NaN, 0x8000 or 0xFFFF (SunSpec)."""
    kind = field.type
    if kind == "bool":
        return [0]
    value: float = math.nan
    if "int" in kind:
        low, high = _limits(kind)
        value = high if kind[0] == "u" else low
    return _ordered(struct.pack(">" + _FORMATS[kind], value), field.order)


def encode(field: ModbusField, value: float | int) -> tuple[list[int], float | int | bool]:
    """The registers (or the bit) of a value, and the value that they carry.

    Integers are ``round(value / scale)`` kept in the type's range; float32 rounds.
    """
    kind = field.type
    if kind == "bool":
        return [int(bool(value))], bool(value)
    if "float" in kind:
        try:
            packed = struct.pack(">" + _FORMATS[kind], value)
        except OverflowError:  # beyond float32
            packed = struct.pack(">f", math.copysign(math.inf, value))
        carried: float | int = struct.unpack(">" + _FORMATS[kind], packed)[0]
        return _ordered(packed, field.order), carried
    if not math.isfinite(value):
        return missing(field), math.nan
    low, high = _limits(kind)
    count = value if isinstance(value, int) and field.scale == 1 else round(value / field.scale)
    count = min(max(count, low), high)
    carried = count if field.scale == 1 else count * field.scale
    return _ordered(struct.pack(">" + _FORMATS[kind], count), field.order), carried


def trace_fields(tags: list[str]) -> dict[str, ModbusField]:
    """The map of a recorded asset without one: row, time_ns, then float64 per tag, all holding."""
    fields = {
        "row": ModbusField(address=0, type="uint32", source="row"),
        "time_ns": ModbusField(address=2, type="int64", source="time_ns"),
    }
    for index, tag in enumerate(tags):
        fields[tag] = ModbusField(address=6 + 4 * index, type="float64")
    return fields


def with_trace_fields(asset: ModbusAsset, tags: list[str]) -> ModbusAsset:
    """The recorded asset with a field for every tag. Raises ValueError when one lacks."""
    if not asset.fields:
        return asset.model_copy(update={"fields": trace_fields(tags)})
    if lacking := [tag for tag in tags if tag not in asset.fields]:
        raise ValueError(f"asset {asset.name!r}: no Modbus field for the recorded tags {lacking}")
    return asset


def played_asset(simulator: ModbusSimulator, tags: list[str]) -> ModbusAsset:
    """The unit that plays the simulator's recording of ``tags``: its own, or the first one free.

    Raises ValueError when its map lacks a tag.
    """
    assert simulator.trace is not None
    name = simulator.trace.asset
    used = {asset.unit for asset in simulator.assets}
    for asset in simulator.assets:
        if asset.name == name:
            return with_trace_fields(asset, tags)
    free = next(unit for unit in range(1, 248) if unit not in used)
    return with_trace_fields(ModbusAsset(name=name, unit=free), tags)
