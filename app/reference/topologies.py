"""The page of topologies: the graph of each, drawn from its declaration."""

from __future__ import annotations

import sys

from app.reference.schema import paragraph
from topologies.core import describe
from topologies.core.discover import find


def markdown() -> str:
    """docs/reference/topologies.md."""
    lines = [
        "# Topologies",
        "",
        "As declared; `plantstream describe NAME` draws them with a site's parameters.",
    ]
    for name, topology in find().items():
        module = sys.modules.get(f"topologies.{name}")
        lines += ["", f"## {name}", "", paragraph(module.__doc__ if module else topology.title)]
        lines += ["", "```text", describe.text(topology), "```"]
        lines += ["", "```mermaid", describe.mermaid(topology), "```"]
    return "\n".join(lines) + "\n"
