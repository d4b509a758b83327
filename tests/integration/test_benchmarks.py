"""Ours and a Java peer, compiled here, give the same final results from the same bytes."""

from __future__ import annotations

import pytest

from app.embedded import EmbeddedStack
from benchmarks import aggregate, java, shapes, subjects
from tests.conftest import require

pytestmark = pytest.mark.integration

COMPARED = ("Kafka Streams, hand-tuned", "Plantstream, 1 process")


@pytest.mark.timeout(600)
def test_ours_and_kafka_streams_agree(
    stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        java.classpath()
    except java.Absent as absent:
        require(False, f"the Java peers cannot run: {absent}")
    monkeypatch.setattr(aggregate, "RECORDS", {"blocks": (6000, 6000)})
    outcome = aggregate.measure(
        stack,
        lambda _: None,
        quick=True,
        chosen=shapes.SHAPES[:1],
        who=[one for one in subjects.subjects() if one.name in COMPARED],
    )
    assert outcome.failures == []
    assert [row.who for row in outcome.rows] == list(COMPARED)
    assert all(row.rate > 0 for row in outcome.rows)


def test_a_subject_that_gives_nothing_right_has_no_rate(
    stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(run: subjects.Run) -> list[subjects.Process]:
        return [run.python("-c", "raise SystemExit(3)")]

    broken = subjects.Subject("Broken", subjects.EXACTLY, 1.0, "", wrong)
    monkeypatch.setattr(aggregate, "RECORDS", {"blocks": (400, 400)})
    outcome = aggregate.measure(
        stack, lambda _: None, quick=True, chosen=shapes.SHAPES[:1], who=[broken]
    )
    assert outcome.rows[0].rate == 0
    assert outcome.rows[0].note.startswith("WRONG: it ended with 3 after 0 results")
    (failure,) = outcome.failures
    assert "Broken" in failure
