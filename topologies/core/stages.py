"""The stages of a topology: its steps, cut where records change key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from topologies.core.boundary import Boundary, origin_of
from topologies.core.flow import READINGS
from topologies.core.step import Step

if TYPE_CHECKING:
    from topologies.core.topology import Input, Output, Topology


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps between two topics."""

    name: str
    #: One of the two: what it reads.
    source: Input | None
    merge: Boundary | None
    steps: tuple[Step, ...]
    #: What it writes; an output may be written by several stages.
    outputs: tuple[Output, ...]
    #: The merges that take what it made.
    onward: tuple[Boundary, ...]
    #: Names of the stages before it, as its records name them.
    origins: tuple[str, ...] = ()

    @property
    def made(self) -> frozenset[str]:
        """The lanes that its own steps make."""
        return frozenset(step.name for step in self.steps if step.makes != READINGS)


def segments(steps: tuple[Step, ...]) -> list[tuple[Boundary | None, tuple[Step, ...]]]:
    """The steps of each stage, behind the boundary that begins it."""
    found: list[tuple[Boundary | None, list[Step]]] = [(None, [])]
    for step in steps:
        if isinstance(step, Boundary):
            found.append((step, []))
        else:
            found[-1][1].append(step)
    return [(boundary, tuple(some)) for boundary, some in found]


def stages(topology: Topology) -> tuple[Stage, ...]:
    """All stages: one for each input, then one for each merge, in order."""
    parts = segments(topology.steps)
    fed: dict[int, list[Boundary]] = {number: [] for number in range(len(parts))}
    feeder: dict[str, int] = {}
    for number, (boundary, _) in enumerate(parts):
        if boundary is not None:
            feeder[boundary.name] = _feeder(boundary, number, parts)
            fed[feeder[boundary.name]].append(boundary)
    found = []
    for source in topology.inputs:
        steps = () if source.table else parts[0][1]
        onward = [one for one in fed[0] if not source.table or READINGS in one.of]
        outputs = () if source.table else _outputs(topology, None, steps)
        found.append(Stage(source.name, source, None, steps, outputs, tuple(onward)))
    names = tuple(stage.name for stage in found)
    for number, (boundary, steps) in enumerate(parts):
        if boundary is not None:
            before = feeder[boundary.name]
            merge = parts[before][0]
            origins = names if merge is None else (merge.name,)
            for entry in boundary.expects:
                if origin_of(entry)[0] not in (*origins, "*"):
                    raise ValueError(
                        f"merge {boundary.name!r} expects {entry!r}; before the ':' stands where it"
                        f" comes from, one of {', '.join(origins)} or *"
                    )
            found.append(
                Stage(
                    boundary.name,
                    None,
                    boundary,
                    steps,
                    _outputs(topology, boundary, steps),
                    tuple(fed[number]),
                    origins,
                )
            )
    return tuple(found)


def _feeder(
    boundary: Boundary, number: int, parts: list[tuple[Boundary | None, tuple[Step, ...]]]
) -> int:
    """Which stage makes what a merge takes; raises ValueError where it is not one."""
    makers: dict[int, str] = {}
    for lane in boundary.of:
        if lane == READINGS:
            makers.setdefault(number - 1, lane)
            continue
        maker = [n for n in range(number) if lane in {step.name for step in parts[n][1]}]
        if not maker:
            made = [s.name for _, some in parts[:number] for s in some if s.makes == "features"]
            raise ValueError(
                f"merge {boundary.name!r} is of {lane!r}, which no step before it makes;"
                f" there are {', '.join((READINGS, *made))}"
            )
        makers.setdefault(maker[0], lane)
    if len(makers) > 1:
        raise ValueError(
            f"merge {boundary.name!r} is of {' and '.join(makers.values())}, which are of different"
            " stages; it can take those of one"
        )
    return next(iter(makers))


def _outputs(
    topology: Topology, merge: Boundary | None, steps: tuple[Step, ...]
) -> tuple[Output, ...]:
    place = READINGS if merge is None else merge.name
    found = []
    for output in topology.outputs:
        if output.kind == READINGS:
            if (place in output.of) if output.of else merge is None:
                found.append(output)
        elif any(
            step.feeds(output.kind) and (not output.of or step.name in output.of)
            for step in steps
        ) or (merge is None and not output.of):
            found.append(output)
    return tuple(found)
