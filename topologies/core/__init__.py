"""The language: what a topology is, and how it becomes pure functions over blocks.

A topology module needs only this:

    from topologies.core import Input, Output, Topology
"""

from topologies.core.compile import CompiledStage, CompiledTopology, compile_topology
from topologies.core.record import Emission, Record, Result
from topologies.core.topology import Input, Output, Topology

__all__ = [
    "CompiledStage",
    "CompiledTopology",
    "Emission",
    "Input",
    "Output",
    "Record",
    "Result",
    "Topology",
    "compile_topology",
]
