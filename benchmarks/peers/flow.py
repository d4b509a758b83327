"""Bytewax: blocks folded by numpy into tumbling windows, final results.

``python -m bytewax.run benchmarks.peers.flow:flow`` with the job as JSON in ``BENCH_JOB``:
``{"bootstrap", "source", "target", "size_ns", "grace_ns"}``. It has no transactions: what it writes
is at least once.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import numpy as np
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window

JOB = json.loads(os.environ["BENCH_JOB"])
SIZE = JOB["size_ns"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Below this, a loop in Python is faster than numpy.
_FEW = 8


class Part:
    """The samples of a block that are in one window."""

    __slots__ = ("bad", "newest", "tag", "tags", "v")

    def __init__(self, tags: list[str], tag: Any, v: Any, bad: Any, newest: int) -> None:
        self.tags, self.tag, self.v, self.bad, self.newest = tags, tag, v, bad, newest

    def __getstate__(self) -> tuple[Any, ...]:
        return self.tags, self.tag, self.v, self.bad, self.newest

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.tags, self.tag, self.v, self.bad, self.newest = state


class Partial:
    """Count, bad, sum and squares (both from the first value), lowest, highest; by tag."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.columns = np.zeros((7, 0))

    def places(self, tags: list[str]) -> list[int]:
        """The column of each tag, made where there is none."""
        rows = self.rows
        new = [tag for tag in tags if tag not in rows]
        if new:
            for tag in new:
                rows[tag] = len(rows)
            fresh = np.zeros((7, len(new)))
            fresh[2] = np.nan
            fresh[5], fresh[6] = np.inf, -np.inf
            self.columns = np.concatenate([self.columns, fresh], axis=1)
        return [rows[tag] for tag in tags]


def _parts(message: Any) -> list[tuple[str, Part]]:
    block = orjson.loads(message.value)
    if "tags" not in block:
        return []  # a heartbeat
    key = message.key.decode()
    times = block["t"]
    status = block.get("status")
    if len(times) < _FEW:
        bad = [code >= 0x4000_0000 for code in status] if status else None
        return [
            (key, Part(block["tags"], [g], [v], [bad[n]] if bad else None, t))
            for n, (g, v, t) in enumerate(zip(block["tag"], block["v"], times, strict=True))
        ]
    t, tag, v = np.array(times), np.array(block["tag"]), np.array(block["v"], np.float64)
    wrong = np.array(status) >= 0x4000_0000 if status else None
    window = t // SIZE
    if window[0] == window[-1] and (window == window[0]).all():
        return [(key, Part(block["tags"], tag, v, wrong, int(t.max())))]
    return [
        (
            key,
            Part(
                block["tags"],
                tag[window == w],
                v[window == w],
                None if wrong is None else wrong[window == w],
                int(t[window == w].max()),
            ),
        )
        for w in np.unique(window)
    ]


def _fold(partial: Partial, part: Part) -> Partial:
    places = partial.places(part.tags)
    columns = partial.columns
    if len(part.v) < _FEW:
        for n, (tag, v) in enumerate(zip(part.tag, part.v, strict=True)):
            at = places[tag]
            if part.bad is not None and part.bad[n]:
                columns[1, at] += 1
                continue
            if columns[0, at] == 0:
                columns[2, at] = v
            d = v - columns[2, at]
            columns[0, at] += 1
            columns[3, at] += d
            columns[4, at] += d * d
            columns[5, at] = min(columns[5, at], v)
            columns[6, at] = max(columns[6, at], v)
        return partial
    at, v = np.array(places)[part.tag], part.v
    if part.bad is not None:
        np.add.at(columns[1], at[part.bad], 1)
        at, v = at[~part.bad], v[~part.bad]
    size = columns.shape[1]
    unset = np.isnan(columns[2])
    if unset.any():
        first = np.full(size, np.nan)
        first[at[::-1]] = v[::-1]
        columns[2] = np.where(unset, first, columns[2])
    d = v - columns[2, at]
    columns[0] += np.bincount(at, minlength=size)
    columns[3] += np.bincount(at, d, size)
    columns[4] += np.bincount(at, d * d, size)
    np.minimum.at(columns[5], at, v)
    np.maximum.at(columns[6], at, v)
    return partial


def _merge(one: Partial, other: Partial) -> Partial:
    raise NotImplementedError("tumbling windows never merge")


def _message(item: tuple[str, tuple[int, Partial]]) -> Any:
    key, (window, partial) = item
    n, bad, first, sums, squares, low, high = partial.columns
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first + sums / n
        std = np.sqrt(np.maximum(squares - sums * sums / n, 0) / (n - 1))
    value = {
        "asset": key,
        "start": window * SIZE,
        "tags": list(partial.rows),
        "count": n.astype(np.int64),
        "bad": bad.astype(np.int64),
        "mean": mean,
        "std": std,
        "min": np.where(n > 0, low, np.nan),
        "max": np.where(n > 0, high, np.nan),
    }
    return KafkaSinkMessage(key.encode(), orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


def _flow() -> Dataflow:
    made = Dataflow("windows")
    brokers = [JOB["bootstrap"]]
    messages = op.input("in", made, KafkaSource(brokers, [JOB["source"]], batch_size=1000))
    parts = op.flat_map("parts", messages, _parts)
    clock = EventClock(
        lambda part: EPOCH + timedelta(microseconds=part.newest // 1000),
        wait_for_system_duration=timedelta(microseconds=JOB["grace_ns"] // 1000),
        # Time is the data's: a pause of the machine makes no sample late.
        now_getter=lambda: EPOCH,
        to_system_utc=lambda _: None,
    )
    windower = TumblingWindower(length=timedelta(microseconds=SIZE // 1000), align_to=EPOCH)
    windows = fold_window("windows", parts, clock, windower, Partial, _fold, _merge)
    results = op.map("results", windows.down, _message)
    options = {"linger.ms": "2", "compression.type": "lz4"}
    op.output("out", results, KafkaSink(brokers, JOB["target"], options))
    return made


flow = _flow()
