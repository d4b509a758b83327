"""The graph of a topology, from its declaration: topics, decoders, steps, what flows between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from models.topics import Topics
from topologies.core.boundary import Boundary
from topologies.core.flow import READINGS
from topologies.core.record import DEAD_LETTERS
from topologies.core.topology import Output, Topology


@dataclass(frozen=True, slots=True)
class Node:
    """A topic or a step."""

    #: A step's is its name; the others' contain a character that no step's name has.
    id: str
    #: "topic", "decode", "step" or "merge".
    kind: str
    label: str
    detail: str = ""
    #: What was measured of it, by name.
    live: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    """What flows from one node to another."""

    source: str
    target: str
    label: str = ""
    live: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Live:
    """What was measured of nodes, by id, and of edges, by source and target."""

    nodes: Mapping[str, Mapping[str, float]]
    edges: Mapping[tuple[str, str], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges in the order of the declaration."""

    name: str
    version: int
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def measured(self, live: Live) -> Graph:
        """The same graph with what was measured."""
        nodes = (replace(n, live=live.nodes.get(n.id, {})) for n in self.nodes)
        edges = (
            replace(e, live=live.edges.get((e.source, e.target), {})) for e in self.edges
        )
        return replace(self, nodes=tuple(nodes), edges=tuple(edges))


def graph(topology: Topology, topics: Topics | None = None) -> Graph:
    """The graph that runs: every input, step and output of the declaration."""
    drawing = _Drawing(topology, topics or Topics())
    drawing.inputs()
    drawing.steps()
    drawing.outputs()
    picture = tuple(drawing.nodes), tuple(drawing.edges)
    return Graph(topology.name, topology.version, topology.title, *picture)


class _Drawing:
    """A graph while it is made."""

    def __init__(self, topology: Topology, topics: Topics) -> None:
        self._topology, self._topics = topology, topics
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        #: Nodes that give the readings here; those of tables, which go to the first merge.
        self._heads: list[str] = []
        self._tables: list[str] = []
        #: The heads at the end of each part: of the inputs' ("readings"), of each merge's.
        self._ends: dict[str, list[str]] = {}
        #: The node that gives a lane here: its step, or the merge it went through.
        self._lanes: dict[str, str] = {}

    def inputs(self) -> None:
        for source in self._topology.inputs:
            topic, decode = f"topic:{source.name}", f"decode:{source.name}"
            kind, about = source.decode.kind, source.decode.summary
            label = source.topic(self._topics)
            self.nodes.append(Node(topic, "topic", label, ", ".join(source.assets)))
            self.nodes.append(Node(decode, "decode", f"decode {kind}", about))
            self.edges.append(Edge(topic, decode))
            (self._tables if source.table else self._heads).append(decode)

    def steps(self) -> None:
        place = READINGS
        for step in self._topology.steps:
            label = step.kind if step.name == step.kind else f"{step.name} ({step.kind})"
            if isinstance(step, Boundary):
                self._ends[place] = self._heads
                self.nodes.append(Node(step.name, "merge", label, step.summary))
                for lane in step.of:
                    here = self._heads if lane == READINGS else [self._lanes.get(lane, lane)]
                    tables = self._tables if lane == READINGS else []
                    self.edges += [Edge(one, step.name) for one in (*here, *tables)]
                    self._lanes[lane] = step.name
                self._tables, self._heads, place = [], [step.name], step.name
                continue
            self.nodes.append(Node(step.name, "step", label, step.summary))
            if step.source == READINGS:
                self.edges += [Edge(head, step.name) for head in self._heads]
            else:
                source = self._lanes.get(step.source, step.source)
                self.edges.append(Edge(source, step.name, getattr(step, "statistic", "")))
            if step.makes == READINGS:
                self._heads = [step.name]
        self._ends[place] = self._heads

    def outputs(self) -> None:
        topology, topics = self._topology, self._topics
        for output in topology.outputs:
            target = f"out:{output.name}"
            self.nodes.append(Node(target, "topic", topics.output(topology.name, output.name)))
            self.edges += [Edge(source, target) for source in self._sources(output)]
        self.nodes.append(Node(DEAD_LETTERS, "topic", topics.name(DEAD_LETTERS)))

    def _sources(self, output: Output) -> list[str]:
        if output.kind == READINGS:
            places = output.of or (READINGS,)
            return [head for place in places for head in self._ends.get(place, ())]
        return [
            step.name
            for step in self._topology.steps
            if step.feeds(output.kind) and (not output.of or step.name in output.of)
        ]
