"""Calibration and unit conversion, as the catalogue says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.catalogue import Linear, Table, Tag
from models.errors import ConfigError
from models.records.block import Block
from models.records.values import Typed
from topologies.core.flow import Flow
from topologies.core.jit import kernel
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps.transform.units import conversion

_REMEMBERED = 4096
Floats = NDArray[np.float64]


class Scale(Step):
    """Applies each tag's calibration, then converts its ``source_unit`` to its ``unit``.

    Linear calibration is value × gain + offset; a table is interpolated linearly and held constant
    beyond its ends. Tags of which the catalogue says nothing pass as they are, 64-bit integers
    included.
    """

    kind: ClassVar[str] = "scale"
    calibrate: bool = Field(True, description="Apply calibrations")
    convert: bool = Field(True, description="Convert units")

    def bind(self, context: Context) -> Bound:
        """Raises ConfigError that names the tag whose units do not fit."""
        assets = {
            asset: _scales(asset, known.tags, self.calibrate, self.convert)
            for asset, known in context.knowledge.catalogue.assets.items()
        }
        plans: dict[tuple[str, tuple[str, ...]], _Plan | None] = {}

        def scale(flow: Flow, memory: Memory) -> None:
            block = flow.block
            key = (block.asset, block.tags)
            if key not in plans:
                if len(plans) >= _REMEMBERED:
                    plans.clear()
                plans[key] = _plan(block.tags, assets.get(block.asset, {}))
            plan = plans[key]
            if plan is not None and len(block):
                flow.block = _apply(block, plan)

        return scale


@dataclass(frozen=True, slots=True)
class _Scale:
    """One tag: table first (if any), then gain and offset."""

    gain: float
    offset: float
    table: tuple[Floats, Floats] | None


#: How a tag is scaled, as the kernel reads it: a table from ``first`` to ``last`` of all points
#: (none: ``first`` is ``last``), then gain and offset.
_HOW = np.dtype(
    [
        ("gain", np.float64),
        ("offset", np.float64),
        ("first", np.int64),
        ("last", np.int64),
    ]
)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a list of tags is scaled."""

    #: Of type :data:`_HOW`, and whether a tag is scaled at all; shape (tags,).
    how: NDArray[Any]
    touched: NDArray[np.bool_]
    #: The points of all tables, one after the other.
    raw: Floats
    calibrated: Floats


def _scales(
    asset: str, tags: Mapping[str, Tag], calibrate: bool, convert: bool
) -> dict[str, _Scale]:
    found = {}
    for name, tag in tags.items():
        gain, offset, table = 1.0, 0.0, None
        if calibrate and isinstance(tag.calibration, Linear):
            gain, offset = tag.calibration.gain, tag.calibration.offset
        elif calibrate and isinstance(tag.calibration, Table):
            points = np.array(tag.calibration.points, dtype=np.float64)
            table = (points[:, 0], points[:, 1])
        if convert and tag.source_unit and tag.unit and tag.source_unit != tag.unit:
            try:
                more, shift = conversion(tag.source_unit, tag.unit)
            except ValueError as error:
                field = f"catalogue.{asset}.tags.{name}.source_unit"
                raise ConfigError(str(error), field=field, value=tag.source_unit) from error
            gain, offset = gain * more, offset * more + shift
        if table is not None or (gain, offset) != (1.0, 0.0):
            found[name] = _Scale(gain, offset, table)
    return found


def _plan(tags: tuple[str, ...], scales: Mapping[str, _Scale]) -> _Plan | None:
    mine = [scales.get(tag) for tag in tags]
    if not any(mine):
        return None
    how = np.zeros(len(tags), _HOW)
    how["gain"] = 1.0
    raw, calibrated = [np.empty(0)], [np.empty(0)]
    points = 0
    for place, scale in enumerate(mine):
        if scale is None:
            continue
        how[place]["gain"], how[place]["offset"] = scale.gain, scale.offset
        if scale.table is not None:
            raw.append(scale.table[0])
            calibrated.append(scale.table[1])
            how[place]["first"] = points
            points += scale.table[0].size
            how[place]["last"] = points
    touched = np.array([scale is not None for scale in mine])
    return _Plan(how, touched, np.concatenate(raw), np.concatenate(calibrated))


def _apply(block: Block, plan: _Plan) -> Block:
    v = np.empty(len(block))
    finite = _scale(block.tag, block.v, plan.how, plan.raw, plan.calibrated, v)
    if block.typed or not finite:
        return replace(block, v=v, typed=_typed(block, v, plan.touched[block.tag]))
    return block.changed(v=v)


@kernel
def _scale(
    tag: NDArray[np.int32], v: Floats, how: NDArray[Any], raw: Floats, calibrated: Floats,
    scaled: Floats,
) -> bool:  # fmt: skip
    """Fill ``scaled`` (n,); whether all are finite."""
    finite = True
    for i in range(v.size):
        one, x = how[tag[i]], v[i]
        if one["first"] < one["last"]:
            x = _interpolate(x, raw, calibrated, one["first"], one["last"] - 1)
        scaled[i] = x * one["gain"] + one["offset"]
        finite &= np.isfinite(scaled[i])
    return finite


@kernel
def _interpolate(x: Any, raw: Floats, calibrated: Floats, low: int, high: int) -> Any:
    """Between the points ``low`` and ``high``; held at the ends, NaN stays NaN."""
    if np.isnan(x):
        return x
    if x <= raw[low]:
        return calibrated[low]
    if x >= raw[high]:
        return calibrated[high]
    while high - low > 1:
        middle = (low + high) // 2
        if raw[middle] <= x:
            low = middle
        else:
            high = middle
    slope = (calibrated[low + 1] - calibrated[low]) / (raw[low + 1] - raw[low])
    return slope * (x - raw[low]) + calibrated[low]


def _typed(block: Block, v: Floats, touched: NDArray[np.bool_]) -> tuple[Typed, ...]:
    """Typed values after scaling: exact ones of scaled tags are replaced by the new numbers."""
    kept = [entry for entry in block.typed if entry[1] in "sj" or not touched[entry[0]]]
    named = {entry[0] for entry in kept}
    was_missing = np.isnan(block.v)
    kept.extend(
        (place, "f", str(float(v[place])))
        for place in np.flatnonzero(~np.isfinite(v)).tolist()
        if place not in named and (not was_missing[place] or _said(block, place))
    )
    return tuple(sorted(kept, key=lambda entry: entry[0]))


def _said(block: Block, place: int) -> bool:
    """Whether the source itself said "not a number" (else there was no value)."""
    return any(entry[0] == place and entry[1] == "f" for entry in block.typed)
