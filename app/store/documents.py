"""Records to documents: a pure mapping, with an ``_id`` that every repeat of a record shares.

**readings**: one document a block. ``_id`` is the event id of its record. The samples are parallel
columns ``tag`` (index into ``tags``), ``t`` (int64 ns), ``v``, ``q`` and, where any is not 0,
``code`` and ``why``. A column other than ``t`` and ``v`` whose entries are all equal is that one
number. ``v`` is null where the value is no finite number; ``typed`` then says what it is:
``{i: index, kind, value}`` with kind ``i`` (an integer beyond 2**53, as int64 or Decimal128), ``f``
("nan", "inf", "-inf"), ``s`` text, ``b`` a truth value, ``j`` other JSON, as its text. ``long`` is
there where a block spans more than a day, so that a range query need not look for such far ahead.

**features**: one document a row. ``_id`` is ``topology/output/window/asset/tag/start``. One that
is told of before it closes has ``revision`` and ``final``; the final one has the highest.

**late**: one document an input record and step. ``_id`` is ``topology/output/window/event id``.
Columns as of readings, with ``from_ns`` and ``to_ns``: the window each sample missed.

**anomalies**, **alarms**: one document an occurrence, the newest revision of it. ``_id`` is
``topology/output/id``.

Every time is there twice: ``start`` as a BSON date (milliseconds) and ``start_ns`` as int64.
Without a declared retention documents depend on the record alone; see `app.store.collections` for
``stored``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, NamedTuple

import numpy as np
import orjson
from bson import Decimal128, Int64, encode
from bson.datetime_ms import DatetimeMS
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument
from numpy.typing import NDArray

from app.store.settings import Layout
from models.errors import MalformedRecord, RecordTooLarge
from models.records import block as blocks
from models.records import events, features, headers, late
from models.records.block import Block
from models.records.events import Alarm, Anomaly
from models.records.values import Typed
from models.time import NS_PER_S

#: Blocks that span more than this, ns, are marked.
LONG = 86_400 * NS_PER_S
#: The largest document MongoDB takes, bytes of BSON.
MAX_DOCUMENT = 16 << 20
#: Digits a Decimal128 holds.
_DECIMAL_DIGITS = 34
_INT64 = range(-(2**63), 2**63)

#: The columns of samples and their little-endian types in the packed layout.
COLUMNS = {"tag": "<i4", "t": "<i8", "v": "<f8", "q": "u1", "code": "<u4", "why": "<u4"}


class Source(NamedTuple):
    """One Kafka record of an output topic, as the sink read it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class Write(NamedTuple):
    """One document to be stored: it replaces the one of that ``_id``.

    With a ``revision`` it does so only where that one's is lower.
    """

    output: str
    id: str
    revision: int | None
    document: RawBSONDocument
    #: Samples in it, and the newest event time, ns.
    samples: int
    newest: int
    source: Source


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """An output of a topology, as the store sees it."""

    name: str
    kind: str
    #: How long documents are kept after they arrived, ns; None: for ever.
    retention: int | None = None


@dataclass(frozen=True, slots=True)
class Mapper:
    """Turns the records of one topology's outputs into documents."""

    topology: str
    layout: Layout = "arrays"
    #: Whether the store takes Decimal128; without, integers beyond 64 bits are stored as text.
    decimals: bool = True

    def writes(self, output: OutputSpec, source: Source, now_ms: int = 0) -> list[Write]:
        """The documents of a record; ``now_ms`` is used only where a retention is declared.

        Raises RecordError: MalformedRecord for a record that is not what its schema promises or
        that BSON cannot hold, RecordTooLarge for a document over 16 MiB.
        """
        make = _KINDS[output.kind]
        return [
            Write(
                output.name,
                document["_id"],
                revision,
                _encoded(document),
                samples,
                newest,
                source,
            )
            for document, revision, samples, newest in make(self, output, source, now_ms)
        ]


