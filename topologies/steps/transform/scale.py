"""Calibration and unit conversion, as the catalogue says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.catalogue import Linear, Table, Tag
from models.errors import ConfigError
from models.records.block import Block
from models.records.values import Typed
from topologies.core.flow import Flow
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


@dataclass(frozen=True, slots=True)
class _Plan:
    """A list of tags; arrays of shape (len(tags),)."""

    gain: Floats
    offset: Floats
    touched: NDArray[np.bool_]
    tables: tuple[tuple[int, Floats, Floats], ...]


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
    return _Plan(
        np.array([one.gain if one else 1.0 for one in mine]),
        np.array([one.offset if one else 0.0 for one in mine]),
        np.array([one is not None for one in mine]),
        tuple((n, *one.table) for n, one in enumerate(mine) if one is not None and one.table),
    )


def _apply(block: Block, plan: _Plan) -> Block:
    v, tag = block.v, block.tag
    for number, raw, calibrated in plan.tables:
        # Samples are grouped by tag, so those of one tag are a slice.
        low, high = np.searchsorted(tag, (number, number + 1))
        if high > low:
            v = v.copy() if v is block.v else v
            part = v[low:high]
            # interp sends NaN to NaN, and holds the ends.
            v[low:high] = np.interp(part, raw, calibrated)
    v = v * plan.gain.take(tag)
    v += plan.offset.take(tag)
    if block.typed or not math.isfinite(np.add.reduce(v)):
        return replace(block, v=v, typed=_typed(block, v, plan.touched[tag]))
    return block.changed(v=v)


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
