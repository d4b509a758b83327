"""Anomalies and alarms: things that begin, change and end. One record is one revision of one.

A revision is complete: a reader who sees only the newest knows all. Revisions of one id count up
from 0 in the log, so that a store takes a revision only over a lower one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

from models.errors import MalformedRecord
from models.records import columns


@dataclass(frozen=True, slots=True)
class Anomaly:
    """An episode in which a detector's score was over its threshold."""

    WHAT: ClassVar[str] = "anomaly"

    #: ``<detector>/<asset>/<tag>/<onset>``: the same in every replay.
    id: str
    revision: int
    topology: str
    detector: str
    asset: str
    #: The tag judged, or several joined by "," where a model judges them together.
    tag: str
    #: "open" while it lasts, then "closed".
    state: str
    #: First and (once closed) last anomalous event time, ns.
    onset: int
    end: int | None
    #: Value, score and threshold at the onset; the highest score so far; how many samples.
    value: float | None
    score: float | None
    threshold: float | None
    peak: float | None
    samples: int
    #: One sentence for people.
    why: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """One occurrence of an alarm (terms of ISA-18.2)."""

    WHAT: ClassVar[str] = "alarm"

    #: ``<alarm>/<asset>/<tag>/<onset of the condition>``: the same in every replay.
    id: str
    revision: int
    topology: str
    alarm: str
    asset: str
    tag: str
    #: "raised" or "cleared".
    state: str
    #: critical, high, medium or low.
    severity: str
    #: When the condition began, when the alarm was raised (on-delay later), and cleared; ns.
    onset: int
    raised: int
    cleared: int | None
    value: float | None
    score: float | None
    threshold: float | None
    #: The detector behind it and its sentence.
    detector: str
    why: str


Event = TypeVar("Event", Anomaly, Alarm)

_STATES = {Anomaly: ("open", "closed"), Alarm: ("raised", "cleared")}
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float | None": (float, int, type(None)),
}


def encode(event: Anomaly | Alarm) -> bytes:
    """JSON of schema ``anomaly/1`` or ``alarm/1``."""
    return columns.dumps(asdict(event))


def decode(kind: type[Event], payload: bytes | None) -> Event:
    """The event of a record's bytes; raises MalformedRecord with the reason."""
    what = kind.WHAT
    record = columns.loads(payload, what)
    fields: dict[str, Any] = {}
    for name, annotation in kind.__annotations__.items():
        if annotation not in _KINDS:
            continue
        value = record.get(name)
        if type(value) not in _KINDS[annotation]:
            given = columns.shown(value)
            raise MalformedRecord(f"{what}: {name!r} is not {annotation} (got {given})")
        fields[name] = float(value) if annotation == "float | None" and value is not None else value
    if fields["state"] not in _STATES[kind]:
        raise MalformedRecord(f"{what}: 'state' is {fields['state']!r:.40}")
    return kind(**fields)