Made = tuple[dict[str, Any], int | None, int, int]


def _readings(mapper: Mapper, output: OutputSpec, source: Source, _now: int) -> list[Made]:
    headers.expect(source.headers, headers.BLOCK)
    block = blocks.decode(source.value)
    size = len(block)
    document: dict[str, Any] = {
        "_id": event_id(source),
        "topology": mapper.topology,
        "asset": block.asset,
        "tags": list(block.tags),
    }
    start, end = (int(block.t.min()), int(block.t.max())) if size else (None, None)
    _put_time(document, "start", start)
    _put_time(document, "end", end)
    _put_time(document, "received", block.received)
    document["n"] = size
    if start is not None and end is not None and end - start > LONG:
        document["long"] = True
    document.update(_packed(block) if mapper.layout == "packed" else _arrays(block))
    if block.typed:
        document["typed"] = [_typed(entry, mapper.decimals) for entry in block.typed]
    return [(document, None, size, end or 0)]


def event_id(source: Source) -> str:
    """The record's event id, or ``topic:partition:offset`` where it brought none."""
    given = source.headers.get(headers.EVENT_ID)
    if given:
        try:
            return given.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedRecord(f"'event-id' header is not UTF-8: {given[:64]!r}") from error
    return f"{source.topic}:{source.partition}:{source.offset}"


def _arrays(block: Block) -> dict[str, Any]:
    columns: dict[str, Any] = {"tag": _folded(block.tag), "t": block.t.tolist()}
    finite = np.isfinite(block.v)
    values: list[float | None] = block.v.tolist()
    if not finite.all():
        for index in np.flatnonzero(~finite).tolist():
            values[index] = None
    columns["v"] = values
    columns["q"] = _folded(block.q)
    for name, column in (("code", block.code), ("why", block.why)):
        if column.any():
            columns[name] = _folded(column)
    return columns


def _folded(column: NDArray[Any]) -> Any:
    """A column as a list, or its one value where all are equal."""
    if column.size and (column == column[0]).all():
        return column[0].item()
    return column.tolist()


def _packed(block: Block) -> dict[str, Any]:
    given: dict[str, NDArray[Any]] = {"tag": block.tag, "t": block.t, "v": block.v, "q": block.q}
    given.update((n, c) for n, c in (("code", block.code), ("why", block.why)) if c.any())
    return {name: column.astype(COLUMNS[name]).tobytes() for name, column in given.items()}


def _typed(entry: Typed, decimals: bool) -> dict[str, Any]:
    index, kind, value = entry
    if kind == "i":
        number = int(value)
        if number in _INT64:
            value = Int64(number)
        elif decimals and len(value.lstrip("-0")) <= _DECIMAL_DIGITS:
            value = Decimal128(value)
    elif kind == "j":
        value = orjson.dumps(value).decode()
    return {"i": index, "kind": kind, "value": value}


def _features(mapper: Mapper, output: OutputSpec, source: Source, now: int) -> list[Made]:
    headers.expect(source.headers, headers.FEATURES)
    rows = features.decode(source.value)
    stats = {name: column.tolist() for name, column in rows.stats.items()}
    made: list[Made] = []
    columns = (rows.tag, rows.start, rows.end, rows.count, rows.bad, rows.partial)
    for row, (tag, start, end, count, bad, partial) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        name = rows.tags[tag]
        document: dict[str, Any] = {
            "_id": _path(mapper.topology, output.name, rows.window, rows.asset, name, str(start)),
            "topology": mapper.topology,
            "window": rows.window,
            "asset": rows.asset,
            "tag": name,
        }
        _put_time(document, "start", start)
        _put_time(document, "end", end)
        document |= {
            "count": count,
            "bad": bad,
            "stats": {stat: _number(column[row]) for stat, column in stats.items()},
            "partial": partial,
        }
        revision = None
        if rows.revision.size:
            document["revision"] = revision = int(rows.revision[row])
            document["final"] = rows.final
        if output.retention is not None:
            document["stored"] = DatetimeMS(now)
        made.append((document, revision, 0, end))
    return made


