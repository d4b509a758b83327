"""How samples were split into records changes no anomaly and no alarm."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.records.events import Alarm as AlarmRecord
from models.records.events import Anomaly
from tests.topologies.steps.feeding import Feed, Sample, play, second
from topologies.core.step import Step
from topologies.steps.alarm import Alarm
from topologies.steps.detect import Ewma, Limits, RobustZ
from topologies.steps.extract import Window

FAR = second(10**5)

#: Values on a coarse grid: scores then stay clear of thresholds, or are exactly on them.
sample = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 90).map(second),
    st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, 7.0, 9.0]),
    st.sampled_from([1, 1, 1, 1, 1, 4]),
)
ordered = st.lists(sample, max_size=70).map(lambda items: sorted(items, key=lambda item: item[1]))
scripts = st.one_of(
    ordered, st.lists(st.one_of(sample, sample, sample, st.sampled_from([2.0, 15.0])), max_size=70)
)
alarms = st.builds(
    Alarm,
    of=st.just("detector"),
    on_delay=st.sampled_from(["0s", "4s", "20s"]),
    off_delay=st.sampled_from(["0s", "6s", "20s"]),
    deadband=st.sampled_from([0.0, 1.5]),
)

DETECTORS: list[tuple[Step, ...]] = [
    (Limits(name="detector", low=0.5, high=6.0, deadband=1.5),),
    (Ewma(name="detector", tau="15s", threshold=2.1, min_samples=5, floor=0.31),),
    (Ewma(name="detector", tau="15s", threshold=2.1, min_samples=5, floor=0.31, learn="none"),),
    (RobustZ(name="detector", window=7, threshold=2.1, min_samples=4, floor=0.31),),
    (Window(size="6s"), Limits(name="detector", of="window", statistic="max", high=6.0)),
    (
        Window(size="6s", hop="2s", grace="4s"),
        Limits(name="detector", of="window", statistic="max", high=6.0),
    ),
]


@pytest.mark.parametrize("steps", DETECTORS, ids=lambda steps: steps[-1].kind)
@settings(max_examples=40, deadline=None)
@given(scripts, st.sets(st.integers(0, 70), max_size=12), alarms)
def test_anomalies_and_alarms_do_not_depend_on_the_split(
    steps: tuple[Step, ...], script: list[Sample | float], cuts: set[int], alarm: Alarm
) -> None:
    full = [*script, 100.0]
    whole = play(Feed(*steps, alarm), full, received=FAR)
    for places in (cuts, range(80)):
        split = play(Feed(*steps, alarm), full, places, received=FAR)
        assert _events(split.anomalies) == _events(whole.anomalies)
        assert _events(split.alarms) == _events(whole.alarms)


def _events(found: list[Anomaly] | list[AlarmRecord]) -> list[tuple[object, ...]]:
    return sorted(
        (
            tuple(f"{part:.9g}" if isinstance(part, float) else str(part) for part in astuple(one))
            for one in found
        ),
        key=lambda one: (one[0], one[1]),
    )


#: Any numbers: what is exact does not need to stay clear of thresholds.
raw_sample = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 90).map(second),
    st.one_of(st.floats(-50, 50), st.sampled_from([0.0, 1e9, float("nan")])),
    st.sampled_from([1, 1, 1, 1, 1, 4]),
)
EXACT: list[tuple[Step, ...]] = [
    (Limits(name="detector", low=-20.0, high=20.0, deadband=5.0),),
    *(
        (Ewma(name="detector", tau="15s", threshold=1.5, min_samples=5, learn=learn),)
        for learn in ("clip", "all", "none")
    ),
    (RobustZ(name="detector", window=7, threshold=1.5, min_samples=4),),
    (RobustZ(name="detector", window=7, threshold=1.5, min_samples=4, tags=("b",)),),
]


@pytest.mark.parametrize("steps", EXACT, ids=lambda steps: steps[-1].kind)
@settings(max_examples=40, deadline=None)
@given(st.lists(raw_sample, max_size=70), st.sets(st.integers(0, 70), max_size=12))
def test_scores_state_and_events_are_the_same_bytes_however_samples_were_split(
    steps: tuple[Step, ...], script: list[Sample | float], cuts: set[int]
) -> None:
    alarm = Alarm(of="detector", on_delay="2s")
    whole = play(Feed(*steps, alarm), script, received=FAR)
    for places in (cuts, range(80)):
        split = play(Feed(*steps, alarm), script, places, received=FAR)
        assert _said(split) == _said(whole)
        assert split.state.values == whole.state.values
        assert sorted(split.anomalies, key=_when) == sorted(whole.anomalies, key=_when)
        assert sorted(split.alarms, key=_when) == sorted(whole.alarms, key=_when)


def _said(feed: Feed) -> dict[str, list[tuple[object, ...]]]:
    """What was said of each tag's samples, in order; scores as they are in memory."""
    said: dict[str, list[tuple[object, ...]]] = {}
    for one in feed.scores:
        series = one.series
        for i, place in enumerate(series.tag.tolist()):
            said.setdefault(series.tags[place], []).append(
                (series.t[i], one.score[i].tobytes(), one.active[i], one.judged[i])
            )
    return said


def _when(event: Anomaly | AlarmRecord) -> tuple[str, int]:
    return event.id, event.revision
