"""``plantstream state``: what running workers know of an asset, from whichever holds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.embedded import EmbeddedStack
from app.kafka import admin_client
from app.kafka.partitioning import partition_of
from tests.app.cli.test_command_line import Run, plantstream
from tests.conftest import ROOT
from tests.oven_site import Oven
from tests.sink_site import end, until

pytestmark = pytest.mark.integration
__all__ = ["plantstream"]


@pytest.fixture
def oven(plantstream: Run, tmp_path: Path, stack: EmbeddedStack, topic_prefix: str) -> Oven:
    return Oven(tmp_path, str(stack.endpoints.kafka_bootstrap), topic_prefix)


def test_what_each_step_remembers_is_shown_as_of_the_last_commit(
    oven: Oven, plantstream: Run
) -> None:
    with oven.watched(), oven.running():
        for second, value in ((1, 10.0), (2, 30.0), (12, 7.0)):
            oven.feed(second, value)
        found: dict[str, Any] = {}

        def there() -> bool:
            done = plantstream("state", "oven", "oven/1", "--json")
            found.update(json.loads(done.stdout) if done.returncode == 0 else {})
            time = found.get("stages", {}).get("opcua", {}).get("steps", {}).get("time", {})
            return str(time.get("now")).endswith("22:13:32Z")

        until(there, 30, lambda: str(found))
        shown = plantstream("state", "oven", "oven/1")
        one = plantstream("state", "oven", "oven/1", "--step", "time", "--json")
        none = plantstream("state", "oven", "oven/1", "--step", "drift")
        unknown = plantstream("state", "oven", "oven/9")
    steps = found["stages"]["opcua"]["steps"]
    assert steps["time"]["connector"] == "alive"
    tables = steps["window"]["tables"].values()  # the first window is within its grace
    assert [[row["tag"] for row in rows] for rows in tables] == [["top"], ["top"]]
    assert "time: " in shown.stdout
    assert "window: " in shown.stdout
    assert "top" in shown.stdout
    assert list(json.loads(one.stdout)["stages"]["opcua"]["steps"]) == ["time"]
    assert (none.returncode, "there are time, window" in none.stderr) == (2, True)
    assert (unknown.returncode, "nothing is known" in unknown.stderr) == (2, True)


def test_whichever_worker_holds_the_key_is_asked(oven: Oven, plantstream: Run) -> None:
    keys = [f"oven/{number}" for number in range(8)]
    assert {partition_of(key.encode(), 2) for key in keys} == {0, 1}
    with _worker(oven) as first, _worker(oven) as second:
        until(lambda: len(_members(oven)) == 2 and all(_members(oven).values()), 60)
        for key in keys:
            oven.feed(1, 1.0, asset=key, wait=False)
        pids = {}
        for key in keys:
            until(lambda key=key: plantstream("state", "oven", key).returncode == 0, 30)
            stage = json.loads(plantstream("state", "oven", key, "--json").stdout)
            pids[key] = stage["stages"]["opcua"]["pid"]
        held = _members(oven)
    assert set(pids.values()) == {first.pid, second.pid}
    for key, pid in pids.items():
        assert partition_of(key.encode(), 2) in held[pid]
    gone = plantstream("state", "oven", keys[0])
    assert gone.returncode == 1
    assert "no worker of oven holds the partition" in gone.stderr


@contextmanager
def _worker(oven: Oven) -> Iterator[subprocess.Popen[bytes]]:
    """As a person starts one."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "app", "worker", "oven"],
        cwd=oven.settings.file.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        assert end(process) == 0


def _members(oven: Oven) -> dict[int, set[int]]:
    """Partitions of the raw topic by process."""
    admin = admin_client(oven.kafka)
    asked = admin.describe_consumer_groups([oven.kafka.group("oven")])
    return {
        int(member.client_id.rpartition("-")[2]): {
            tp.partition for tp in member.assignment.topic_partitions if tp.topic == oven.raw
        }
        for member in next(iter(asked.values())).result().members
    }
