"""What a running topology shows of itself, asked from outside."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from app.embedded import EmbeddedStack
from app.plant import live
from tests.app.cli.test_command_line import Run, plantstream
from tests.oven_site import Oven
from tests.sink_site import until

pytestmark = pytest.mark.integration
__all__ = ["plantstream"]


@pytest.fixture
def oven(plantstream: Run, tmp_path: Path, stack: EmbeddedStack, topic_prefix: str) -> Oven:
    return Oven(tmp_path, str(stack.endpoints.kafka_bootstrap), topic_prefix)


def test_rates_lag_errors_and_state_are_on_every_edge_and_step(
    oven: Oven, plantstream: Run
) -> None:
    topology = oven.settings.topology("oven")
    with oven.watched(), oven.running():
        oven.feed(1, 1.0)
        before = live.read(oven.settings, "oven")
        for second in (2, 3, 200):  # the third closes a window
            oven.feed(second, 1.0)
        oven.feed(4, 1.0)  # too late for it
        oven.feed(5, 1.0, lambda payload: payload[:-9])
        state = "plantstream_state_bytes"
        until(lambda: any(k[0] == state for k in live.read(oven.settings, "oven").series), 30)
        now = live.read(oven.settings, "oven")
        found = live.compared(oven.settings, topology, before, now)
        shown = plantstream("describe", "oven", "--live", "--over", "100ms")
        drawn = plantstream("describe", "oven", "--live", "--over", "10ms", "--format", "mermaid")
        plain = plantstream("describe", "oven", "--live", "--over", "10ms", "--format", "json")
    seconds = now.at - before.at
    counts = {
        edge: {name: round(value * seconds) for name, value in values.items() if "per_s" in name}
        for edge, values in found.edges.items()
    }
    assert counts == {
        ("topic:opcua", "decode:opcua"): {"records_per_s": 5},
        ("decode:opcua", "window"): {"samples_per_s": 4},
        ("decode:opcua", "out:readings"): {"samples_per_s": 4},
        ("window", "out:features"): {"rows_per_s": 1},
        ("window", "out:late"): {"rows_per_s": 1},
    }
    assert found.edges["topic:opcua", "decode:opcua"]["lag"] >= 0
    assert found.nodes["decode:opcua"] == {"failed": 1}
    assert found.nodes["dead-letters"] == {"dead_letters": 1}
    assert found.nodes["window"]["state_bytes"] > 100
    assert found.nodes["out:features"]["records_per_s"] * seconds == pytest.approx(1)

    assert shown.returncode == 0
    assert re.search(r"▷ decode opcua  ◄ \S*raw\.opcua \(0 records/s\)  — 1 failed", shown.stdout)
    assert re.search(r"● window .* — .*state \d+B", shown.stdout)
    assert "1 dead letters" in shown.stdout
    assert '-- "0 samples/s" --> step_window' in drawn.stdout
    nodes = {node["id"]: node for node in json.loads(plain.stdout)["nodes"]}
    assert nodes["decode:opcua"]["live"] == {"failed": 1.0}


def test_without_a_worker_it_says_so(oven: Oven, plantstream: Run) -> None:
    done = plantstream("describe", "oven", "--live")
    assert done.returncode == 1
    assert "no worker of oven runs on this machine" in done.stderr
    assert plantstream("describe", "oven", "--live", "--over", "soon").returncode == 2
