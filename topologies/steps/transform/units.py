"""Unit conversion by pint, reduced once to ``value × gain + offset``."""

from __future__ import annotations

import re
from functools import lru_cache

import pint

#: How far a third point may be off the line through two, relative to their size.
_LINEAR = 1e-9
#: Plants write ``m3/h``; pint reads ``m**3/h``.
_POWER = re.compile(r"(?<=[A-Za-z])([23])(?![0-9])")


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry[float]:
    return pint.UnitRegistry(autoconvert_offset_to_baseunit=False)


@lru_cache(maxsize=4096)
def conversion(source: str, target: str) -> tuple[float, float]:
    """Gain and offset from one unit to another: ``("degF", "degC")`` is ``(0.555…, -17.77…)``.

    Raises ValueError that says which unit is unknown, or that they do not fit together.
    """
    registry = _registry()
    for unit in (source, target):
        try:
            registry.parse_units(_POWER.sub(r"**\1", unit))
        except Exception as error:
            raise ValueError(f"unknown unit {unit!r}") from error
    try:
        have, want = (registry.parse_units(_POWER.sub(r"**\1", u)) for u in (source, target))
        at = [registry.Quantity(x, have).to(want).magnitude for x in (0.0, 1.0, 1000.0)]
    except pint.DimensionalityError as error:
        raise ValueError(f"{source!r} cannot be converted to {target!r}") from error
    gain = (at[2] - at[0]) / 1000.0
    if abs(at[1] - at[0] - gain) > _LINEAR * max(abs(at[0]), abs(at[2]), 1.0):
        raise ValueError(f"{source!r} to {target!r} is no linear conversion")
    return float(gain), float(at[0])
