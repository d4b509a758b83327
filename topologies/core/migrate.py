"""Help for migrations: a step's table under other columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from topologies.core.state import Columns, DictState, Memory, Overlay, Table

Arrays = Mapping[str, NDArray[Any]]


def relaid(
    values: Mapping[str, bytes], before: Columns, after: Columns, change: Callable[[Arrays], Arrays]
) -> dict[str, bytes]:
    """The state of one key with its table's columns changed, and all else as it was.

    ``change`` gets the arrays of all rows under ``before`` and gives those under ``after``. Raises
    StepError where the table is of another layout.
    """
    old = Table.load(_memory(DictState({f"/{name}": v for name, v in values.items()}))[0], before)
    if not len(old):
        return dict(values)
    state = DictState()
    memory, overlay = _memory(state)
    new = Table.load(memory, after)
    new.rows(old.tags)
    for name, array in change(old.arrays).items():
        new[name][:] = array
    new.save()
    overlay.apply()
    kept = {name: value for name, value in values.items() if not name.isdigit()}
    return kept | {place.removeprefix("/"): value for place, value in state.values.items()}


def _memory(state: DictState) -> tuple[Memory, Overlay]:
    overlay = Overlay(state)
    return Memory(overlay, ""), overlay
