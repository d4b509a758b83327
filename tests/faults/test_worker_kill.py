"""Workers killed, brokers stopped: outputs are those of a run in which nothing happened.

The short forms always run; ``PLANTSTREAM_FULL=1`` runs ten kills and twenty takeovers.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.embedded import EmbeddedStack
from tests.worker_site import Feed, Reader, Site, good

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(900)]

FULL = os.environ.get("PLANTSTREAM_FULL") == "1"
ASSETS = 12


@pytest.fixture
def seed() -> int:
    """Fresh and printed, so that a failure can be repeated (PLANTSTREAM_SEED)."""
    seed = int(os.environ.get("PLANTSTREAM_SEED", "0")) or random.SystemRandom().randrange(10**6)
    print(f"PLANTSTREAM_SEED={seed}")
    return seed


class Feeder:
    """Feeds a round of all assets every few milliseconds until told to stop."""

    def __init__(self, site: Site) -> None:
        self.sent: list[Feed] = []
        self._site, self._over = site, threading.Event()

    @contextmanager
    def feeding(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.wait(0.02):
            batch = [good(f"asset-{a}", number) for a in range(ASSETS)]
            self._site.feed(batch)
            self.sent += batch
            number += 1


def uninterrupted(stack: EmbeddedStack, site: Site, sent: list[Feed]) -> list[object]:
    """What one worker makes of the same records when nothing happens to it."""
    calm = Site(site.bootstrap, f"{site.prefix}calm.", site.folder / "calm")
    with calm.running():
        calm.feed(sent)
        Reader(calm, calm.readings).until(len(sent))
    return list(calm.read())


def test_kills_at_random_moments_change_nothing(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    site = Site(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)
    feeder, reader = Feeder(site), Reader(site, site.readings)
    with feeder.feeding():
        for _ in range(10 if FULL else 3):
            done = len(site.read())
            worker = site.start(instance="only")
            reader.until(done + ASSETS, worker=worker)  # it is at work itself
            time.sleep(chance.uniform(0, 1.5))  # the random moment
            worker.kill()
    worker = site.start(instance="only")
    reader.until(len(feeder.sent), worker=worker)
    assert worker.stop() == 0
    assert list(site.read()) == uninterrupted(stack, site, feeder.sent)
    assert site.read(site.dead_letters) == []


def test_another_worker_takes_over_within_15_s(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    site = Site(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)
    reader, number, took = Reader(site, site.readings), 0, []
    sent: list[Feed] = []

    def round_trip(timeout_s: float) -> None:
        nonlocal number
        batch = [good(f"asset-{a}", number) for a in range(ASSETS)]
        number += 1
        sent.extend(batch)
        site.feed(batch)
        reader.until(len(sent), timeout_s)

    workers = [site.start(), site.start()]
    for _ in range(20 if FULL else 2):
        round_trip(60)
        _until_shared(site)
        batch = [good(f"asset-{a}", number) for a in range(ASSETS)]
        number += 1
        sent.extend(batch)
        site.feed(batch)
        time.sleep(chance.uniform(0, 0.3))  # the random moment within the work on these
        victim = workers.pop(chance.randrange(2))
        victim.kill()
        begun = time.monotonic()
        round_trip(15)
        took.append(time.monotonic() - begun)
        workers.append(site.start())
    print("takeovers took", " ".join(f"{s:.1f}" for s in sorted(took)), "s")
    round_trip(60)
    _until_shared(site)
    assert [worker.stop() for worker in workers] == [0, 0]
    assert list(site.read()) == uninterrupted(stack, site, sent)


def _until_shared(site: Site) -> None:
    """Wait until two workers hold partitions."""
    deadline = time.monotonic() + 60
    while sum(bool(held) for held in site.members().values()) < 2:
        assert time.monotonic() < deadline, site.members()


def test_a_broker_away_for_20_s_costs_nothing(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path
) -> None:
    site = Site(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)
    feeder, reader = Feeder(site), Reader(site, site.readings)
    worker = site.start()
    with feeder.feeding():
        reader.until(10 * ASSETS, worker=worker)
        stack.stop_service("kafka")
        time.sleep(20)
        assert not worker.ended, worker.log()
        stack.start_service("kafka")
        reader.until(len(reader.seen) + 10 * ASSETS, worker=worker)
    reader.until(len(feeder.sent), worker=worker)
    assert worker.stop() == 0
    assert list(site.read()) == uninterrupted(stack, site, feeder.sent)


def test_kafka_that_stays_away_ends_the_worker_with_one_line(
    topic_prefix: str, tmp_path: Path, stack: EmbeddedStack
) -> None:
    from app.embedded import ports

    site = Site(
        str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path, worker={"kafka_timeout": "3s"}
    )
    nowhere = f"127.0.0.1:{ports.find_free()}"
    worker = site.start(kafka={"bootstrap": nowhere})
    assert worker.wait(30) == 1
    [line] = [line for line in worker.log().splitlines() if " ERROR " in line]
    assert f"Kafka at {nowhere} does not answer" in line
