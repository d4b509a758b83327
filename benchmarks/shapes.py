"""Input of the windowed aggregate: the same samples cut into records of several shapes.

And what must come out, computed here from the samples by numpy alone, which shares nothing with any
of the subjects. The end of the data is the end of a window; then one record an asset closes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import orjson
from confluent_kafka import Producer
from numpy.typing import NDArray

from app.kafka import KafkaSettings, producer_options
from benchmarks.traffic import STEP_NS, T0
from models.records import headers, heartbeat
from models.time import NS_PER_MS, NS_PER_S

ASSETS = 40
SIZE_NS = 10 * NS_PER_S
GRACE_NS = NS_PER_S
STATISTICS = ("mean", "std", "min", "max")
#: One record in so many is followed by a heartbeat of its asset, and has one sample of Bad status.
_EVERY = 50
_BAD = 0x8000_0000
#: How far ahead of the data's end the closing records are.
_AFTER_NS = 100 * NS_PER_S
_STEPS = SIZE_NS // STEP_NS

Raw = tuple[bytes, bytes, dict[str, bytes], int]


@dataclasses.dataclass(frozen=True)
class Shape:
    """How samples are cut into records."""

    name: str
    what: str
    #: Tags of an asset, and samples of each in a record.
    tags: int
    samples: int
    #: Whether each tag has records of its own.
    single: bool = False

    @property
    def block(self) -> int:
        """Samples in a record."""
        return self.samples if self.single else self.tags * self.samples

    def windows(self, records: int) -> int:
        """Whole windows in about so many records; at least two."""
        return max(2, round(records * self.block / (ASSETS * self.tags * _STEPS)))


SHAPES = (
    Shape("blocks", "blocks of 100: 10 tags × 10 samples", 10, 10),
    Shape("wide", "blocks of 100: 50 tags × 2 samples", 50, 2),
    Shape("single", "1 sample a record", 10, 1, single=True),
)


@dataclasses.dataclass
class Expected:
    """Final results of all windows, and room for what a subject said of them."""

    shape: Shape
    windows: int
    #: (windows, assets, tags, 6): count, bad, then STATISTICS; NaN where undefined.
    rows: NDArray[np.float64]

    @property
    def samples(self) -> int:
        """All samples that are in the windows."""
        return self.windows * ASSETS * self.shape.tags * _STEPS

    @property
    def results(self) -> int:
        """Result records: one an asset and window."""
        return self.windows * ASSETS


def asset_name(place: int) -> str:
    """The asset's key."""
    return f"line/furnace-{place:02d}"


def expect(shape: Shape, windows: int) -> Expected:
    """The results of an input."""
    rows = np.full((windows, ASSETS, shape.tags, 6), np.nan)
    for number in range(windows):
        v, bad = _values(shape, number)
        good = np.where(bad, np.nan, v)
        row = rows[number]
        row[..., 0] = (~bad).sum(axis=1)
        row[..., 1] = bad.sum(axis=1)
        row[..., 2] = np.nanmean(good, axis=1)
        row[..., 3] = np.nanstd(good, axis=1, ddof=1)
        row[..., 4] = np.nanmin(good, axis=1)
        row[..., 5] = np.nanmax(good, axis=1)
    return Expected(shape, windows, rows)


def _values(shape: Shape, number: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and bad status of window ``number``, (assets, steps, tags)."""
    random = np.random.default_rng([7, number])
    size = (ASSETS, _STEPS, shape.tags)
    base = 1473.15 + 20 * np.sin(number / 30 + np.arange(shape.tags))
    v = np.round(base + random.normal(0, 1.5, size), 3)
    bad = np.zeros(size, np.bool_)
    flat = bad.reshape(-1)
    flat[number % _EVERY :: _EVERY * shape.block] = True
    return v, bad


def records(shape: Shape, windows: int) -> Iterator[Raw]:
    """The records as (key, value, headers, timestamp in ms), assets in turn, in order of time."""
    tags = [f"zone_{n}" for n in range(shape.tags)]
    nodes = [f"ns=2;s=z{n}" for n in range(shape.tags)]
    keys = [asset_name(place).encode() for place in range(ASSETS)]
    sequence = 0
    for number in range(windows):
        v, bad = _values(shape, number)
        begin = T0 + number * SIZE_NS
        for step in range(0, _STEPS, shape.samples):
            steps = slice(step, step + shape.samples)
            times = begin + np.arange(step, step + shape.samples) * STEP_NS
            received = int(times[-1]) + STEP_NS // 4
            for place, key in enumerate(keys):
                for pick in range(shape.tags) if shape.single else (slice(None),):
                    names = tags[pick : pick + 1] if isinstance(pick, int) else tags
                    ids = nodes[pick : pick + 1] if isinstance(pick, int) else nodes
                    value = encode(
                        names, ids, times, v[place, steps, pick], bad[place, steps, pick], received
                    )
                    sequence += 1
                    yield key, value, head(headers.RAW_OPCUA, sequence), received // NS_PER_MS
                    if sequence % _EVERY == 0:
                        yield _heartbeat(key, received, sequence)
    end = np.array([T0 + windows * SIZE_NS + _AFTER_NS])
    for key in keys:
        sequence += 1
        last = encode(tags[:1], nodes[:1], end, np.zeros(1), np.zeros(1, bool), int(end[0]))
        yield key, last, head(headers.RAW_OPCUA, sequence), int(end[0]) // NS_PER_MS


def encode(
    tags: list[str],
    nodes: list[str],
    times: NDArray[np.int64],
    v: NDArray[np.float64],
    bad: NDArray[np.bool_],
    received: int,
) -> bytes:
    """Schema raw-opcua/1, as `models.records.raw.encode_opcua` writes it, from arrays."""
    t = times.repeat(len(tags))
    record = {
        "received": received,
        "tags": tags,
        "nodes": nodes,
        "tag": np.tile(np.arange(len(tags)), len(times)),
        "t": t,
        "server_t": t,
        "v": np.ascontiguousarray(v).reshape(-1),
    }
    if bad.any():
        record["status"] = np.where(bad, _BAD, 0).reshape(-1)
    return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)


def _heartbeat(key: bytes, received: int, sequence: int) -> Raw:
    """The asset is alive; not so far on that the next sample would be late."""
    alive = heartbeat.Heartbeat(
        key.decode(), heartbeat.State.ALIVE, received, received, elapsed=STEP_NS // 4
    )
    of = head(headers.HEARTBEAT, sequence)
    return key, heartbeat.encode(alive), of, received // NS_PER_MS


def head(schema: headers.Schema, sequence: int) -> dict[str, bytes]:
    """The headers every record has here; event ids count up."""
    return {headers.SCHEMA: schema.header, headers.EVENT_ID: f"bench:0:{sequence}".encode()}


def land(kafka: KafkaSettings, topic: str, made: Iterable[Raw]) -> int:
    """Produce records; how many."""
    producer = Producer(producer_options(kafka, "bench", linger_ms=20))
    count = 0
    for key, value, of, stamp in made:
        count += 1
        while True:
            try:
                producer.produce(topic, value, key, headers=list(of.items()), timestamp=stamp)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return count
