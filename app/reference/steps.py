"""The page of steps: every verb a topology may use, its parameters and what it promises."""

from __future__ import annotations

from app.reference.schema import Document, inner_models, paragraph, table
from topologies.core.discover import step_kinds
from topologies.core.step import Step


def markdown() -> str:
    """docs/reference/steps.md."""
    lines = [
        "# Steps",
        "",
        "What topologies are made of: `from topologies.steps import decode, validate, ...`. Every"
        " step has a `name` (its kind, unless given) and an `on_error` policy. A site changes"
        " parameters without touching the topology: `[topologies.glass.steps.<name>]`.",
    ]
    verb = ""
    for place, kind in step_kinds().items():
        if (now := place.split(".")[0]) != verb:
            verb = now
            lines += ["", f"## {verb}"]
        document = Document(kind)
        lines += ["", f"### {verb}.{kind.__name__}", ""]
        lines += [paragraph(kind.__doc__), ""]
        if issubclass(kind, Step):
            keeps = "keeps state" if kind.state_version else "stateless"
            lines += [f"Reads {kind.reads}, makes {kind.makes}; {keeps}.", ""]
        common = {"name", "on_error"} if issubclass(kind, Step) else set()
        fields = [field for field in document.fields() if field.name not in common]
        lines += table(fields) if fields else ["No parameters."]
        lines += inner_models(document, "####")
    return "\n".join(lines) + "\n"
