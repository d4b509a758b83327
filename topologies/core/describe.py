"""The graph of a topology as text, Mermaid, or JSON; with what was measured of it, where it was."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from models.topics import Topics
from topologies.core.graph import Edge, Graph, Live, Node, graph
from topologies.core.record import DEAD_LETTERS
from topologies.core.topology import Topology

__all__ = ["Edge", "Graph", "Live", "Node", "graph", "json", "mermaid", "text"]

_MARKS = {"topic": "▤", "decode": "▷", "step": "●", "merge": "⋈"}


def text(topology: Topology, topics: Topics | None = None, live: Live | None = None) -> str:
    """For terminals: a line an input, step and output."""
    picture = _picture(topology, topics, live)
    feeds: dict[str, list[Edge]] = {}
    labels = {node.id: node.label for node in picture.nodes}
    for edge in picture.edges:
        feeds.setdefault(edge.target, []).append(edge)
    lines = [f"{picture.name} v{picture.version}: {picture.title}".rstrip(": ")]
    for node in picture.nodes:
        sources = [_joined(labels[e.source], measures(e.live)) for e in feeds.get(node.id, [])]
        origin = f"  ◄ {', '.join(sources)}" if sources else ""
        detail = f" [{node.detail}]" if node.detail else ""
        seen = f"  — {shown}" if (shown := measures(node.live)) else ""
        lines.append(f"  {_MARKS[node.kind]} {node.label}{detail}{origin}{seen}")
    return "\n".join(lines)


def mermaid(topology: Topology, topics: Topics | None = None, live: Live | None = None) -> str:
    """A Mermaid flowchart of the same graph."""
    picture = _picture(topology, topics, live)
    lines = ["flowchart LR"]
    for node in picture.nodes:
        parts = filter(None, (node.label, node.detail, measures(node.live)))
        body = '"' + "<br/>".join(map(_safe, parts)) + '"'
        shape = {"topic": f"[({body})]", "merge": f"{{{{{body}}}}}"}.get(node.kind, f"([{body}])")
        lines.append(f"  {_id(node.id)}{shape}")
    for edge in picture.edges:
        label = "<br/>".join(filter(None, (_safe(edge.label), _safe(measures(edge.live)))))
        arrow = f'-- "{label}" -->' if edge.live else f"-- {label} -->" if label else "-->"
        lines.append(f"  {_id(edge.source)} {arrow} {_id(edge.target)}")
    steps = [node.id for node in picture.nodes if node.kind != "topic"]
    lines.append(f"  {_id(steps[0])} -. cannot be processed .-> {_id(DEAD_LETTERS)}")
    return "\n".join(lines)


def json(topology: Topology, topics: Topics | None = None, live: Live | None = None) -> bytes:
    """The graph, with every step's parameters; ``live`` of nodes and edges where measured."""
    picture = _picture(topology, topics, live)
    content = {
        "name": picture.name,
        "version": picture.version,
        "title": picture.title,
        "nodes": [_plain(node) for node in picture.nodes],
        "edges": [_plain(edge) for edge in picture.edges],
        "parameters": {
            step.name: {"kind": step.kind, **step.model_dump(mode="json")}
            for step in topology.steps
        },
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


#: What may be measured: its name, how it is written, and whether a zero is worth a word.
_MEASURES = {
    "records_per_s": ("{} records/s", True),
    "samples_per_s": ("{} samples/s", True),
    "rows_per_s": ("{} rows/s", True),
    "lag": ("lag {}", False),
    "documents_per_s": ("{} documents/s", True),
    "microseconds": ("{} µs a record", False),
    "state_bytes": ("state {}B", False),
    "keys": ("{} keys", False),
    "failed": ("{} failed", False),
    "dead_letters": ("{} dead letters", False),
}


def measures(live: Mapping[str, float]) -> str:
    """What was measured, in words."""
    return ", ".join(
        form.format(_short(live[name]))
        for name, (form, always) in _MEASURES.items()
        if name in live and (always or live[name])
    )


def _short(value: float) -> str:
    """Three digits: 950, 12.3k, 1.2M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _picture(topology: Topology, topics: Topics | None, live: Live | None) -> Graph:
    picture = graph(topology, topics)
    return picture if live is None else picture.measured(live)


def _plain(part: Node | Edge) -> dict[str, object]:
    given = {name: getattr(part, name) for name in type(part).__dataclass_fields__}
    live = dict(given.pop("live"))
    return {**given, "live": live} if live else given


def _joined(label: str, measured: str) -> str:
    return f"{label} ({measured})" if measured else label


def _id(node: str) -> str:
    """A node's id in Mermaid, where words such as ``end`` and ``style`` mean something."""
    return node.replace(":", "_").replace("-", "_") if {*":-"} & {*node} else f"step_{node}"


def _safe(label: str) -> str:
    return label.replace('"', "'").replace("<", "&lt;").replace(">", "&gt;").replace("|", "/")
