"""The topology ``glass`` from raw topic to MongoDB, with everything killed and taken away.

Each test compares with an uninterrupted run over the same raw records. The short form runs always,
the full one with PLANTSTREAM_FULL=1.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.embedded import EmbeddedStack
from benchmarks import traffic
from models.records import deadletter
from tests import hostile
from tests.plant_site import PlantSite, Raw, Written, wait

FULL = bool(os.environ.get("PLANTSTREAM_FULL"))
KILLS = 10 if FULL else 2
RECORDS = 4000 if FULL else 1500
OUTPUTS = ("readings", "features", "anomalies", "alarms")

#: What a run that nothing happened to wrote to each output, and its documents.
Calm = tuple[list[Written], dict[str, dict[str, Any]]]

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(900)]


def site(stack: EmbeddedStack, prefix: str, folder: Path) -> PlantSite:
    return PlantSite(stack, prefix, folder, traffic.knowledge())


def topics(at: PlantSite) -> list[str]:
    return [at.kafka.topics.output("glass", output) for output in OUTPUTS]


def worker_done(at: PlantSite) -> bool:
    return at.lag(at.kafka.group("glass"), [at.kafka.topics.raw("opcua")]) == 0


def all_done(at: PlantSite) -> bool:
    # Nothing to commit is left but the ends of transactions, one or two a partition.
    return worker_done(at) and at.lag(at.kafka.group("sink-glass"), topics(at)) <= 2 * 2 * 4


def settle(at: PlantSite, expected: int) -> None:
    """Wait until all is through and as many documents are stored as are expected."""
    wait("worker and sink through", lambda: all_done(at), 180, at)
    wait("all documents", lambda: len(at.documents("glass")) >= expected, 60, at)


@pytest.fixture(scope="module")
def calm(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Calm]:
    """Outputs and documents of a run that nothing happens to."""
    with site(stack, f"calm{time.time_ns()}.", tmp_path_factory.mktemp("calm")) as at:
        at.land("opcua", traffic.records(RECORDS))
        worker, sink = at.start("worker", "glass"), at.start("sink", "glass")
        wait("worker through", lambda: worker_done(at), 180, at)
        wait("sink through", lambda: all_done(at), 180, at)
        at.stop(worker)
        at.stop(sink)
        yield [at.written(topic) for topic in topics(at)], at.documents("glass")


def test_kills_of_worker_and_sink_change_nothing(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path, calm: Calm
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with site(stack, topic_prefix, tmp_path) as at:
        pace = RECORDS / (KILLS * 8)
        landing = threading.Thread(target=at.land, args=("opcua", traffic.records(RECORDS), pace))
        landing.start()
        running = {name: at.start(name, "glass") for name in ("worker", "sink")}
        victims = ["worker", "sink"] * KILLS
        chance.shuffle(victims)
        for name in victims:
            time.sleep(chance.uniform(1.0, 6.0))  # a random moment is what is tested
            running[name].kill()
            running[name].wait()
            running[name] = at.start(name, "glass")
        landing.join()
        settle(at, len(calm[1]))
        assert [at.written(topic) for topic in topics(at)] == calm[0], f"seed {seed}"
        assert at.documents("glass") == calm[1], f"seed {seed}"


def test_kafka_and_the_store_stopped_for_a_while(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path, calm: Calm
) -> None:
    away = 20.0 if FULL else 6.0
    with site(stack, topic_prefix, tmp_path) as at:
        half = RECORDS // 2
        records = list(traffic.records(RECORDS))
        worker, sink = at.start("worker", "glass"), at.start("sink", "glass")
        at.land("opcua", records[: half // 2])
        wait("worker through", lambda: worker_done(at), 120, at)
        stack.stop_service("store")
        try:
            at.land("opcua", records[half // 2 : half])
            begun = time.monotonic()
            wait("worker goes on without the store", lambda: worker_done(at), 60, at)
            alarms = at.written(at.kafka.topics.output("glass", "alarms"))
            assert alarms, "alarms reach their topic while the store is away"
            time.sleep(max(0.0, away - (time.monotonic() - begun)))  # it stays away
        finally:
            stack.start_service("store")
        landing = threading.Thread(target=at.land, args=("opcua", records[half:], half / 10))
        landing.start()
        stack.stop_service("kafka")
        try:
            time.sleep(away)  # it stays away
        finally:
            stack.start_service("kafka")
        landing.join()
        settle(at, len(calm[1]))
        assert worker.poll() is None
        assert sink.poll() is None
        assert [at.written(topic) for topic in topics(at)] == calm[0]
        assert at.documents("glass") == calm[1]


def hostile_records(protocol: str) -> list[Raw]:
    """The corpus of a raw topic, under a key that the topology takes wherever it is a key."""
    return [
        (b"glass/hostile" if key == hostile.KEY else key, value, head, 1_700_000_000_000)
        for schema in (f"raw-{protocol}", "heartbeat")
        for _, key, value, head in hostile.hostile(schema)
    ]


def test_a_hostile_corpus_on_every_raw_topic(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path, calm: Calm
) -> None:
    good = list(traffic.records(RECORDS))
    with site(stack, topic_prefix, tmp_path) as at:
        worker = at.start("worker", "glass")
        at.land("opcua", good[: RECORDS // 2])
        sent = {}
        for protocol in ("opcua", "modbus", "mqtt"):
            corpus = hostile_records(protocol)
            at.land(protocol, corpus)
            sent[at.kafka.topics.raw(protocol)] = corpus
        at.land("opcua", good[RECORDS // 2 :])
        group = at.kafka.group("glass")
        wait("worker through", lambda: at.lag(group, sent) == 0, 240, at)
        assert worker.poll() is None
        letters = at.letters()
        for topic, corpus in sent.items():
            found = [letter for letter in letters if letter.topic == topic]
            assert sorted((x.key or b"", x.value or b"") for x in found) == sorted(
                (key or b"", value or b"") for key, value, _, _ in corpus
            )
            assert len({(letter.partition, letter.offset) for letter in found}) == len(found)
            assert all(letter.reason and letter.error and letter.step for letter in found)
        assert [at.written(topic) for topic in topics(at)] == calm[0], "good records all the same"


def inflating() -> bytes:
    """A raw record that Kafka takes, and whose readings it would not."""
    size = 36_000
    return orjson.dumps(
        {
            "received": 1_700_000_000_000_000_000,
            "tags": ["zone_0"],
            "nodes": ["ns=2;s=z0"],
            "tag": [0] * size,
            "t": list(range(1_700_000_000_000_000_000, 1_700_000_000_000_000_000 + size)),
            "server_t": [0] * size,
            "v": [7] * size,
        }
    )


def test_an_output_too_large_is_a_dead_letter_and_no_crash_loop(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path
) -> None:
    good = list(traffic.records(80))
    key, _, head, stamp = good[0]
    with site(stack, topic_prefix, tmp_path) as at:
        worker = at.start("worker", "glass")
        at.land("opcua", good[:40])
        at.land("opcua", [(key, inflating(), head, stamp)])
        at.land("opcua", good[40:])
        wait("worker through", lambda: worker_done(at), 120, at)
        assert worker.poll() is None
        (letter,) = at.letters()
        assert isinstance(letter, deadletter.DeadLetter)
        assert letter.reason == "too-large"
        assert sum(map(len, at.written(topics(at)[0]).values())) == 80
