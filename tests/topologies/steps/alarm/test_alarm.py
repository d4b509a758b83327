"""Alarms: raised and cleared in event time, once per occurrence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models import quality
from models.records.heartbeat import State
from models.time import NS_PER_S
from tests.topologies.steps.feeding import Feed, second
from topologies.steps.alarm import Alarm
from topologies.steps.detect import Limits, Silence
from topologies.steps.extract import Window


def feed_of(**fields: object) -> Feed:
    return Feed(Limits(high=10.0), Alarm(of="limits", **fields))


def at(feed: Feed, *samples: tuple[float, float]) -> None:
    """One record of samples (second, value) of the tag x."""
    feed.samples([("x", second(t), v) for t, v in samples])


def told(feed: Feed) -> list[tuple[str, float, float | None]]:
    """(state, raised, cleared) of every revision, in seconds."""
    start = second(0)
    return [
        (
            alarm.state,
            (alarm.raised - start) / NS_PER_S,
            None if alarm.cleared is None else (alarm.cleared - start) / NS_PER_S,
        )
        for alarm in feed.alarms
    ]


def test_without_delays_an_alarm_follows_its_condition() -> None:
    feed = feed_of(severity="high")
    at(feed, (0, 1.0), (1, 12.0), (2, 13.0), (3, 9.0), (4, 1.0))
    assert told(feed) == [("raised", 1, None), ("cleared", 1, 3)]
    raised, cleared = feed.alarms
    assert raised.id == cleared.id == f"alarm/a/x/{second(1)}"
    assert (raised.revision, cleared.revision) == (0, 1)
    assert (raised.onset, raised.value, raised.score, raised.threshold) == (second(1), 12, 2, 0)
    assert (raised.severity, raised.detector, raised.alarm) == ("high", "limits", "alarm")
    assert raised.why == cleared.why == "x is 12, above its upper warning limit of 10 by 2"


def test_on_delay_raises_at_onset_plus_delay() -> None:
    feed = feed_of(on_delay="5s")
    at(feed, (0, 12.0), (4, 12.0))
    assert told(feed) == []
    at(feed, (7, 12.0))
    assert told(feed) == [("raised", 5, None)]


def test_a_shorter_flicker_raises_nothing() -> None:
    feed = feed_of(on_delay="5s")
    at(feed, (0, 12.0), (4, 1.0))
    at(feed, (6, 12.0), (10, 1.0))
    feed.beat(60.0)
    assert told(feed) == []
    assert not any(key.startswith("alarm/") for key in feed.state.values)


def test_time_alone_raises_by_heartbeat_and_by_another_tag() -> None:
    beaten, told_by_other = feed_of(on_delay="5s"), feed_of(on_delay="5s")
    at(beaten, (0, 12.0))
    beaten.beat(4.0)
    assert told(beaten) == []
    beaten.beat(5.0)
    at(told_by_other, (0, 12.0))
    told_by_other.samples([("y", second(5), 0.0)])
    assert told(beaten) == told(told_by_other) == [("raised", 5, None)]


def test_a_disconnected_connector_raises_nothing_meanwhile() -> None:
    feed = feed_of(on_delay="5s")
    at(feed, (0, 12.0))
    feed.beat(60.0, State.DISCONNECTED)
    assert told(feed) == []


def test_off_delay_clears_late_and_forgives_a_gap() -> None:
    feed = feed_of(off_delay="5s")
    at(feed, (0, 12.0), (1, 1.0), (4, 12.0), (10, 1.0))
    assert told(feed) == [("raised", 0, None)]
    feed.beat(4.9)
    assert told(feed) == [("raised", 0, None)]
    feed.beat(5.0)
    assert told(feed) == [("raised", 0, None), ("cleared", 0, 15)]


def test_the_deadband_is_in_score_units() -> None:
    feed = feed_of(deadband=2.0)
    at(feed, (0, 12.0), (1, 9.0), (2, 8.5))
    assert told(feed) == [("raised", 0, None)]
    at(feed, (3, 8.0))
    assert told(feed)[1:] == [("cleared", 0, 3)]


def test_each_occurrence_is_an_alarm_of_its_own() -> None:
    feed = feed_of()
    at(feed, (0, 12.0), (1, 1.0), (2, 15.0), (3, 1.0))
    assert [(alarm.onset, alarm.revision) for alarm in feed.alarms] == [
        (second(0), 0),
        (second(0), 1),
        (second(2), 0),
        (second(2), 1),
    ]


def test_unjudged_samples_leave_the_alarm_as_it_is() -> None:
    feed = feed_of()
    at(feed, (0, 12.0))
    feed.samples([("x", second(1), 1.0, quality.FAIL)])
    assert told(feed) == [("raised", 0, None)]


def test_several_tags_at_once_in_order_of_time() -> None:
    feed = feed_of()
    feed.samples(
        [("b", second(1), 12.0), ("a", second(2), 12.0), ("b", second(3), 1.0), ("c", second(3), 1)]
    )
    assert [(alarm.tag, alarm.state) for alarm in feed.alarms] == [
        ("b", "raised"),
        ("a", "raised"),
        ("b", "cleared"),
    ]


def test_an_alarm_on_windows_waits_for_all_windows_of_the_time() -> None:
    feed = Feed(
        Window(size="10s", grace="20s"),
        Limits(of="window", statistic="max", high=10.0),
        Alarm(of="limits", on_delay="15s"),
    )
    at(feed, (5, 12.0), (15, 1.0), (40, 1.0))  # only [0, 10) and [10, 20) are closed
    assert told(feed) == []
    at(feed, (45, 12.0), (55, 12.0), (65, 12.0), (75, 12.0))
    feed.beat(50.0)
    assert told(feed) == [("raised", 65, None)]


def test_silence_raises_and_clears_an_alarm() -> None:
    feed = Feed(Silence(after="60s"), Alarm(of="silence", off_delay="10s"))
    at(feed, (0, 1.0))
    feed.beat(70.0)
    assert [(alarm.tag, alarm.state, alarm.raised) for alarm in feed.alarms] == [
        ("*", "raised", second(60))
    ]
    at(feed, (80, 1.0))
    at(feed, (89, 1.0))
    assert len(feed.alarms) == 1
    at(feed, (90, 1.0))
    assert feed.alarms[1].cleared == second(90)


def test_a_message_of_ones_own() -> None:
    feed = feed_of(message="{tag} of {asset}: {value} is {score} too high")
    at(feed, (0, 12.5))
    assert feed.alarms[0].why == "x of a: 12.5 is 2.5 too high"


@pytest.mark.parametrize("message", ["{values}", "{value.real}", "{why!r}", "{tag:>5}"])
def test_a_message_may_hold_known_fields_only(message: str) -> None:
    with pytest.raises(ValidationError, match="may hold"):
        Alarm(of="limits", message=message)
