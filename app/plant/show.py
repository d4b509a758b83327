"""Results as lines of text, for the screen."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.kafka import KafkaSettings
from app.plant.tail import Tail, Tailed
from app.settings import Settings
from models import quality
from models.catalogue import Knowledge
from models.errors import RecordError
from models.records import block, features, late
from models.records.events import Alarm, Anomaly, decode
from models.time import format_duration, iso

#: What a readings line begins with, so that columns stay where they are.
_ASSET, _TAG = 26, 24


def lines(record: Tailed, knowledge: Knowledge) -> list[str]:
    """A record of an output as lines; a record that is malformed as a line that says so."""
    try:
        return _LINES[record.kind](record.value, knowledge)
    except RecordError as error:
        return [f"{record.topology}.{record.kind}: a malformed record: {error}"]


@contextmanager
def printed(settings: Settings, kafka: KafkaSettings, topology: str) -> Iterator[None]:
    """Print every reading of a topology as it is committed while the block runs."""
    stop = threading.Event()
    tail = Tail(kafka, topics_of(settings, kafka, topology, ("readings",)))

    def run() -> None:
        for record in tail.follow(stop.is_set):
            for line in lines(record, settings.site.knowledge):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()

    thread = threading.Thread(target=run, name="show", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)


def topics_of(
    settings: Settings, kafka: KafkaSettings, topology: str, kinds: tuple[str, ...]
) -> dict[str, tuple[str, str]]:
    """The topics of a topology's outputs of these kinds, as `Tail` wants them."""
    return {
        kafka.topics.output(topology, output.name): (topology, output.kind)
        for output in settings.topology(topology).outputs
        if output.kind in kinds
    }


def _readings(value: bytes | None, knowledge: Knowledge) -> list[str]:
    found = block.decode(value)
    tags = knowledge.catalogue.tags(found.asset)
    rows = zip(found.tag.tolist(), found.t.tolist(), found.exact(), found.q.tolist(), strict=True)
    return [
        f"{iso(t):<30} {found.asset:<{_ASSET}} {name:<{_TAG}} {_number(v):>12}"
        f" {(known.unit if (known := tags.get(name)) else ''):<8}"
        f" {'' if q == quality.GOOD else quality.NAMES.get(q, str(q))}".rstrip()
        for tag, t, v, q in rows
        for name in (found.tags[tag],)
    ]


def _features(value: bytes | None, _: Knowledge) -> list[str]:
    found = features.decode(value)
    shown = []
    for row in range(len(found)):
        stats = " ".join(f"{name}={_number(float(v[row]))}" for name, v in found.stats.items())
        length = format_duration(int(found.end[row] - found.start[row]))
        shown.append(
            f"{iso(int(found.end[row])):<30} {found.asset:<{_ASSET}}"
            f" {found.tags[int(found.tag[row])]:<{_TAG}} {found.window} {length}"
            f" n={int(found.count[row])} {stats}" + ("" if found.final else " (open)")
        )
    return shown


def _late(value: bytes | None, _: Knowledge) -> list[str]:
    rows = late.decode(value)
    return [
        f"{iso(t):<30} {rows.asset:<{_ASSET}} {rows.tags[tag]:<{_TAG}} {_number(v):<12}"
        f" missed {rows.window} {iso(start)} .. {iso(end)}"
        for tag, t, v, start, end in zip(
            *(column.tolist() for column in (rows.tag, rows.t, rows.v, rows.start, rows.end)),
            strict=True,
        )
    ]


def _anomalies(value: bytes | None, _: Knowledge) -> list[str]:
    return [anomaly_line(decode(Anomaly, value))]


def _alarms(value: bytes | None, _: Knowledge) -> list[str]:
    return [alarm_line(decode(Alarm, value))]


def anomaly_line(found: Anomaly) -> str:
    """One revision of an anomaly."""
    when = found.onset if found.end is None else found.end
    return (
        f"{iso(when):<30} {found.asset:<{_ASSET}} {found.tag:<{_TAG}} {found.state:<7}"
        f" {found.detector}: {found.why}"
    )


def alarm_line(found: Alarm) -> str:
    """One revision of an alarm."""
    when = found.raised if found.cleared is None else found.cleared
    return (
        f"{iso(when):<30} {found.asset:<{_ASSET}} {found.tag:<{_TAG}} {found.state:<7}"
        f" {found.severity:<8} {found.alarm}: {found.why}"
    )


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_LINES: dict[str, Callable[[bytes | None, Knowledge], list[str]]] = {
    "readings": _readings,
    "features": _features,
    "late": _late,
    "anomalies": _anomalies,
    "alarms": _alarms,
}
