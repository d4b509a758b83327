"""Upgrades of a running topology: the verdict before, and what then happens to state and windows.

What workers write is compared with what the driver writes under the same declarations, and the
driver with plain arithmetic.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.embedded import EmbeddedStack
from app.shells.driver import Driver
from models.records import features
from tests.line_site import T0, LineSite, S
from topologies.core import Topology

# Every worker is a fresh process; on a busy machine each takes its time to start.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ASSETS = ("press-1", "press-2", "a|window/b", "press-4", "press-5")

WINDOW = 'extract.Window(size="10s", statistics=("mean", "std", "max"))'
UNREST = 'detect.RobustZ(name="unrest", of="window", statistic="mean", window=30, min_samples=5)'
LIMITS = "detect.Limits(low=-5.0, high=90.0)"
BELL = 'alarm.Alarm(name="bell", of="limits")'


def wave(second: int) -> float:
    return float(second % 7) + (100.0 if second % 23 == 0 else 0.0)


@pytest.fixture
def site(stack: EmbeddedStack, topic_prefix: str, tmp_path: Path) -> Iterator[LineSite]:
    made = LineSite(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)
    yield made
    made.stop_all()


def declared(site: LineSite) -> Topology:
    """The topology as its file says now."""
    spec = importlib.util.spec_from_file_location("line", site.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    topology: Topology = module.topology
    return topology


def told(driver: Driver, seconds: range) -> None:
    for second in seconds:
        for asset in ASSETS:
            driver.opcua(asset, [("x", T0 + second * S, wave(second))])


def by_key(driver: Driver, output: str) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for emission in driver.output(output):
        found.setdefault(emission.key, []).append(emission.value)
    return found


def windows(site: LineSite, asset: str, name: str) -> dict[int, int]:
    """Samples by second of the window's end."""
    rows = [features.decode(value) for value in site.output("features").get(asset.encode(), [])]
    return {
        (int(end) - T0) // S: int(count)
        for record in rows
        if record.window == name
        for end, count in zip(record.end, record.count, strict=True)
    }


#: (what, steps, whether it is compatible, outcomes that are not "reused")
UPGRADES: list[tuple[str, tuple[str, ...], bool, dict[str, str]]] = [
    (
        "parameters",
        (
            WINDOW.replace('"max")', '"max", "min")'),
            UNREST.replace("window=30", "window=20"),
            LIMITS.replace("90", "95"),
            BELL,
        ),
        True,
        {"unrest": "migrated"},
    ),
    (
        "a step added",
        (WINDOW, 'extract.Window(name="quarter", size="15s")', UNREST, LIMITS, BELL),
        True,
        {"quarter": "added", "unrest": "migrated"},
    ),
    (
        "a step renamed",
        (
            WINDOW.replace("size", 'name="ten", was="window", size'),
            'extract.Window(name="quarter", size="15s")',
            UNREST.replace('of="window"', 'of="ten"').replace("window=30", "window=40"),
            LIMITS,
            BELL,
        ),
        True,
        {"unrest": "migrated"},
    ),
    (
        "a step removed",
        (WINDOW.replace("size", 'name="ten", was="window", size'), LIMITS, BELL),
        True,
        {"quarter": "dropped", "unrest": "dropped"},
    ),
    (
        "the window's size changed",
        (WINDOW.replace('size="10s"', 'name="ten", size="20s"'), LIMITS, BELL),
        False,
        {"ten": "reset"},
    ),
]


