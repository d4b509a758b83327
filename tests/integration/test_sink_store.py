"""Records of real topics become documents in a real store: all of them, once, the newest."""

from __future__ import annotations

import dataclasses
from datetime import datetime

import numpy as np
import pytest

from app.embedded import EmbeddedStack
from app.shells.sink import OutputSpec, run_sink
from app.store import Queries
from app.store.reading import read_block
from models.records import block as blocks
from tests.sink_site import (
    OUTPUTS,
    THEN,
    TOPOLOGY,
    Feed,
    SinkSite,
    alarm,
    feature,
    good,
    reading,
    set_config,
    until,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def site(stack: EmbeddedStack, topic_prefix: str) -> SinkSite:
    return SinkSite(stack, topic_prefix)


def test_each_record_is_a_document_with_every_value_as_it_was(site: SinkSite) -> None:
    odd = reading(
        7,
        v=np.array([1.5, np.nan, np.inf, -np.inf, 2.0**64, 1e300, -0.0, 5e-324, np.nan, 1.0]),
        typed=(
            (2, "f", "inf"),
            (3, "f", "-inf"),
            (4, "i", str(2**64 - 1)),
            (8, "s", "off\u00e9"),
            (9, "b", True),
        ),
        q=np.array([1, 9, 4, 4, 1, 1, 3, 1, 2, 1], np.uint8),
        code=np.arange(10, dtype=np.uint32) + np.uint32(0x80000000),
    )
    sent = [reading(n) for n in range(5)] + [odd, feature(0), feature(1), alarm(0), alarm(0, 1)]
    with site.running() as stats:
        site.feed(sent)
        site.until_committed()
    stored = site.stored()
    assert {name: len(found) for name, found in stored.items()} == {
        "readings": 6,
        "features": 4,
        "anomalies": 0,
        "alarms": 2,
    }
    for record in (r for r in sent if r.output == "readings"):
        document = stored["readings"][record.head["event-id"].decode()]
        assert blocks.encode(read_block(document)) == record.value
        assert document["start"] == datetime(2013, 12, 2, 12, 0) or document["start_ns"] > THEN
        assert document["end_ns"] == int(blocks.decode(record.value).t.max())
    row = stored["features"][f"plant/features/w10/pump/load/{THEN}"]
    assert row["stats"] == {"mean": None, "max": 2.0}
    assert (row["count"], row["bad"], row["start_ns"]) == (6, 1, THEN)
    assert stats.documents == 12
    assert stats.samples == 60
    assert stats.dead == {}


def test_repeats_change_nothing_and_an_older_revision_does_not_win(site: SinkSite) -> None:
    with site.running() as stats:
        site.feed([reading(0), alarm(0), alarm(2), feature(0)])
        site.until_committed()
        before = site.stored()
        site.feed([alarm(1), reading(0), feature(0), alarm(0), alarm(2)])
        site.until_committed()
        assert site.stored() == before
        site.feed([alarm(3), alarm(4), alarm(3)])
        site.until_committed()
    (document,) = site.stored()["alarms"].values()
    assert (document["revision"], document["why"]) == (4, "revision 4")
    assert stats.unchanged == 6


def test_an_aborted_transaction_leaves_no_document(site: SinkSite) -> None:
    with site.running():
        site.feed([reading(0)])
        site.feed([reading(1), alarm(0)], abort=True)
        site.feed([reading(2), alarm(0, 1)])
        site.until_committed()
    stored = site.stored()
    assert sorted(stored["readings"]) == ["test:pump:0", "test:pump:2"]
    assert [document["onset_ns"] for document in stored["alarms"].values()] == [THEN + 10**9]


def test_records_that_are_no_documents_are_dead_letters_and_the_others_stay(
    site: SinkSite,
) -> None:
    ok = reading(0)
    bad = [
        Feed("readings", b"pump", b"no json", ok.head),
        Feed("readings", b"pump", None, ok.head),
        Feed("readings", b"pump", ok.value, {}),
        Feed("readings", b"pump", ok.value, {"schema": b"features/1"}),
        Feed("readings", b"pump", ok.value, {**ok.head, "event-id": b"\xff\xfe"}),
        Feed("alarms", b"pump", b"{}", alarm(0).head),
        Feed(
            "features",
            b"pump",
            (feature(0).value or b"").replace(b'"mean"', b'"m\\u0000"'),
            feature(0).head,
        ),
    ]
    with site.running() as stats:
        site.feed([reading(1), *bad[:4], reading(2), *bad[4:], alarm(0), reading(3)])
        site.until_committed()
    letters = site.dead_letters(len(bad))
    assert sorted((letter.value or b"", sorted(letter.headers.items())) for letter in letters) == (
        sorted((record.value or b"", sorted(record.head.items())) for record in bad)
    )
    assert {letter.topology for letter in letters} == {"sink:plant"}
    assert {letter.reason for letter in letters} == {"malformed"}
    assert all(letter.topic in site.topics.values() and letter.error for letter in letters)
    assert stats.dead == {"malformed": len(bad)}
    stored = site.stored()
    assert sorted(stored["readings"]) == ["test:pump:1", "test:pump:2", "test:pump:3"]
    assert len(stored["alarms"]) == 1


def test_a_document_the_store_refuses_is_a_dead_letter_and_its_bulk_is_kept(
    site: SinkSite,
) -> None:
    # The store cannot have two alarms of one 'why': a site's own rule, which some documents break.
    site.collection("alarms").create_index("why", unique=True)
    records = [reading(n) for n in range(20)] + [
        alarm(0, n, value=float(n), why=f"reason {n % 4}" if n < 5 else f"reason {n}")
        for n in range(10)
    ]
    with site.running() as stats:
        site.feed(records)
        site.until_committed()
    stored = site.stored()
    assert len(stored["readings"]) == 20
    assert len(stored["alarms"]) == 9
    assert len({document["why"] for document in stored["alarms"].values()}) == 9
    (letter,) = site.dead_letters(1)
    assert (letter.topology, letter.step, letter.reason) == ("sink:plant", "store", "rejected")
    assert letter.value in {r.value for r in records if b'"reason 0"' in (r.value or b"")}
    assert stats.dead == {"rejected": 1}


def test_two_sinks_share_the_partitions_and_hand_them_over(site: SinkSite) -> None:
    sent: list[Feed] = []

    def feed(first: int) -> None:
        for number in range(first, first + 20):
            sent.extend(good(number))
            site.feed(good(number))

    with site.running() as one:
        until(lambda: one.ready, 30)
        feed(0)
        with site.running() as two:
            until(lambda: bool(two.assigned) and bool(one.assigned), 30)
            held = [sum(map(len, (stats.assigned or {}).values())) for stats in (one, two)]
            assert sum(held) == 8
            feed(20)
            site.until_committed()
            assert two.documents
        feed(40)
        site.until_committed()
        assert sum(map(len, (one.assigned or {}).values())) == 8
    assert_complete(site, sent)


def test_declared_retention_counts_from_arrival(site: SinkSite) -> None:
    day = 86_400 * 10**9
    kept = [dataclasses.replace(output, retention=day) for output in OUTPUTS]
    now = int(datetime.now().timestamp() * 1e9)
    fresh, stale = reading(0, received=now), reading(1, received=now - 2 * day)
    with site.running(kept):
        site.feed([fresh, stale, alarm(0), alarm(1, 1), feature(0)])
        site.until_committed()
    stored = site.stored()
    # Event times of 2013 delete nothing; the block that arrived two days ago is over its day.
    assert list(stored["readings"]) == ["test:pump:0"]
    assert len(stored["features"]) == 2
    still_open, over = sorted(stored["alarms"].values(), key=lambda d: d["onset_ns"])
    assert "stored" not in still_open
    assert "stored" in over
    longer = [OutputSpec(o.name, o.kind, 3 * day) for o in OUTPUTS]
    with site.running(longer) as stats:
        until(lambda: stats.ready, 30)
    (ttl,) = [i for i in site.collection("readings").list_indexes() if "expireAfterSeconds" in i]
    assert ttl["expireAfterSeconds"] == 3 * 86_400


def test_the_questions_of_the_gateway(site: SinkSite) -> None:
    with site.running():
        site.feed([reading(n) for n in (2, 0, 1)])
        site.feed([feature(0), feature(1), alarm(0), alarm(0, 1), alarm(1, 1), alarm(0, 2, "fan")])
        site.until_committed()
    asked = Queries(site.database, TOPOLOGY, site.store.prefix)
    assert asked.assets() == ["pump"]
    assert asked.tags("pump") == ["load", "speed"]
    latest = asked.latest("pump")
    assert latest["load"] == (THEN + 29 * 10_000_000, 2.9, 1, 0)
    assert latest["speed"] == (THEN + 24 * 10_000_000, 2.4, 1, 0)
    # From the fourth sample of the first block to the second of the next, the end left out.
    span = asked.readings("pump", "speed", THEN + 30_000_000, THEN + 120_000_000)
    assert [s.value for s in span] == [0.3, 0.4, 1.0, 1.1]
    assert asked.readings("pump", "speed", THEN - 10**12, THEN) == []
    assert len(asked.readings("pump", "load", THEN, THEN + 10**12, limit=4)) == 4
    rows = asked.features("pump", THEN, THEN + 10**10)
    assert [(row.tag, row.start, row.count) for row in rows] == [
        ("load", THEN, 6),
        ("speed", THEN, 5),
    ]
    assert [row.start for row in asked.features("pump", 0, 2**62, tag="load")] == [
        THEN,
        THEN + 10**10,
    ]
    assert [event.asset for event in asked.open_alarms()] == ["fan", "pump"]
    assert [event.onset for event in asked.open_alarms("pump")] == [THEN]
    assert [event.revision for event in asked.alarms()] == [0, 1, 0]
    assert asked.counts(["readings", "alarms"]) == {"readings": 3, "alarms": 3}
    assert asked.sample_count() == 30


def assert_complete(site: SinkSite, sent: list[Feed]) -> None:
    """Every record fed is there once, every alarm with its highest revision, nothing else."""
    stored = site.stored()
    blocks_sent = {r.head["event-id"].decode(): r.value for r in sent if r.output == "readings"}
    assert {i: blocks.encode(read_block(d)) for i, d in stored["readings"].items()} == blocks_sent
    assert len(stored["features"]) == 2 * sum(r.output == "features" for r in sent)


@pytest.mark.parametrize("name", ["max.message.bytes", "message.timestamp.after.max.ms"])
def test_a_dead_letter_topic_that_would_refuse_letters_stops_the_sink_at_its_start(
    site: SinkSite, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    set_config(site.kafka, site.kafka.topics.dead_letters, name, "1100000")
    code = run_sink(TOPOLOGY, 1, OUTPUTS, kafka=site.kafka, store=site.store, sink=site.sink)
    assert code == 2
    assert f"dead-letters: {name} is 1100000, should be" in caplog.text


def test_an_output_topic_that_forgets_by_age_is_warned_of_once(
    site: SinkSite, caplog: pytest.LogCaptureFixture
) -> None:
    set_config(site.kafka, site.topics["features"], "retention.ms", "604800000")
    with site.running():
        site.feed([reading(0)])
        site.until_committed()
    assert caplog.text.count("features: retention.ms is 604800000, should be -1") == 1
