"""The demo: a whole plant for a while, watched, and judged at the end."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live

from app.plant import table
from app.plant.meter import Meter, Reading
from app.plant.plant import Plant
from app.plant.processes import stopping
from app.plant.show import lines, topics_of
from app.plant.tail import Tail
from app.settings import Settings, resolve
from models.time import format_duration

_LIVE_S = 1.0
_PLAIN_S = 5.0
_EVENTS = 6
#: Of what is written into a file.
_WIDTH = 120
#: A demo this long must have shown what its seeded faults cause.
_FULL_S = 45.0


def run_demo(plant: Plant, seconds: float | None) -> int:
    """Run the plant until Ctrl-C, or for ``seconds`` from when everything was ready.

    0: every stage of every topology moved and every process stayed alive (always judged with
    ``seconds``; else Ctrl-C ends it with 0). 1: something did not; it is named.

    Raises StackError, PlantError where the plant does not start.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    stop, begun = threading.Event(), time.monotonic()

    def progress(line: str) -> None:
        console.print(f"{time.monotonic() - begun:5.1f} s  {line}", style="dim", markup=False)

    with stopping(stop), plant:
        plant.start(progress, stop)
        if stop.is_set():
            return 0 if seconds is None else 1
        meter = Meter(plant.settings)
        watcher = _Events(plant.settings)
        try:
            _watch(plant, meter, watcher, console, stop, seconds)
            reading, troubles = meter.read(), plant.troubles()
        finally:
            watcher.close()
            meter.close()
        if seconds is None:
            console.print("stopping everything", style="dim")
            return 0
        missing = [*judged(reading, seconds, stop.is_set()), *troubles]
        console.print()
        console.print(table.summary(reading))
        for line in missing:
            console.print(f"failed: {line}", markup=False, soft_wrap=True)
        reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(reading.reasons.items()))
        console.print(
            f"{'FAILED' if missing else 'good'}: {format_duration(round(seconds) * 10**9)} after a"
            f" start of {watcher.began - begun:.1f} s; connectors landed {reading.landed:,}"
            f" messages and lost {reading.lost:,}{f' ({reasons})' if reasons else ''}"
        )
        return 1 if missing else 0


def judged(reading: Reading, seconds: float, interrupted: bool = False) -> list[str]:
    """What should have moved in this time and did not."""
    if interrupted:
        return ["interrupted before its time was over"]
    found = []
    for name, flow in reading.flows.items():
        found += [
            f"{name}, stage {stage.name}: {stage.records} records, {stage.samples} samples"
            f" read, {stage.sent} records written"
            for stage in flow.stages
            if not (stage.records and stage.samples and stage.sent)
        ]
        if not flow.documents:
            found.append(f"{name}: no documents stored")
        always = seconds >= _FULL_S
        found += [
            f"{name}: no {output}"
            for output, count in flow.sent.items()
            if not count and (always or output == "readings")
        ]
    return found


def _watch(
    plant: Plant,
    meter: Meter,
    events: _Events,
    console: Console,
    stop: threading.Event,
    seconds: float | None,
) -> None:
    deadline = None if seconds is None else time.monotonic() + seconds
    before = meter.read()
    footer = f"logs in {plant.settings.data_dir / 'logs'}; Ctrl-C stops everything"
    if not console.is_terminal:
        console.print(footer, markup=False)
        while _pause(stop, deadline, _PLAIN_S):
            now = meter.read()
            for line in (*table.plain(before, now), *plant.troubles()):
                console.print(line, markup=False, soft_wrap=True)
            before = now
        return
    with Live(console=console, screen=False, auto_refresh=False, transient=True) as live:
        while _pause(stop, deadline, _LIVE_S):
            now = meter.read()
            left = "" if deadline is None else f"{max(deadline - time.monotonic(), 0):.0f} s left; "
            live.update(
                table.live(
                    before, now, events.last("anomalies"), events.last("alarms"),
                    plant.troubles(), left + footer,
                ),
                refresh=True,
            )  # fmt: skip
            before = now


def _pause(stop: threading.Event, deadline: float | None, longest: float) -> bool:
    """Wait; False when it is over."""
    wait = longest if deadline is None else min(longest, deadline - time.monotonic())
    return wait > 0 and not stop.wait(wait)


class _Events:
    """The last anomalies and alarms of all topologies, read in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.began = time.monotonic()
        self._stop = threading.Event()
        self._knowledge = settings.site.knowledge
        kafka = resolve.kafka(settings)
        topics = {
            topic: who
            for name in settings.enabled()
            for topic, who in topics_of(settings, kafka, name, ("anomalies", "alarms")).items()
        }
        self._last: dict[str, deque[str]] = {
            kind: deque(maxlen=_EVENTS) for kind in ("anomalies", "alarms")
        }
        self._thread = threading.Thread(
            target=self._run, args=(Tail(kafka, topics),), name="events", daemon=True
        )
        self._thread.start()

    def last(self, kind: str) -> Sequence[str]:
        """The newest first."""
        return list(reversed(self._last[kind]))

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self, tail: Tail) -> None:
        for record in tail.follow(self._stop.is_set):
            self._last[record.kind].extend(lines(record, self._knowledge))