def test_five_upgrades_do_what_check_said_before(site: LineSite) -> None:
    first = (WINDOW, UNREST, LIMITS, BELL)
    site.declare(*first)
    assert site.check() == (0, {})  # nothing is deployed
    driver = Driver(declared(site))
    worker = site.start()
    step = 37  # windows of all sizes are open at every upgrade
    sent = site.feed(ASSETS, range(step), wave)
    told(driver, range(step))
    site.until_read(sent, worker)
    for number, (what, steps, compatible, changed) in enumerate(UPGRADES, start=1):
        assert worker.stop() == 0
        site.declare(*steps, version=number + 1)
        names = {one.name for one in declared(site).steps} | {
            name for name, outcome in changed.items() if outcome == "dropped"
        }
        expected = {name: changed.get(name, "reused") for name in names}
        assert site.check() == (0 if compatible else 1, expected), what
        if not compatible:
            refused = site.start()
            assert refused.wait() == 1
            assert "step ten (reset): size 10s → 20s" in refused.log()
            assert "--accept-reset" in refused.log()
            assert "Traceback" not in refused.log()
        worker = site.start(*([] if compatible else ["--accept-reset"]))
        seconds = range(number * step, (number + 1) * step)
        sent += site.feed(ASSETS, seconds, wave)
        driver.deploy(declared(site))
        told(driver, seconds)
        site.until_read(sent, worker)
        for output in ("readings", "features", "anomalies", "alarms"):
            assert site.output(output) == by_key(driver, output), (what, output)
        kept = site.kept()
        assert {"time", "limits"} >= kept.keys() - names, what
        assert kept["time"] == len(ASSETS)
        assert site.check() == (0, {s.name: "reused" for s in declared(site).steps})
    assert worker.stop() == 0
    assert not site.output("readings").keys() - {asset.encode() for asset in ASSETS}
    # Until the size changed every window of 10 s had its ten samples, across all upgrades.
    for asset in ASSETS:
        tens = {**windows(site, asset, "window"), **windows(site, asset, "ten")}
        assert all(tens[end] == 10 for end in range(10, 181, 10)), tens
        # At 185 s the open window of 10 s was given up, and one of 20 s begun.
        assert tens[200] == 15
        assert tens[220] == 20


def test_two_versions_side_by_side_share_the_partitions(site: LineSite) -> None:
    both = (WINDOW, LIMITS, BELL)
    site.declare(*both)
    old = site.start()
    many = [f"press-{number}" for number in range(12)]
    sent = site.feed(many, range(15), wave)
    site.until_read(sent, old)
    site.declare(*both, 'extract.Window(name="quarter", size="15s")', version=2)
    new = site.start()
    deadline = time.monotonic() + 60
    while site.members() < 2 or "quarter" not in site.kept():
        assert time.monotonic() < deadline, old.log() + new.log()
        sent += site.feed(many, range(15, 16), wave)
        time.sleep(0.5)
    sent += site.feed(many, range(16, 47), wave)
    site.until_read(sent, new)
    quarter = {asset for asset in many if windows(site, asset, "quarter")}
    assert quarter  # the newer one's share
    assert quarter != set(many)  # and the older one's
    assert not old.ended
    new.kill()  # the older worker takes the rest over
    sent += site.feed(many, range(47, 61), wave)
    site.until_read(sent, old)
    assert "quarter" not in site.kept()
    again = site.start()  # the newer one comes back, and the older one leaves
    assert old.stop() == 0
    sent += site.feed(many, range(61, 92), wave)
    site.until_read(sent, again)
    assert again.stop() == 0
    for asset in many:
        tens = windows(site, asset, "window")
        assert [tens[end] for end in (10, 30, 40, 50, 60, 70, 80, 90)] == [10] * 8, asset
        # A step that was away for a while begins anew; what it gives counts what it saw.
        quarters = windows(site, asset, "quarter")
        assert (quarters[70], quarters[85]) == (9, 15)
    groups = [t for t in site.admin.list_topics().topics if t.startswith("changelog__")]
    mine = [name for name in groups if site.kafka.prefix in name]
    assert len(mine) == 1


def test_a_worker_left_behind_by_an_incompatible_one_stops(site: LineSite) -> None:
    site.declare(WINDOW, LIMITS)
    old = site.start()
    sent = site.feed(ASSETS, range(15), wave)
    site.until_read(sent, old)
    site.declare(WINDOW.replace('size="10s"', 'size="20s"'), LIMITS, version=2)
    new = site.start("--accept-reset")
    deadline = time.monotonic() + 60
    while "brought along" not in new.log():
        assert time.monotonic() < deadline, new.log()
        time.sleep(0.1)
    assert new.stop() == 0  # its share goes back to the older one, which cannot read it
    assert old.wait() == 1
    assert "holds state of version 2 of line, which this worker cannot take over" in old.log()
    assert "Traceback" not in old.log()


