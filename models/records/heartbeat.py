"""Heartbeats: how time moves, or is held, for an asset that sends nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from models.errors import MalformedRecord
from models.records import columns


class State(StrEnum):
    """What a connector knows of the way to an asset."""

    #: The way is open; nothing older than ``t`` is still to come. Moves the key's time to ``t``.
    ALIVE = "alive"
    #: The way is broken, or nothing was ever heard. Time stands until it is mended.
    DISCONNECTED = "disconnected"
    #: The way is open again and the source sends what it kept meanwhile.
    BACKFILLING = "backfilling"


_STATES = frozenset(state.value for state in State)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One heartbeat of one asset, on the asset's own raw topic and key."""

    asset: str
    state: State
    #: Event time by the source's clock, ns: the last sample's, advanced by what has passed since.
    t: int
    #: When it was written, ns.
    received: int
    #: How long the connector has heard nothing of the asset, ns; None: nothing at all so far.
    elapsed: int | None = None


def encode(heartbeat: Heartbeat) -> bytes:
    """JSON of schema ``heartbeat/1``."""
    return columns.dumps(
        {
            "asset": heartbeat.asset,
            "state": heartbeat.state.value,
            "t": heartbeat.t,
            "received": heartbeat.received,
            "elapsed": heartbeat.elapsed,
        }
    )


def decode(payload: bytes | None) -> Heartbeat:
    """Raises MalformedRecord with the reason."""
    what = "heartbeat"
    record = columns.loads(payload, what)
    state = columns.field(record, "state", str, what)
    if state not in _STATES:
        given, allowed = columns.shown(state), ", ".join(State)
        raise MalformedRecord(f"{what}: 'state' is {given}, not one of {allowed}")
    elapsed = record.get("elapsed")
    if elapsed is not None and columns.time(record, "elapsed", what) < 0:
        raise MalformedRecord(f"{what}: 'elapsed' is negative ({elapsed})")
    return Heartbeat(
        columns.field(record, "asset", str, what),
        State(state),
        columns.time(record, "t", what),
        columns.time(record, "received", what),
        elapsed,
    )
