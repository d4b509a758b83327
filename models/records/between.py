"""What stages of a topology send one another: one asset's rows under another key.

A record carries readings or closed windows of one asset, or nothing but the news that time has
moved for it, so that a merging stage need not wait for who has nothing to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.errors import MalformedRecord
from models.records import block as blocks
from models.records import columns, features
from models.records.block import Block
from models.records.features import Features
from models.records.headers import Schema
from models.time import NEVER

WHAT = "between"
SCHEMA = Schema("between", 1)


@dataclass(frozen=True, slots=True)
class Between:
    """Rows of one lane of one asset, ordered by event time."""

    #: Input, or stage, that the asset belongs to.
    source: str
    asset: str
    #: "readings", or the step that made the windows.
    lane: str
    #: Receive time of the newest of it, ns.
    received: int
    #: Every later row is at or after this event time, ns; NEVER: nothing is known of it.
    time: int = NEVER
    #: Its connector has been disconnected for longer than the horizon: it holds nobody back.
    absent: bool = False
    #: Rows of a table: each is valid from its time on, and nobody waits for the next.
    table: bool = False
    #: One of the two, or neither.
    block: Block | None = None
    features: Features | None = None

    @property
    def event_time(self) -> NDArray[np.int64]:
        """Event time of each row, ns: of a window, its end."""
        if self.block is not None:
            return self.block.t
        return np.empty(0, np.int64) if self.features is None else self.features.end


def encode(between: Between) -> bytes:
    """JSON of schema ``between/1``."""
    record: dict[str, Any] = {
        "source": between.source,
        "asset": between.asset,
        "lane": between.lane,
        "received": between.received,
        "time": None if between.time == NEVER else between.time,
    }
    if between.absent:
        record["absent"] = True
    if between.table:
        record["table"] = True
    if between.block is not None:
        record["block"] = orjson.Fragment(blocks.encode(between.block))
    if between.features is not None:
        record["features"] = orjson.Fragment(features.encode(between.features))
    return orjson.dumps(record)


def decode(payload: bytes | None) -> Between:
    """Raises MalformedRecord with the reason."""
    record = columns.loads(payload, WHAT)
    time = NEVER if record.get("time") is None else columns.time(record, "time", WHAT)
    between = Between(
        _name(record, "source"),
        _name(record, "asset"),
        _name(record, "lane"),
        columns.time(record, "received", WHAT),
        time,
        _flag(record, "absent"),
        _flag(record, "table"),
        blocks.read(columns.field(record, "block", dict, WHAT)) if "block" in record else None,
        features.read(columns.field(record, "features", dict, WHAT))
        if "features" in record
        else None,
    )
    if between.block is not None and between.features is not None:
        raise MalformedRecord(f"{WHAT}: 'block' and 'features' in one record")
    for part in (between.block, between.features):
        if part is not None and part.asset != between.asset:
            raise MalformedRecord(f"{WHAT}: rows of {part.asset!r} under {between.asset!r}")
    t = between.event_time
    if t.size and (bool((t[1:] < t[:-1]).any()) or int(t[0]) == NEVER):
        raise MalformedRecord(f"{WHAT}: rows are not in order of event time")
    return between


def _name(record: dict[str, Any], name: str) -> str:
    value = str(columns.field(record, name, str, WHAT))
    if not value or len(value) > 512 or not value.isprintable():
        raise MalformedRecord(
            f"{WHAT}: {name!r} is not printable text of 1..512 characters ({columns.shown(value)})"
        )
    return value


def _flag(record: dict[str, Any], name: str) -> bool:
    return bool(columns.field(record, name, bool, WHAT)) if name in record else False