def committed(site: LineSite) -> dict[str, Any]:
    asked = site.admin.list_consumer_groups().result()
    return {group.group_id: group for group in asked.valid}


def test_pause_holds_all_workers_and_survives_a_restart(site: LineSite) -> None:
    site.declare(WINDOW, LIMITS)
    worker = site.start()
    sent = site.feed(ASSETS, range(15), wave)
    site.until_read(sent, worker)
    assert "is paused" in site.run("pause", "line").stdout
    assert "paused already" in site.run("pause", "line").stdout
    late = site.feed(ASSETS, range(15, 25), wave)
    status = site.run("status").stdout
    assert "Paused: line, by" in status
    assert site.members() == 1
    assert sum(map(len, site.output("readings").values())) == sent
    assert worker.stop() == 0
    second = site.start()
    deadline = time.monotonic() + 60
    while site.members() != 1:
        assert time.monotonic() < deadline, second.log()
        time.sleep(0.1)
    time.sleep(1.0)  # nothing is to happen: there is no event to wait for
    assert sum(map(len, site.output("readings").values())) == sent
    assert "goes on" in site.run("resume", "line").stdout
    site.until_read(sent + late, second)
    assert windows(site, "press-1", "window") == {10: 10, 20: 10}
    assert "Paused" not in site.run("status").stdout
    assert second.stop() == 0


def test_reset_asks_refuses_while_workers_run_and_starts_over(site: LineSite) -> None:
    site.declare(WINDOW, LIMITS)
    worker = site.start()
    sent = site.feed(ASSETS, range(25), wave)
    site.until_read(sent, worker)
    refused = site.run("reset", "line", "--yes")
    assert refused.returncode == 1
    assert "has members; stop them first" in refused.stderr
    assert worker.stop() == 0
    asked = site.run("reset", "line")  # nobody answers
    assert asked.returncode == 1
    assert "Delete this" in asked.stdout
    assert site.kept()["window"]
    done = site.run("reset", "line", "--outputs", "--yes")
    assert done.returncode == 0, done.stderr
    assert site.kafka.group("line") not in committed(site)
    assert not (site.folder / "data" / "state" / "line" / "0").exists()
    assert not site.kept()
    assert not site.output("readings")
    assert "nothing to delete" in site.run("reset", "line", "--yes").stdout
    # Another window size is no matter now: nothing is deployed.
    site.declare(WINDOW.replace('size="10s"', 'size="20s"'), LIMITS)
    again = site.start()
    site.until_read(sent, again)
    assert windows(site, "press-1", "window") == {20: 20}
    assert again.stop() == 0


def test_state_on_a_machine_that_was_away_at_a_reset_is_not_used(site: LineSite) -> None:
    site.declare(WINDOW, LIMITS)
    worker = site.start("--instance", "left")
    sent = site.feed(ASSETS, range(5), wave)
    site.until_read(sent, worker)
    assert worker.stop() == 0
    folder = site.folder / "data" / "state" / "line"
    away = folder.rename(site.folder / "away")  # another machine's disk
    assert site.run("reset", "line", "--outputs", "--yes").returncode == 0
    folder.parent.mkdir(parents=True, exist_ok=True)
    away.rename(folder)
    again = site.start("--instance", "left")
    sent += site.feed(ASSETS, range(5, 12), wave)
    site.until_read(sent, again)
    assert windows(site, "press-1", "window") == {10: 10}
    assert again.stop() == 0


def test_state_of_a_silent_asset_is_deleted_by_the_heartbeat_that_says_so(site: LineSite) -> None:
    site.declare(WINDOW, UNREST.replace("window=30", 'window=30, state_ttl="5m"'))
    worker = site.start()
    sent = site.feed(("press-1", "press-10"), range(25), wave)
    site.until_read(sent, worker)
    assert site.kept()["unrest"] == 2
    site.beat("press-1", 24 + 301, 301)
    deadline = time.monotonic() + 60
    while site.kept()["unrest"] == 2:
        assert time.monotonic() < deadline, worker.log()
        time.sleep(0.3)
    assert site.kept()["unrest"] == 1
    assert windows(site, "press-1", "window") == {10: 10, 20: 10, 30: 5}
    assert worker.stop() == 0
