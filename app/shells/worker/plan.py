"""Which topics a worker reads and writes, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from app.kafka import KafkaSettings
from app.kafka.topics import (
    TopicSpec,
    changelog_topic,
    check_configs,
    check_partitions,
    dead_letter_topic,
    ensure_topics,
    log_topic,
    partition_counts,
)
from topologies.core import CompiledStage, CompiledTopology
from topologies.core.record import DEAD_LETTERS

#: quixstreams' name for the store of plain stateful functions.
_STORE = "default"


@dataclass(frozen=True, slots=True)
class Plan:
    """The names a worker of one topology uses."""

    topology: CompiledTopology
    group: str
    #: Stage by the topic it reads.
    stages: Mapping[str, CompiledStage]
    #: Topic by output name, dead letters included.
    outputs: Mapping[str, str]

    @classmethod
    def of(cls, topology: CompiledTopology, kafka: KafkaSettings) -> Plan:
        """Raises ValueError where a name is too long for Kafka."""
        topics = kafka.topics
        names = (*topology.outputs, DEAD_LETTERS)
        return cls(
            topology,
            kafka.group(topology.name),
            {stage.topic(topics): stage for stage in topology.stages},
            {name: topology.output_topic(name, topics) for name in names},
        )

    def changelog(self, topic: str) -> str:
        """The changelog of the stage that reads ``topic``, as quixstreams will call it."""
        return f"changelog__{self.group}--{topic}--{_STORE}"

    def partitions(self, admin: AdminClient) -> dict[str, int]:
        """Partitions of the topics of its stages. Raises TransportError."""
        return partition_counts(admin, self.stages)

    def prepare(self, admin: AdminClient, kafka: KafkaSettings) -> list[str]:
        """Create and check all topics; warnings about those that exist.

        Raises ConfigError where partition counts differ or a topic would refuse records,
        TransportError where Kafka fails.
        """
        meeting = [log_topic(kafka, name) for name in self._meeting()]
        dead = dead_letter_topic(kafka)
        counts = ensure_topics(admin, [*meeting, dead])
        check_partitions(self.topology.name, {spec.name: counts[spec.name] for spec in meeting})
        changelogs = [
            changelog_topic(kafka, self.changelog(topic), counts[topic]) for topic in self.stages
        ]
        made = ensure_topics(admin, changelogs)
        for topic in self.stages:
            check_partitions(
                self.topology.name,
                {topic: counts[topic], self.changelog(topic): made[self.changelog(topic)]},
            )
        specs: list[TopicSpec] = [*meeting, dead, *changelogs]
        written = {*self.outputs.values(), *(spec.name for spec in changelogs)}
        return check_configs(admin, specs, written)

    def _meeting(self) -> list[str]:
        outputs = [topic for name, topic in self.outputs.items() if name != DEAD_LETTERS]
        return list(dict.fromkeys([*self.stages, *outputs]))
