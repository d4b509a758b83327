"""Windows, detectors and alarms in a whole topology: through decoding, encoding and crashes."""

from __future__ import annotations

import numpy as np

from app.shells.driver import Driver
from models.topics import Topics
from tests.topologies.core.steps_for_tests import Plain
from tests.topologies.steps.feeding import second
from topologies.core import Input, Output, Topology
from topologies.core.describe import mermaid
from topologies.steps import alarm, detect, extract

TOPOLOGY = Topology(
    name="probe",
    inputs=(Input(source="opcua", decode=Plain()),),
    steps=(
        extract.Window(size="10s"),
        detect.Ewma(tau="60s", min_samples=20),
        detect.RobustZ(),
        detect.Limits(high=8.0),
        detect.Limits(name="wide", of="window", statistic="std", high=3.0),
        detect.IsolationForest(of="window", features=("x:mean", "y:std"), train_on=20, trees=10),
        detect.Silence(after="30s"),
        alarm.Alarm(of="limits", on_delay="2s", off_delay="3s", severity="high"),
        alarm.Alarm(name="missing", of="silence", severity="critical"),
    ),
    outputs=(
        Output(kind="readings"),
        Output(kind="features"),
        Output(kind="anomalies"),
        Output(kind="alarms"),
    ),
)


def run(crash_at: set[int]) -> Driver:
    driver = Driver(TOPOLOGY, commit_every=4)
    random = np.random.default_rng(6)
    for n in range(60):
        start = 5 * n
        values = random.normal(0, 1, (5, 2))
        if n in (35, 36):
            values += 10
        driver.opcua(
            "a",
            [
                (tag, second(start + i), float(values[i, place]))
                for i in range(5)
                for place, tag in enumerate("xy")
            ],
        )
        if n in crash_at:
            driver.crash()
    driver.advance("opcua", "a", "31s")
    driver.opcua("a", [("x", second(340), 0.0)])
    driver.crash()
    return driver


def test_all_that_comes_out_is_the_same_after_crashes() -> None:
    calm, shaken = run(set()), run({1, 2, 30, 36, 41})
    assert calm.dead_letters() == []
    assert shaken.emissions == calm.emissions
    assert len(calm.features()) == 60
    alarms = calm.alarms()
    assert [(one.alarm, one.tag, one.state) for one in alarms if one.revision == 0] == [
        ("alarm", "x", "raised"),
        ("alarm", "y", "raised"),
        ("missing", "*", "raised"),
    ]
    assert [one.state for one in alarms].count("cleared") == 3
    detectors = {anomaly.detector for anomaly in calm.anomalies()}
    assert {"ewma", "robust_z", "limits", "wide", "silence"} <= detectors
    ids = [(event.id, event.revision) for event in (*calm.anomalies(), *alarms)]
    assert len(set(ids)) == len(ids)


def test_the_picture_shows_what_feeds_what() -> None:
    picture = mermaid(TOPOLOGY, Topics())
    assert "step_window -- std --> step_wide" in picture
    assert "step_limits --> step_alarm" in picture