def _late(mapper: Mapper, output: OutputSpec, source: Source, now: int) -> list[Made]:
    headers.expect(source.headers, headers.LATE)
    rows = late.decode(source.value)
    oldest, newest = (int(rows.t.min()), int(rows.t.max())) if len(rows) else (None, None)
    document: dict[str, Any] = {
        "_id": _path(mapper.topology, output.name, rows.window) + "/" + event_id(source),
        "topology": mapper.topology,
        "window": rows.window,
        "asset": rows.asset,
        "tags": list(rows.tags),
    }
    _put_time(document, "start", oldest)
    _put_time(document, "end", newest)
    document |= {
        "n": len(rows),
        "tag": _folded(rows.tag),
        "t": rows.t.tolist(),
        "v": [_number(value) for value in rows.v.tolist()],
        "q": _folded(rows.q),
        "from_ns": rows.start.tolist(),
        "to_ns": rows.end.tolist(),
    }
    if output.retention is not None:
        document["stored"] = DatetimeMS(now)
    return [(document, None, len(rows), newest or 0)]


def _anomaly(mapper: Mapper, output: OutputSpec, source: Source, now: int) -> list[Made]:
    headers.expect(source.headers, headers.ANOMALY)
    event = events.decode(Anomaly, source.value)
    times = {"onset": event.onset, "end": event.end}
    return [_event(mapper, output, event, times, event.state == "closed", now)]


def _alarm(mapper: Mapper, output: OutputSpec, source: Source, now: int) -> list[Made]:
    headers.expect(source.headers, headers.ALARM)
    event = events.decode(Alarm, source.value)
    times = {"onset": event.onset, "raised": event.raised, "cleared": event.cleared}
    return [_event(mapper, output, event, times, event.state == "cleared", now)]


def _event(
    mapper: Mapper,
    output: OutputSpec,
    event: Anomaly | Alarm,
    times: Mapping[str, int | None],
    over: bool,
    now: int,
) -> Made:
    document: dict[str, Any] = {"_id": _path(mapper.topology, output.name) + "/" + event.id}
    for declared in dataclass_fields(event):
        name = declared.name
        value = getattr(event, name)
        if name in times:
            _put_time(document, name, value)
        else:
            document[name] = _number(value) if isinstance(value, float) else value
    # One that is still open is never too old to be kept.
    if output.retention is not None and over:
        document["stored"] = DatetimeMS(now)
    newest = max(time for time in times.values() if time is not None)
    return document, event.revision, 0, newest


_KINDS: dict[str, Callable[[Mapper, OutputSpec, Source, int], list[Made]]] = {
    "readings": _readings,
    "features": _features,
    "late": _late,
    "anomalies": _anomaly,
    "alarms": _alarm,
}


def _path(*parts: str) -> str:
    """Parts joined by '/'; where a part holds one, it is written %2F, so that no two paths meet."""
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _put_time(document: dict[str, Any], name: str, ns: int | None) -> None:
    document[name] = None if ns is None else DatetimeMS(ns // 1_000_000)
    document[f"{name}_ns"] = None if ns is None else Int64(ns)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _encoded(document: dict[str, Any]) -> RawBSONDocument:
    """BSON now, so that what cannot be written is known before a bulk is sent."""
    try:
        encoded = encode(document)
    except (InvalidDocument, OverflowError, UnicodeError) as error:
        raise MalformedRecord(f"cannot be a document: {error}") from error
    if len(encoded) > MAX_DOCUMENT:
        raise RecordTooLarge(
            f"its document is {len(encoded)} bytes, MongoDB takes at most {MAX_DOCUMENT}"
        )
    return RawBSONDocument(encoded)
