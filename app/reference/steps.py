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
        " step has a `name` (its kind, unless given), an `on_error` policy, and says with `was`"
        " under which name it is deployed so far. `state_ttl` bounds how long the state of a silent"
        " asset is kept (none: for ever). A site changes parameters without touching the topology:"
        " `[topologies.glass.steps.<name>]`. Other parameters than those that a step's state"
        " depends on can be changed at any time: `plantstream check` says what follows.",
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
            lines += [f"Reads {kind.reads}, makes {kind.makes}; {_keeps(kind)}.", ""]
        common = {"name", "on_error", "was", "state_ttl"} if issubclass(kind, Step) else set()
        fields = [field for field in document.fields() if field.name not in common]
        lines += table(fields) if fields else ["No parameters."]
        lines += inner_models(document, "####")
    return "\n".join(lines) + "\n"


def _keeps(kind: type[Step]) -> str:
    if not kind.state_version:
        return "stateless"
    depends = " and ".join(f"`{name}`" for name in kind.state_parameters)
    return f"keeps state, which depends on {depends}" if depends else "keeps state"
