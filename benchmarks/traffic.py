"""The same raw records for all subjects: OPC UA blocks of furnaces, 100 samples each."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from confluent_kafka import Producer

from app.kafka import KafkaSettings, producer_options
from models.catalogue import Asset, Catalogue, FlatLine, Knowledge, Limits, Range, Tag, Thresholds
from models.records import headers
from models.records.raw import OpcUaChange, encode_opcua
from models.time import NS_PER_MS, NS_PER_S

TAGS = 10
SAMPLES_A_TAG = 10
BLOCK = TAGS * SAMPLES_A_TAG
ASSETS = 40
#: Five samples a second and tag: a block is two seconds of an asset.
STEP_NS = 200 * NS_PER_MS
T0 = 1_700_000_000 * NS_PER_S


def asset_name(place: int) -> str:
    """The key of an asset of the glass line."""
    return f"glass/furnace-{place:02d}"


def knowledge(assets: int = ASSETS) -> Knowledge:
    """A catalogue that gives every validation and detector step something to do."""
    tags = {
        f"zone_{n}": Tag(
            unit="degC",
            source_unit="K",
            gross_range=Range(low=0, high=2000),
            suspect_range=Range(low=100, high=1800),
            rate_of_change=Thresholds(suspect=50, fail=500),
            flat_line=FlatLine(suspect=60 * NS_PER_S, fail=300 * NS_PER_S),
            max_gap=10 * NS_PER_S,
            limits=Limits(low=900, high=1500, deadband=5),
        )
        for n in range(TAGS)
    }
    names = [asset_name(n) for n in range(assets)]
    return Knowledge(catalogue=Catalogue(assets={name: Asset(tags=tags) for name in names}))


def records(count: int) -> Iterator[tuple[bytes, bytes, dict[str, bytes], int]]:
    """``count`` records as (key, value, headers, timestamp in ms), assets in turn."""
    random = np.random.default_rng(7)
    for number in range(count):
        turn, place = divmod(number, ASSETS)
        start = T0 + turn * SAMPLES_A_TAG * STEP_NS
        # Every tenth asset overheats for a while now and then: alarms are part of the work.
        hot = place % 10 == 0 and 5 <= (turn - 3 * place // 10) % 50 < 12
        heat = 400.0 if hot else 0.0
        changes = []
        noise = random.normal(0, 1.5, BLOCK)
        for sample in range(SAMPLES_A_TAG):
            t = start + sample * STEP_NS
            for tag in range(TAGS):
                base = 1473.15 + 20 * math.sin(t / 3e11 + tag) + (heat if tag == 0 else 0.0)
                value = round(base + float(noise[sample * TAGS + tag]), 3)
                changes.append(OpcUaChange(f"zone_{tag}", f"ns=2;s=z{tag}", t, t, 0, value))
        received = start + SAMPLES_A_TAG * STEP_NS
        head = {
            headers.SCHEMA: headers.RAW_OPCUA.header,
            headers.EVENT_ID: f"bench:0:{number}".encode(),
        }
        key = asset_name(place).encode()
        yield key, encode_opcua(changes, received), head, received // NS_PER_MS


def land(kafka: KafkaSettings, topic: str, count: int) -> int:
    """Produce the records; the bytes they take."""
    producer = Producer(producer_options(kafka, "bench", linger_ms=20))
    size = 0
    for key, value, head, stamp in records(count):
        size += len(value)
        while True:
            try:
                producer.produce(topic, value, key, headers=list(head.items()), timestamp=stamp)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return size
