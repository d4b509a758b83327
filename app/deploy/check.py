"""A topology of a site against what is deployed of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from app.deploy import registry
from app.deploy.gate import verdict_on
from app.deploy.record import Deployment
from app.kafka import admin_client
from app.kafka.topics import partition_counts
from app.settings import Settings, resolve
from topologies.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    topology: str
    version: int
    #: None: nothing was ever deployed.
    deployed: Deployment | None
    verdict: Verdict

    @property
    def compatible(self) -> bool:
        """Whether workers would start."""
        return self.verdict.compatible

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        deployed = None
        if self.deployed is not None:
            deployed = {
                "version": self.deployed.declaration.version,
                "by": self.deployed.by,
                "at": self.deployed.at,
                "code": self.deployed.code,
                "partitions": self.deployed.partitions,
            }
        return {
            "topology": self.topology,
            "version": self.version,
            "compatible": self.compatible,
            "deployed": deployed,
            "steps": [asdict(step) for step in self.verdict.steps],
            "changes": [asdict(change) for change in self.verdict.changes],
        }


def check_deployed(settings: Settings, name: str) -> Checked:
    """Compare. Raises SettingsError, NotRunning, TransportError."""
    topology, kafka = settings.topology(name), resolve.kafka(settings)
    deployed = registry.read(kafka).deployments.get(name)
    if deployed is None:
        return Checked(name, topology.version, None, Verdict(()))
    topics = [source.topic(kafka.topics) for source in topology.inputs]
    partitions = partition_counts(admin_client(kafka, "check"), topics)
    verdict = verdict_on(topology, deployed, partitions)
    return Checked(name, topology.version, deployed, verdict)
