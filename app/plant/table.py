"""A plant on a terminal: a table of what moves, the last anomalies and alarms; or plain lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.plant.meter import Flow, Reading, Stage


def live(
    before: Reading,
    now: Reading,
    anomalies: Sequence[str],
    alarms: Sequence[str],
    troubles: Sequence[str],
    footer: str,
) -> RenderableType:
    """The screen: rates are those between two readings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("topology", "stage"):
        table.add_column(name)
    for name in ("records/s", "samples/s", "records", "lag", "dead", "documents", "sink lag"):
        table.add_column(name, justify="right")
    seconds = max(now.at - before.at, 0.001)
    for name, flow in now.flows.items():
        old = before.flows.get(name)
        for index, stage in enumerate(flow.stages):
            records, samples = _rates(old, index, stage, seconds)
            first = index == 0
            table.add_row(
                Text(name, style="bold") if first else "",
                stage.name,
                _short(records),
                _short(samples),
                _count(stage.records),
                _count(stage.lag),
                Text(_count(stage.dead), style="red" if stage.dead else ""),
                _count(flow.documents) if first else "",
                _count(flow.sink_lag) if first else "",
            )
    parts: list[RenderableType] = [table]
    for title, lines, style in (
        ("last alarms", alarms, "red"),
        ("last anomalies", anomalies, "yellow"),
        ("troubles", troubles, "bold red"),
    ):
        if lines or title != "troubles":
            parts.append(Text(f"\n{title}", style="bold"))
            parts += [
                Text(f"  {line}", style=style, no_wrap=True, overflow="ellipsis") for line in lines
            ]
    parts.append(Text(f"\n{footer}", style="dim"))
    return Group(*parts)


def plain(before: Reading, now: Reading) -> Iterable[str]:
    """The same as lines, one a topology."""
    seconds = max(now.at - before.at, 0.001)
    for name, flow in now.flows.items():
        old = before.flows.get(name)
        stages = []
        for index, stage in enumerate(flow.stages):
            records, samples = _rates(old, index, stage, seconds)
            stages.append(
                f"{stage.name} {_short(records)} rec/s {_short(samples)} smp/s lag {stage.lag}"
            )
        yield (
            f"{name:<10} {' | '.join(stages)} | dead {flow.dead} | documents {flow.documents}"
            f" | sink lag {flow.sink_lag}"
        )


def summary(reading: Reading) -> Table:
    """What moved in all, at the end."""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name in ("topology", "stage"):
        table.add_column(name)
    outputs = list(dict.fromkeys(o for flow in reading.flows.values() for o in flow.sent))
    for name in ("records", "samples", *outputs, "documents", "dead letters"):
        table.add_column(name, justify="right")
    for name, flow in reading.flows.items():
        for stage in flow.stages:
            table.add_row(
                name,
                stage.name,
                _count(stage.records),
                _count(stage.samples),
                *[""] * (len(outputs) + 1),
                _count(stage.dead),
            )
        table.add_row(
            Text(name, style="bold"),
            Text("all", style="bold"),
            _count(sum(stage.records for stage in flow.stages)),
            _count(sum(stage.samples for stage in flow.stages)),
            *(_count(flow.sent[o]) if o in flow.sent else "-" for o in outputs),
            _count(flow.documents),
            _count(flow.dead),
            end_section=True,
        )
    return table


def _rates(old: Flow | None, index: int, stage: Stage, seconds: float) -> tuple[float, float]:
    if old is None:
        return 0.0, 0.0
    was = old.stages[index]
    return (
        max(stage.records - was.records, 0) / seconds,
        max(stage.samples - was.samples, 0) / seconds,
    )


def _short(rate: float) -> str:
    return f"{rate:.1f}" if rate < 100 else f"{rate:,.0f}"


def _count(number: int) -> str:
    return f"{number:,}"
