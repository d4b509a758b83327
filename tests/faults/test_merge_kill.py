"""Two inputs merge in a real worker that is killed again and again: outputs are, byte for byte,
those of the driver, which was fed the same records in another order.

``PLANTSTREAM_FULL=1`` kills twenty times.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer

from app.embedded import EmbeddedStack
from app.kafka import producer_options
from app.kafka.topics import ensure_topics, log_topic
from models.records import block as blocks
from models.records import headers, heartbeat
from models.records.heartbeat import Heartbeat, State
from models.time import NS_PER_MS
from tests.laws.test_merging import WHO, Sent, block, mixed, outcome, run, stories
from tests.worker_site import Reader, Site
from topologies.core import Emission

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(900)]

FULL = os.environ.get("PLANTSTREAM_FULL") == "1"
KILLS = 20 if FULL else 3
OUTPUTS = ("joined", "by_line", "by_plant")


def plant(chance: random.Random) -> list[list[tuple[int, int, int, bool]]]:
    """A minute and more of each contributor, some samples late."""
    return [
        [
            (chance.choice([-1, 0, 0, 1, 1, 2]), chance.randint(0, 1), chance.randint(-50, 50),
             chance.random() < 0.4)
            for _ in range(150)
        ]
        for _ in WHO
    ]  # fmt: skip


def produce(producer: Producer, prefix: str, sent: Sent) -> None:
    if sent.samples:
        schema, value = headers.BLOCK, blocks.encode(
            block(sent.asset, sent.samples, sent.received)
        )
    else:
        beat = Heartbeat(sent.asset, State.ALIVE, sent.received, sent.received, sent.elapsed)
        schema, value = headers.HEARTBEAT, heartbeat.encode(beat)
    producer.produce(
        f"{prefix}{sent.source}",
        value,
        sent.asset.encode(),
        headers={headers.SCHEMA: schema.header, headers.CONTENT_TYPE: headers.JSON},
        timestamp=sent.received // NS_PER_MS,
    )


def by_key(site: Site) -> dict[tuple[str, bytes], list[Emission]]:
    """What is committed on the outputs behind merges, as the driver would show it."""
    found: dict[tuple[str, bytes], list[Emission]] = {}
    for output in OUTPUTS:
        for out in site.read(site.kafka.topics.output("lines", output)):
            assert out.key is not None
            assert out.value is not None
            emission = Emission(output, out.key, out.value, dict(out.headers), out.timestamp_ms)
            found.setdefault((output, out.key), []).append(emission)
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_change_nothing_of_what_two_inputs_make_together(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path, workers: int
) -> None:
    """Two workers share inputs and the topics in between: who makes what changes with each kill."""
    seed = int(os.environ.get("PLANTSTREAM_SEED", "0")) or random.SystemRandom().randrange(10**6)
    print(f"PLANTSTREAM_SEED={seed}")
    chance = random.Random(seed)
    told = stories(plant(chance))
    wanted = outcome(run(told, seed))
    site = Site(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)
    inputs = dict.fromkeys(source for source, _, _ in WHO)
    outputs = [site.kafka.topics.output("lines", output) for output in (*OUTPUTS, "line.in")]
    ensure_topics(
        site.admin,
        [log_topic(site.kafka, name) for name in (*(topic_prefix + i for i in inputs), *outputs)],
    )
    producer = Producer(producer_options(site.kafka, "test"))
    rest = mixed(told, seed + 1)
    share = -(-len(rest) // (KILLS + 1))
    running = [site.start(topology="lines", instance=f"w{n}") for n in range(workers)]
    at_work = Reader(site, outputs[-1])
    for number in range(KILLS):
        some, rest = rest[:share], rest[share:]
        for sent in some:
            produce(producer, topic_prefix, sent)
        assert producer.flush(30) == 0
        at_work.until(len(at_work.seen) + len(some) // 2, 240, running[0])
        time.sleep(chance.uniform(0, 0.6))  # the random moment within the work on these
        victim = number % workers
        running[victim].kill()
        running[victim] = site.start(topology="lines", instance=f"w{victim}")
    for sent in rest:
        produce(producer, topic_prefix, sent)
    assert producer.flush(30) == 0
    for output in OUTPUTS:
        name = site.kafka.topics.output("lines", output)
        count = sum(len(some) for (of, _), some in wanted.items() if of == output)
        Reader(site, name).until(count, 240, running[0])
    assert [worker.stop() for worker in running] == [0] * workers
    assert by_key(site) == wanted
    assert site.letters() == []
