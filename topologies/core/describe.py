"""The graph of a topology, drawn from its declaration: text, Mermaid, or JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import orjson

from models.topics import Topics
from topologies.core.flow import READINGS
from topologies.core.record import DEAD_LETTERS
from topologies.core.topology import Output, Topology


@dataclass(frozen=True, slots=True)
class Node:
    """A topic or a step."""

    #: A step's is its name; the others' contain a character that no step's name has.
    id: str
    #: "topic", "decode" or "step".
    kind: str
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """What flows from one node to another."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges in the order of the declaration."""

    name: str
    version: int
    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph(topology: Topology, topics: Topics | None = None) -> Graph:
    """The graph that runs: every input, step and output of the declaration."""
    topics = topics or Topics()
    nodes: list[Node] = []
    edges: list[Edge] = []
    heads: list[str] = []
    for source in topology.inputs:
        topic = source.topic(topics)
        decode, arrives = f"decode:{source.name}", f"topic:{source.name}"
        nodes.append(Node(arrives, "topic", topic, ", ".join(source.assets)))
        nodes.append(Node(decode, "decode", f"decode {source.decode.kind}", source.decode.summary))
        edges.append(Edge(arrives, decode))
        heads.append(decode)
    for step in topology.steps:
        nodes.append(Node(step.name, "step", _label(step.name, step.kind), step.summary))
        if step.source == READINGS:
            edges.extend(Edge(head, step.name) for head in heads)
        else:
            edges.append(Edge(step.source, step.name, getattr(step, "statistic", "")))
        if step.makes == READINGS:
            heads = [step.name]
    for output in topology.outputs:
        target = f"out:{output.name}"
        nodes.append(Node(target, "topic", topics.output(topology.name, output.name)))
        edges.extend(Edge(source, target) for source in _sources(topology, output, heads))
    nodes.append(Node(DEAD_LETTERS, "topic", topics.name(DEAD_LETTERS)))
    return Graph(topology.name, topology.version, topology.title, tuple(nodes), tuple(edges))


def _sources(topology: Topology, output: Output, heads: list[str]) -> list[str]:
    if output.kind == "readings":
        return heads
    return [
        step.name
        for step in topology.steps
        if step.feeds(output.kind) and (not output.of or step.name in output.of)
    ]


def text(topology: Topology, topics: Topics | None = None) -> str:
    """For terminals: a line an input, step and output."""
    picture = graph(topology, topics)
    feeds: dict[str, list[str]] = {}
    labels = {node.id: node.label for node in picture.nodes}
    for edge in picture.edges:
        feeds.setdefault(edge.target, []).append(edge.source)
    lines = [f"{picture.name} v{picture.version}: {picture.title}".rstrip(": ")]
    for node in picture.nodes:
        sources = feeds.get(node.id, [])
        origin = f"  ◄ {', '.join(labels[source] for source in sources)}" if sources else ""
        mark = {"topic": "▤", "decode": "▷", "step": "●"}[node.kind]
        detail = f" [{node.detail}]" if node.detail else ""
        lines.append(f"  {mark} {node.label}{detail}{origin}")
    return "\n".join(lines)


def mermaid(topology: Topology, topics: Topics | None = None) -> str:
    """A Mermaid flowchart of the same graph."""
    picture = graph(topology, topics)
    lines = ["flowchart LR"]
    for node in picture.nodes:
        detail = f"<br/>{_safe(node.detail)}" if node.detail else ""
        body = f'"{_safe(node.label)}{detail}"'
        shape = f"[({body})]" if node.kind == "topic" else f"([{body}])"
        lines.append(f"  {_id(node.id)}{shape}")
    for edge in picture.edges:
        arrow = f"-- {_safe(edge.label)} -->" if edge.label else "-->"
        lines.append(f"  {_id(edge.source)} {arrow} {_id(edge.target)}")
    steps = [node.id for node in picture.nodes if node.kind != "topic"]
    lines.append(f"  {_id(steps[0])} -. cannot be processed .-> {_id(DEAD_LETTERS)}")
    return "\n".join(lines)


def json(topology: Topology, topics: Topics | None = None) -> bytes:
    """The graph, with every step's parameters."""
    picture = asdict(graph(topology, topics))
    picture["parameters"] = {
        step.name: {"kind": step.kind, **step.model_dump(mode="json")} for step in topology.steps
    }
    return orjson.dumps(picture, option=orjson.OPT_INDENT_2)


def _label(name: str, kind: str) -> str:
    return kind if name == kind else f"{name} ({kind})"


def _id(node: str) -> str:
    """A node's id in Mermaid, where words such as ``end`` and ``style`` mean something."""
    return node.replace(":", "_").replace("-", "_") if {*":-"} & {*node} else f"step_{node}"


def _safe(label: str) -> str:
    return label.replace('"', "'").replace("<", "&lt;").replace(">", "&gt;").replace("|", "/")
