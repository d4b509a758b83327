"""Sinks killed, the store and Kafka away: the documents are those of a run without faults.

The short forms always run; ``PLANTSTREAM_FULL=1`` runs ten kills and absences of 20 s.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.embedded import EmbeddedStack
from app.store.reading import read_alarm, read_block
from models.records import block as blocks
from models.records import events, features
from tests.sink_site import Feed, SinkSite, end, good, until

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(600)]

FULL = os.environ.get("PLANTSTREAM_FULL") == "1"
AWAY_S = 20.0 if FULL else 10.0


@pytest.fixture
def site(stack: EmbeddedStack, topic_prefix: str) -> SinkSite:
    return SinkSite(stack, topic_prefix)


@pytest.fixture
def seed() -> int:
    """Fresh and printed, so that a failure can be repeated (PLANTSTREAM_SEED)."""
    seed = int(os.environ.get("PLANTSTREAM_SEED", "0")) or random.SystemRandom().randrange(10**6)
    print(f"PLANTSTREAM_SEED={seed}")
    return seed


class Feeder:
    """Feeds ``rounds`` in a transaction, twenty a second, until told to stop."""

    def __init__(self, site: SinkSite, rounds: int = 1) -> None:
        self.sent: list[Feed] = []
        self._site, self._rounds, self._over = site, rounds, threading.Event()
        self._failure: BaseException | None = None

    @contextmanager
    def feeding(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            number = 0
            while not self._over.wait(0.05):
                records = [r for n in range(number, number + self._rounds) for r in good(n)]
                self._site.feed(records)
                self.sent += records
                number += self._rounds
        except BaseException as failure:
            self._failure = failure


def account(site: SinkSite, sent: list[Feed]) -> None:
    """Everything fed is there once and as it was, each alarm as its highest revision left it."""
    stored = site.stored()
    wanted = {r.head["event-id"].decode(): r.value for r in sent if r.output == "readings"}
    assert {i: blocks.encode(read_block(d)) for i, d in stored["readings"].items()} == wanted
    alarms: dict[str, events.Alarm] = {}
    for record in sent:
        if record.output == "alarms":
            alarm = events.decode(events.Alarm, record.value)
            if alarm.id not in alarms or alarms[alarm.id].revision < alarm.revision:
                alarms[alarm.id] = alarm
    assert {a.id: a for a in map(read_alarm, stored["alarms"].values())} == alarms
    rows = sorted(i for r in sent if r.output == "features" for i in _row_ids(r))
    assert sorted(stored["features"]) == rows


def _blocks(site: SinkSite) -> int:
    count: int = site.collection("readings").estimated_document_count()
    return count


def _row_ids(record: Feed) -> list[str]:
    rows = features.decode(record.value)
    return [f"plant/features/w10/{rows.asset}/{t}/{rows.start[0]}" for t in rows.tags]


def test_killed_sinks_lose_and_double_nothing(site: SinkSite, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    # More than the store takes at once: full batches, so that a kill falls into a write.
    feeder, log = Feeder(site, rounds=3), tmp_path / "sink.log"
    with feeder.feeding():
        for _ in range(10 if FULL else 3):
            process = site.start(log)
            more = _blocks(site) + 1
            until(lambda more=more: _blocks(site) >= more, 60, log.read_text)  # type: ignore[misc]
            threading.Event().wait(chance.uniform(0.0, 1.0))  # the moment is the test
            end(process, signal.SIGKILL)
    process = site.start(log)
    try:
        site.until_committed()
    finally:
        assert end(process) == 0, log.read_text()
    account(site, feeder.sent)


def test_the_store_killed_and_away_delays_documents_only(
    site: SinkSite, stack: EmbeddedStack
) -> None:
    feeder = Feeder(site)
    with site.running() as stats:
        with feeder.feeding():
            until(lambda: stats.documents > 20, 30)
            stack.stop_service("store", kill=True)
            try:
                until(lambda: stats.trouble != "", 30)
                assert not stats.ready
                threading.Event().wait(AWAY_S)
                # Still a member of its group: it kept polling.
                assert sum(map(len, (stats.assigned or {}).values())) == 8
            finally:
                stack.start_service("store")
            until(lambda: stats.ready, 30)
        site.until_committed()
        assert stats.restarts == 0
    account(site, feeder.sent)
    assert stats.dead == {}


def test_kafka_away_delays_documents_only(site: SinkSite, stack: EmbeddedStack) -> None:
    feeder = Feeder(site)
    with site.running() as stats:
        with feeder.feeding():
            until(lambda: stats.documents > 20, 30)
        stack.stop_service("kafka", kill=True)
        try:
            threading.Event().wait(AWAY_S)
        finally:
            stack.start_service("kafka")
        again = SinkSite(stack, site.kafka.prefix)
        more = [record for number in range(1000, 1020) for record in good(number)]
        again.feed(more)
        site.until_committed(150)
    account(site, feeder.sent + more)


def test_a_sink_told_to_stop_while_the_store_is_away_stops(
    site: SinkSite, stack: EmbeddedStack, tmp_path: Path
) -> None:
    site.sink = site.sink.model_copy(update={"hand_over": 500_000_000})
    log = tmp_path / "sink.log"
    site.feed(good(0))
    process = site.start(log)
    try:
        site.until_committed()
        stack.stop_service("store", kill=True)
        try:
            site.feed(good(1))
            until(lambda: "trying again" in log.read_text(), 30, log.read_text)
            assert end(process) == 0, log.read_text()
        finally:
            stack.start_service("store")
    finally:
        process.kill()
        process.wait()
    process = site.start(log)
    try:
        site.until_committed()
    finally:
        assert end(process) == 0, log.read_text()
    account(site, good(0) + good(1))


def test_a_sink_told_to_stop_while_kafka_is_away_stops(
    site: SinkSite, stack: EmbeddedStack, tmp_path: Path
) -> None:
    log = tmp_path / "sink.log"
    site.feed(good(0))
    process = site.start(log)
    try:
        site.until_committed()
        stack.stop_service("kafka", kill=True)
        try:
            process.terminate()
            assert process.wait(30) == 0, log.read_text()
        finally:
            stack.start_service("kafka")
    finally:
        process.kill()
        process.wait()


def test_a_sink_that_starts_before_the_store_waits_for_it(
    site: SinkSite, stack: EmbeddedStack
) -> None:
    site.feed(good(0))
    stack.stop_service("store", kill=True)
    try:
        running = site.running()
        stats = running.__enter__()
        until(lambda: stats.troubles > 0, 30)
        assert not stats.ready
    finally:
        stack.start_service("store")
    site.until_committed()
    running.__exit__(None, None, None)
    account(site, good(0))
