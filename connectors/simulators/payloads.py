"""Payloads of MQTT loggers: the same readings in the shapes of several vendors.

Times are carried in milliseconds, rounded down. A bad value is null (``nan`` in shape plain, empty
text in shape sg); only shape nested says the quality in words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from connectors.simulators.config import MqttAsset
from connectors.simulators.faults import GOOD, Sample
from connectors.simulators.player import Row

_MS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Message:
    """A payload, and the rows it carries with the samples of each that are in it."""

    topic: str
    payload: bytes
    rows: list[tuple[Row, int, list[Sample]]]


def messages(asset: MqttAsset, rows: list[Row]) -> Iterator[Message]:
    """The messages of some rows of one asset; more than one row only in shape columns."""
    if asset.shape == "columns":
        carried = [(row, _floor(row.t), row.samples) for row in rows]
        yield Message(asset.topic_of(), _json(_columns(asset, rows)), carried)
        return
    for row in rows:
        t = _floor(row.t)
        if asset.shape == "plain":
            for sample in row.samples:
                # the payload has no time, so that the row's own is all there is to say
                yield Message(asset.topic_of(sample.tag), _plain(sample), [(row, row.t, [sample])])
            continue
        shape = {"flat": _flat, "nested": _nested, "sg": _sg}[asset.shape]
        yield Message(asset.topic_of(), _json(shape(asset, row)), [(row, t, row.samples)])


def _floor(t: int) -> int:
    return t // _MS * _MS


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, allow_nan=False).encode()


def _value(sample: Sample) -> float | int | bool | None:
    value = sample.v
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(asset: MqttAsset, tag: str) -> str:
    return asset.names.get(tag, tag)


def _iso(t: int, offset: timezone) -> str:
    moment = (_EPOCH + timedelta(milliseconds=t // _MS)).astimezone(offset)
    return moment.isoformat(timespec="milliseconds" if t // _MS % 1000 else "seconds")


def _flat(asset: MqttAsset, row: Row) -> dict[str, Any]:
    seconds, ms = divmod(row.t // _MS, 1000)
    values = {_name(asset, sample.tag): _value(sample) for sample in row.samples}
    return {"ts": seconds + ms / 1000 if ms else seconds, **values}


def _nested(asset: MqttAsset, row: Row) -> dict[str, Any]:
    readings = []
    for sample in row.samples:
        unit = asset.tags[sample.tag].unit if sample.tag in asset.tags else ""
        reading = {"name": _name(asset, sample.tag), "value": _value(sample), "unit": unit}
        if sample.status != GOOD:
            reading["quality"] = "bad" if sample.status.startswith("Bad") else "uncertain"
        readings.append(reading)
    time = _iso(row.t, UTC).replace("+00:00", "Z")
    return {"device": {"id": asset.name, "time": time}, "readings": readings}


def _columns(asset: MqttAsset, rows: list[Row]) -> dict[str, Any]:
    tags = dict.fromkeys(sample.tag for row in rows for sample in row.samples)
    found = [{sample.tag: _value(sample) for sample in row.samples} for row in rows]
    data = {_name(asset, tag): [values.get(tag) for values in found] for tag in tags}
    return {"timestamps": [row.t // _MS for row in rows], "data": data}


def _plain(sample: Sample) -> bytes:
    value = _value(sample)
    return b"nan" if value is None else json.dumps(value).encode()


def _sg(asset: MqttAsset, row: Row) -> dict[str, Any]:
    hours, minutes = asset.offset[1:].split(":")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    zone = timezone(-offset if asset.offset[0] == "-" else offset)
    time = _iso(row.t, zone).replace("T", " ")
    values = {_name(asset, sample.tag): _decimal_comma(_value(sample)) for sample in row.samples}
    return {"serial": asset.name, "local_time": time, "values": values}


def _decimal_comma(value: float | int | bool | None) -> str:
    if value is None:
        return ""
    return format(Decimal(repr(float(value))), "f").replace(".", ",")
