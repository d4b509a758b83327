"""A small topology of three stages, for tests of merging: readings and windows of machines meet by
line, lines meet in a plant."""

from __future__ import annotations

from typing import Any

from tests.worker_topology import Blocks
from topologies.core import Input, Output, Topology
from topologies.core.step import Step
from topologies.steps import combine, extract

LINES = ("north", "south")


def lines(*, together: bool = False, **merge: Any) -> Topology:
    """Machines are ``<line>/<machine>``; readings come from ``plc``, laboratory values from
    ``lab``, set points from the table ``recipes``, keyed by line.

    ``together``: readings and windows go through one merge instead of one each.
    """
    expects = merge.pop("expects", ("plc:{line}/press", "plc:{line}/oven", "lab:{line}/press"))
    merge["keys"] = {"{line}/*": "{line}"}
    merge["expects"] = tuple(entry.replace(":", "_readings:") for entry in expects)
    join = combine.AsOf(
        left=("*/press:force",),
        columns={"purity": "*:purity", "recipe": "*:recipe"},
        tolerance="20s",
    )
    fold = combine.Aggregate(name="line_power", tags=("power",))
    by_line: tuple[Step, ...] = (
        combine.Merge(name="line", **merge),
        join,
        combine.Merge(name="line_windows", of=("window",), **merge),
        fold,
    )
    if together:
        by_line = (combine.Merge(name="line", of=("readings", "window"), **merge), join, fold)
    return Topology(
        name="lines",
        inputs=(
            Input(source="plc.readings", decode=Blocks()),
            Input(source="lab.readings", decode=Blocks()),
            Input(source="recipes.readings", decode=Blocks(), table=True),
        ),
        steps=(
            extract.Window(size="10s", statistics=("mean", "min", "max")),
            *by_line,
            combine.Merge(
                name="plant",
                keys={"*": "plant"},
                of=("line_power",),
                expects=tuple(f"{'line' if together else 'line_windows'}:{n}" for n in LINES),
            ),
            combine.Aggregate(name="plant_power", of="line_power"),
        ),
        outputs=(
            Output(kind="readings"),
            Output(kind="readings", name="joined", of=("line",)),
            Output(kind="features", name="by_line", of=("line_power",)),
            Output(kind="features", name="by_plant", of=("plant_power",)),
        ),
    )
