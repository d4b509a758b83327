"""Recorded data, file to MongoDB, through each protocol, run as a user runs it.

Two files times three protocols, all at once: six simulators, a process of connectors for each
protocol (so that none slows the others down), one worker of ``glass``, one sink.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.embedded import EmbeddedStack
from models import quality
from tests.plant_site import wait
from tests.trace_site import Play, Reading, Recorded, TraceSite, samples

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

#: Eight tags, a row a second.
SKAB = Recorded(
    "skab", "skab/valve1/0.csv", ";", "datetime", frozenset({"anomaly", "changepoint"})
)
#: One tag, a row every five minutes from December 2013. An hour of January is there twice, with
#: other values: time goes back, and nothing of it is a repeat.
NAB = Recorded(
    "nab", "nab/realKnownCause/machine_temperature_system_failure.csv", ",", "timestamp"
)
PROTOCOLS = ("opcua", "modbus", "mqtt")
PLAYS = [Play(recorded, protocol) for recorded in (SKAB, NAB) for protocol in PROTOCOLS]
#: Longer than a slow and busy machine needs; a quiet one takes a minute.
_PATIENCE_S = 400.0


@dataclass(frozen=True)
class Outcome:
    """What was there when everything was through, by asset, and by protocol what was counted."""

    files: dict[str, Counter[Reading]]
    stored: dict[str, Counter[Reading]]
    flags: dict[str, Counter[int]]
    decoded: Counter[str]
    duplicates: Counter[str]
    others: dict[str, Counter[str]]
    said: str


@pytest.fixture(scope="module")
def outcome(
    stack: EmbeddedStack, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    """Everything played, and every process ended in order."""
    folder = tmp_path_factory.mktemp("traces")
    files = {recorded.name: recorded.readings(shared_data) for recorded in (SKAB, NAB)}
    rows = 3 * sum(each.total() for each in files.values())
    with TraceSite(stack, f"{folder.name}-traces.", folder, shared_data, PLAYS) as site:
        # Servers wait for who reads them; a logger does not, so that its reader is there first.
        servers = [site.play(play) for play in PLAYS if play.protocol != "mqtt"]
        worker, sink = site.start("worker", "glass"), site.start("sink", "glass")
        connects = [site.start("connect", *site.connectors[protocol]) for protocol in PROTOCOLS]
        wait("loggers have a reader", _connected(site, site.connectors["mqtt"]), 120, site)
        loggers = [site.play(play) for play in PLAYS if play.protocol == "mqtt"]
        for process in (*servers, *loggers):
            assert process.wait(_PATIENCE_S) == 0, site.logs()
        for process in (worker, sink, *connects):
            assert process.poll() is None, site.logs()
        # What is missing after that, and whether it is accounted for, is what the tests tell.
        with suppress(AssertionError):
            wait("all in the store", lambda: site.sample_count("glass") >= rows, 120, site)
        for connect in connects:
            site.stop(connect)
        raw = [site.kafka.topics.raw(protocol) for protocol in PROTOCOLS]
        wait("worker through", lambda: site.lag(site.kafka.group("glass"), raw) == 0, 60, site)
        decoded = site.metric("worker", "samples_total", "stage")
        duplicates = site.metric("worker", "counted_total", "stage", what="duplicates")
        others = {
            name: site.metric("worker", f"{name}_total", "reason")
            for name in ("dropped", "dead_letters")
        }
        site.stop(worker)
        # Nothing to commit is left but the ends of transactions.
        outputs = [site.kafka.topics.output("glass", "readings")]
        group = site.kafka.group("sink-glass")
        wait("sink through", lambda: site.lag(group, outputs) <= 2 * len(PROTOCOLS), 60, site)
        site.stop(sink)
        stored: dict[str, Counter[Reading]] = defaultdict(Counter)
        flags: dict[str, Counter[int]] = defaultdict(Counter)
        for document in site.readings("glass"):
            for reading, flag in samples(document):
                stored[document["asset"]][reading] += 1
                flags[document["asset"]][flag] += 1
        return Outcome(
            {play.asset: files[play.recorded.name] for play in PLAYS},
            dict(stored),
            dict(flags),
            decoded,
            duplicates,
            others,
            "\n".join(log.read_text() for log in sorted(folder.glob("simulate-*.log"))),
        )


def _connected(site: TraceSite, names: list[str]) -> Callable[[], bool]:
    def connected() -> bool:
        found = site.metric("connect", "connector_connected", "connector")
        return all(found[name] for name in names)

    return connected


@pytest.mark.parametrize("play", PLAYS, ids=str)
def test_the_store_holds_the_file(play: Play, outcome: Outcome) -> None:
    file, stored = outcome.files[play.asset], outcome.stored[play.asset]
    assert stored - file == Counter(), "nothing that the file does not hold"
    # A device that is polled sends a row until the next one is there; what came before already
    # is dropped and counted, and so would be a row that a file holds twice. No reading is gone.
    assert set(stored) == set(file)
    if play.protocol == "modbus":
        assert all(count == 1 for count in stored.values())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_shortfall_is_counted(protocol: str, outcome: Outcome) -> None:
    plays = [play for play in PLAYS if play.protocol == protocol]
    file = sum(outcome.files[play.asset].total() for play in plays)
    stored = sum(outcome.stored[play.asset].total() for play in plays)
    decoded, duplicates = outcome.decoded[protocol], outcome.duplicates[protocol]
    print(f"{protocol}: {file} in files, {decoded} decoded, {duplicates} dropped, {stored} kept")
    # More is decoded than the files hold where a device is polled, or a broker says it again.
    assert stored == decoded - duplicates
    assert 0 <= file - stored <= duplicates
    assert not any(series.total() for series in outcome.others.values()), outcome.others


def test_the_simulators_say_that_nobody_missed_a_row(outcome: Outcome) -> None:
    for play in PLAYS:
        file = outcome.files[play.asset]
        rows = file.total() // len({tag for tag, _, _ in file})
        line = f"{play.protocol}: {rows} rows, {file.total()} samples sent, 0 rows overrun"
        assert line in outcome.said


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_hour_that_comes_twice_is_kept_twice(protocol: str, outcome: Outcome) -> None:
    """NAB's clock was set back: 12 of its times hold two values each."""
    asset = Play(NAB, protocol).asset
    times = Counter(t for _, t, _ in outcome.stored[asset].elements())
    assert sorted(Counter(times.values()).items()) == [(1, 22_671), (2, 12)]


@pytest.mark.parametrize("play", PLAYS, ids=str)
def test_recorded_readings_are_not_held_against_their_age(play: Play, outcome: Outcome) -> None:
    flags = dict(outcome.flags[play.asset])
    # The second value of a time is doubtful: of the hour that comes twice, not for its age.
    assert flags.pop(quality.SUSPECT, 0) == (12 if play.recorded is NAB else 0)
    assert flags.keys() <= {quality.GOOD, quality.UNKNOWN}
