"""The gate a worker passes at its start: what is deployed, and whether it may go on from there."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.deploy import registry
from app.deploy.record import DEPLOYMENT, Deployment, deployment
from app.kafka import KafkaSettings
from app.observe.version import version
from models.errors import PlantstreamError
from topologies.core.declaration import Declaration
from topologies.core.topology import Topology
from topologies.core.verdict import Change, Verdict, compare

LOG = logging.getLogger("plantstream.deploy")


@dataclass(frozen=True, slots=True)
class Entered:
    """What a worker is told when it may start."""

    #: Steps that may begin anew where a partition's state is not fit for them.
    accepted: frozenset[str]
    #: Local state of another epoch is of no use.
    epoch: str


class IncompatibleStart(PlantstreamError):
    """State of what is deployed would be lost, and nobody has said that it may be."""


def verdict_on(topology: Topology, deployed: Deployment, partitions: Mapping[str, int]) -> Verdict:
    """The verdict, with changes of partitions; ``partitions`` are those of the inputs' topics."""
    found = compare(deployed.declaration, topology)
    moved = [
        Change(
            f"topic {topic}",
            False,
            f"had {deployed.partitions[topic]} partitions and has {count}: keys have moved away"
            " from their state",
        )
        for topic, count in partitions.items()
        if deployed.partitions.get(topic, count) != count
    ]
    return Verdict(found.steps, (*found.changes, *moved))


def enter(
    topology: Topology,
    kafka: KafkaSettings,
    partitions: Mapping[str, int],
    *,
    accept_reset: bool = False,
) -> Entered:
    """Compare with what is deployed, and write down what is from now on.

    Raises IncompatibleStart, TransportError.
    """
    name = topology.name
    declaration = Declaration.of(topology)
    deployed = registry.read(kafka).deployments.get(name)
    accepted: frozenset[str] = frozenset()
    epoch = uuid.uuid4().hex if deployed is None else deployed.epoch
    if deployed is not None:
        verdict = verdict_on(topology, deployed, partitions)
        if not verdict.compatible and not accept_reset:
            raise IncompatibleStart(refusal(name, deployed, verdict))
        # What was accepted before holds on: there may be partitions nobody has taken over since.
        lasting = {step.name for step in verdict.steps if step.was in deployed.accepted}
        accepted = frozenset({step.name for step in verdict.lost} | lasting)
        for line in lines(verdict):
            LOG.info("%s: %s", name, line)
    new = deployment(declaration, partitions, accepted, version(), epoch)
    if deployed is None or not deployed.same_as(new):
        registry.write(kafka, DEPLOYMENT, name, new)
    return Entered(accepted, epoch)


def lines(verdict: Verdict) -> Sequence[str]:
    """What changes, a line each; nothing where nothing does."""
    told = [
        f"step {step.name} {step.outcome}: {step.why}"
        for step in verdict.steps
        if step.why and step.outcome != "stateless"
    ]
    return [*told, *(f"{change.what} {change.why}" for change in verdict.changes)]


def refusal(name: str, deployed: Deployment, verdict: Verdict) -> str:
    """Why a start is refused, what would be lost, and what to do."""
    reasons = [f"step {step.name} ({step.outcome}): {step.why}" for step in verdict.lost]
    reasons += [f"{each.what} {each.why}" for each in verdict.changes if not each.compatible]
    return (
        f"{name} cannot go on from what was deployed {deployed.said}: {'; '.join(reasons)}."
        f" Nothing was changed. See 'plantstream check {name}'; go on without that state:"
        f" 'plantstream worker {name} --accept-reset'; start over: 'plantstream reset {name}'"
    )
