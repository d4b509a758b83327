"""From a declaration to one pure function per stage (see ``topologies.core.stage``)."""

from __future__ import annotations

from models.topics import Topics
from topologies.core.merge.stage import MergingStage
from topologies.core.record import DEAD_LETTERS
from topologies.core.stage import CompiledStage, InputStage, Timer
from topologies.core.stages import Stage, stages
from topologies.core.topology import Topology

__all__ = ["CompiledStage", "CompiledTopology", "Timer", "compile_topology"]


class CompiledTopology:
    """All stages of a topology."""

    def __init__(self, declaration: Topology, timer: Timer | None = None) -> None:
        self.declaration = declaration
        self.name = declaration.name
        self.version = declaration.version
        self.stages: tuple[CompiledStage, ...] = tuple(
            _compiled(declaration, stage, timer) for stage in stages(declaration)
        )
        #: Names of all topics it writes but dead letters, without prefix or topology.
        self.outputs = (*(output.name for output in declaration.outputs), *declaration.channels)

    def output_topic(self, output: str, topics: Topics) -> str:
        """The full topic name of an emission's output."""
        return topics.dead_letters if output == DEAD_LETTERS else topics.output(self.name, output)


def compile_topology(topology: Topology, *, timer: Timer | None = None) -> CompiledTopology:
    """One function per stage; ``timer`` (such as ``time.perf_counter``) measures the steps."""
    return CompiledTopology(topology, timer)


def _compiled(declaration: Topology, stage: Stage, timer: Timer | None) -> CompiledStage:
    if stage.source is not None:
        return InputStage(declaration, stage, stage.source, timer)
    assert stage.merge is not None
    return MergingStage(declaration, stage, stage.merge, timer)
