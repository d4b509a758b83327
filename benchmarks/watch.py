"""What subjects gave: their committed results as a reader sees them, when, and whether right."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, TopicPartition

from app.kafka import KafkaSettings, consumer_options
from benchmarks.shapes import ASSETS, SIZE_NS, STATISTICS, Expected, asset_name
from benchmarks.traffic import T0

_TOLERANCE = 1e-9


@dataclass
class Seen:
    """Result records in order of arrival, and how many had come by when (monotonic s)."""

    payloads: list[bytes] = field(default_factory=list)
    marks: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, warm: float) -> float:
        """Records per second after the first share ``warm`` of them."""
        total = len(self.payloads)
        begun = next(mark for mark in self.marks if mark[1] >= warm * total)
        if begun[1] == total:
            raise RuntimeError("too few results to measure")
        return (total - begun[1]) / (self.marks[-1][0] - begun[0])


def collect(
    kafka: KafkaSettings,
    topic: str,
    count: int,
    processes: Sequence[subprocess.Popen[bytes]],
    *,
    limit_s: float,
) -> Seen:
    """Wait for ``count`` committed records on a topic.

    Raises RuntimeError where a process ends first, or the time runs out.
    """
    reader = Consumer(
        {
            **consumer_options(kafka, "bench-watch", f"{topic}-watch"),
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 20,
        }
    )
    reader.assign([TopicPartition(topic, n, 0) for n in range(kafka.partitions)])
    seen = Seen()
    deadline = time.monotonic() + limit_s
    try:
        while len(seen.payloads) < count:
            messages = reader.consume(1000, 0.05)
            for message in messages:
                if message.error():
                    raise RuntimeError(f"{topic}: {message.error()}")
                seen.payloads.append(message.value())
            if messages:
                seen.marks.append((time.monotonic(), len(seen.payloads)))
                continue
            for process in processes:
                if process.poll() is not None:
                    raise RuntimeError(
                        f"it ended with {process.returncode} after {len(seen.payloads)} results"
                    )
            if time.monotonic() > deadline:
                got = len(seen.payloads)
                raise RuntimeError(f"only {got} of {count} results after {limit_s:g} s")
    finally:
        reader.close()
    return seen


def differences(seen: Seen, expected: Expected) -> list[str]:
    """Where results are not the expected ones, value by value; the first few, in words."""
    shape = expected.shape
    places = {asset_name(place): place for place in range(ASSETS)}
    tags = {f"zone_{n}": n for n in range(shape.tags)}
    got = np.full_like(expected.rows, np.nan)
    said: list[str] = []
    filled = np.zeros(got.shape[:3], np.int64)
    for payload in seen.payloads:
        record = orjson.loads(payload)
        columns = _columns(record)
        starts = (np.asarray(columns["start"], np.int64) - T0) // SIZE_NS
        names = [tags[name] for name in columns["tag"]]
        kept = starts < expected.windows  # a subject may say more of what came after the data
        if starts.size and starts.min() < 0:
            said.append(f"a window before the data: {payload[:200]!r}")
            continue
        asset = np.full(int(kept.sum()), places[record["asset"]])
        at = (starts[kept], asset, np.array(names)[kept])
        np.add.at(filled, at, 1)
        for number, name in enumerate(("count", "bad", *STATISTICS)):
            got[(*at, number)] = np.array(columns[name], np.float64)[kept]
    if (filled != 1).any():
        said.append(
            f"{int((filled == 0).sum())} results missing, {int((filled > 1).sum())} given twice"
        )
    for number, name in enumerate(("count", "bad", *STATISTICS)):
        want, have = expected.rows[..., number], got[..., number]
        wrong = ~np.isclose(have, want, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
        if wrong.any():
            place = tuple(int(i[0]) for i in np.nonzero(wrong))
            said.append(
                f"{int(wrong.sum())} of {wrong.size} values of {name} differ, such as"
                f" {have[place]!r} for {want[place]!r} in (window, asset, tag) {place}"
            )
    return said


def _columns(record: dict[str, Any]) -> dict[str, list[Any]]:
    """One entry a row, from our features records and from the peers' (one window a record)."""
    stats = record.get("stats", record)
    tags, start = record["tags"], record["start"]
    places = record.get("tag", range(len(tags)))
    columns = {name: stats[name] for name in STATISTICS}
    columns.update(count=record["count"], bad=record["bad"])
    columns["tag"] = [tags[place] for place in places]
    columns["start"] = start if isinstance(start, list) else [start] * len(tags)
    return columns
