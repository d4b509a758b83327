"""Detectors on recorded faults (NAB and SKAB, where they are at hand)."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

from models.time import from_datetime
from tests.topologies.steps.feeding import Feed
from topologies.steps.alarm import Alarm
from topologies.steps.detect import Ewma, IsolationForest
from topologies.steps.extract import Window

#: Columns of SKAB that are no sensors.
NO_TAGS = ("datetime", "anomaly", "changepoint")
FILE = "realKnownCause/machine_temperature_system_failure.csv"


def ns(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def test_ewma_finds_the_failure_of_nab_machine_temperature(shared_data: Path) -> None:
    """A smoke test, its threshold in the middle of a range (5 to 10) that all find the same."""
    with (shared_data / "nab" / FILE).open() as file:
        rows = [("t", ns(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    found = json.loads((shared_data / "nab" / "windows.json").read_text())[FILE]
    begin, end = map(ns, found[-1])
    feed = Feed(
        Ewma(tau="2h", min_samples=12, threshold=7.0), Alarm(of="ewma", severity="critical")
    )
    for low in range(0, len(rows), 400):
        feed.samples(rows[low : low + 400])
    # The system failure that the file is named for, and not one false alarm in 79 days.
    (onset,) = (anomaly.onset for anomaly in feed.anomalies if anomaly.revision == 0)
    assert begin <= onset <= end
    (raised,) = (alarm.raised for alarm in feed.alarms if alarm.revision == 0)
    assert raised == onset


def test_windows_and_a_forest_over_skab(shared_data: Path) -> None:
    with (shared_data / "skab" / "valve1" / "0.csv").open() as file:
        reader = csv.DictReader(file, delimiter=";")
        tags = [name for name in reader.fieldnames or () if name not in NO_TAGS]
        rows = list(reader)
    feed = Feed(
        Window(size="5s"),
        IsolationForest(
            of="window", features=tuple(f"{tag}:mean" for tag in tags), train_on=60, trees=50
        ),
    )
    for low in range(0, len(rows), 25):
        feed.samples(
            [(tag, ns(row["datetime"]), float(row[tag])) for row in rows[low : low + 25]
             for tag in tags]
        )  # fmt: skip
    feed.beat(60.0)
    assert sum(row["count"] for row in feed.rows()) == len(rows) * len(tags) == 1147 * 8
    t = [at for one in feed.scores for at in one.series.t.tolist()]
    score = [value for one in feed.scores for value in one.score.tolist()]
    judged = [known for one in feed.scores for known in one.judged.tolist()]
    anomalous = {ns(row["datetime"]) for row in rows if row["anomaly"] == "1.0"}
    faulty, calm = [], []
    for end, value, known in zip(t, score, judged, strict=True):
        if known:
            inside = sum(end - 5 * 10**9 <= at < end for at in anomalous)
            (faulty if inside else calm).append(value)
    assert len(faulty) > 20
    assert len(calm) > 20
    assert sum(faulty) / len(faulty) > sum(calm) / len(calm)
