"""The page of metrics."""

from __future__ import annotations

from app.observe.metrics import ALL


def markdown() -> str:
    """docs/reference/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "Every process serves `/metrics` (Prometheus), `/live` and `/ready` on a port of its own:"
        " `[metrics] port`, or a free one that `plantstream status` shows. Those of the process"
        " itself (`process_*`, `python_*`) come beside these.",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for metric in ALL:
        labels = ", ".join(metric.labels)
        lines.append(f"| `{metric.full_name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(lines) + "\n"
