"""What is written down of deployments, and what is made of it."""

from __future__ import annotations

import logging

import pytest

from app.deploy.gate import refusal, verdict_on
from app.deploy.record import DEPLOYMENT, PAUSE, Deployment, Pause, decode, deployment, now, who
from app.deploy.registry import Entries
from models.errors import MalformedRecord
from topologies.core import Topology
from topologies.core.declaration import Declaration
from topologies.core.discover import find


@pytest.fixture(params=find().values(), ids=lambda topology: topology.name)
def topology(request: pytest.FixtureRequest) -> Topology:
    found: Topology = request.param
    return found


def deployed(topology: Topology) -> Deployment:
    partitions = {f"raw.{source.source}": 4 for source in topology.inputs}
    return deployment(Declaration.of(topology), partitions, frozenset(), "0.1.0", "e")


def test_a_deployment_comes_back_as_it_was_written(topology: Topology) -> None:
    made = deployed(topology)
    back = decode(DEPLOYMENT, made.encode())
    assert back == made
    assert isinstance(back, Deployment)
    assert back.same_as(deployed(topology))  # whoever says it when
    assert verdict_on(topology, back, back.partitions).compatible


def test_a_deployment_of_newer_code_is_read_without_what_this_does_not_know(
    topology: Topology,
) -> None:
    text = deployed(topology).encode().replace(b'"code":', b'"weather":"fine","code":')
    back = decode(DEPLOYMENT, text)
    assert isinstance(back, Deployment)
    assert back.declaration == Declaration.of(topology)


def test_partitions_that_changed_are_incompatible_and_named(topology: Topology) -> None:
    before = deployed(topology)
    verdict = verdict_on(topology, before, dict.fromkeys(before.partitions, 6))
    assert not verdict.compatible
    text = refusal(topology.name, before, verdict)
    assert "had 4 partitions and has 6" in text
    assert f"'plantstream reset {topology.name}'" in text


def test_the_last_word_counts_and_what_cannot_be_read_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = Entries()
    pause = Pause(by=who(), at=now())
    entries.take(f"{PAUSE}:glass".encode(), pause.encode())
    assert entries.pauses == {"glass": pause}
    entries.take(f"{PAUSE}:glass".encode(), None)
    assert entries.pauses == {}
    with caplog.at_level(logging.WARNING):
        entries.take(f"{DEPLOYMENT}:glass".encode(), b"{}")
        entries.take(b"weather:glass", b"{}")
        entries.take(None, None)
    assert entries.deployments == {}
    assert len(caplog.records) == 3
    with pytest.raises(MalformedRecord, match="deployment: by: Field required"):
        decode(DEPLOYMENT, b"{}")
