"""The page of connectors: parameters of each kind, with a sample from the demo's plant."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from app.reference.schema import Document, inner_models, paragraph, table
from connectors.discover import find_all

_PLANT = Path(__file__).resolve().parent.parent.parent / "plantstream.toml"
_SHOWN = 2


def markdown() -> str:
    """docs/reference/connectors.md."""
    lines = [
        "# Connectors",
        "",
        "Each lands what its devices say, verbatim, on `raw.<kind>`. Beside its own parameters"
        " every one has `enabled` and `simulator` (see [configuration](configuration.md)).",
    ]
    samples = _samples()
    for kind, connector in find_all().items():
        document = Document(connector.Parameters)
        lines += ["", f"## {kind}", "", paragraph(connector.Parameters.__doc__), ""]
        lines += table(document.fields())
        lines += inner_models(document, "###")
        if kind in samples:
            lines += ["", "```toml", samples[kind].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _samples() -> dict[str, str]:
    """One connector of each kind, as the demo's plant has it; long lists are cut."""
    samples: dict[str, str] = {}
    plant = tomllib.loads(_PLANT.read_text(encoding="utf-8")) if _PLANT.is_file() else {}
    for name, entry in plant.get("connectors", {}).items():
        short = {key: _cut(value) for key, value in entry.items()}
        samples.setdefault(entry["kind"], tomli_w.dumps({"connectors": {name: short}}))
    return samples


def _cut(value: Any) -> Any:
    return value[:_SHOWN] if isinstance(value, list) else value
