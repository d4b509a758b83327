"""Creating our topics with the right configuration, and checking those that exist.

Raw and output topics are never cut by age (``retention.ms=-1``): data may be dated years back, and
Kafka's age is the record's own timestamp. They are bounded by size. A timestamp in the future is
taken as it is (``message.timestamp.after.max.ms``): refusing one record would refuse its batch.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from app.kafka.clients import describe
from app.kafka.settings import KafkaSettings
from models.errors import ConfigError, TransportError

#: "Any time ahead": the largest value Kafka takes.
ANY_MS = str(2**63 - 1)
_REQUEST_S = 15.0


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as we would create it."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


def log_topic(settings: KafkaSettings, name: str) -> TopicSpec:
    """A raw or output topic: ``name`` is its full name."""
    return TopicSpec(
        name, settings.partitions, settings.replication, _log(settings, settings.max_message_bytes)
    )


def dead_letter_topic(settings: KafkaSettings) -> TopicSpec:
    """The topic of records that could not be processed."""
    config = _log(settings, settings.max_dead_letter_bytes)
    return TopicSpec(
        settings.topics.dead_letters, settings.partitions, settings.replication, config
    )


def redriven_topic(settings: KafkaSettings) -> TopicSpec:
    """Marks of dead letters that were sent back: the last of each is kept for ever."""
    config = {"cleanup.policy": "compact", **_times()}
    return TopicSpec(settings.topics.redriven, 1, settings.replication, config)


def connectors_topic(settings: KafkaSettings) -> TopicSpec:
    """What connectors say of themselves: only the last word of each is kept."""
    config = {"cleanup.policy": "compact", **_times(), "segment.ms": str(3_600_000)}
    return TopicSpec(settings.topics.connectors, 1, settings.replication, config)


def deployments_topic(settings: KafkaSettings) -> TopicSpec:
    """What runs of each topology, and whether it is paused: the last word is kept for ever."""
    config = {"cleanup.policy": "compact", **_times()}
    return TopicSpec(settings.topics.deployments, 1, settings.replication, config)


def changelog_topic(settings: KafkaSettings, name: str, partitions: int) -> TopicSpec:
    """A state store's changelog: compacted, as many partitions as the topic its stage reads."""
    return TopicSpec(
        name,
        partitions,
        settings.replication,
        {
            "cleanup.policy": "compact",
            # A state key begins with the record's key, which may be as long as a raw record.
            "max.message.bytes": str(settings.max_dead_letter_bytes),
            # A restore reads what compaction has not reached yet: keep that small.
            "segment.bytes": str(64 << 20),
            "min.cleanable.dirty.ratio": "0.2",
            **_times(),
        },
    )


def ensure_topics(
    admin: AdminClient, specs: Iterable[TopicSpec], timeout_s: float = 30.0
) -> dict[str, int]:
    """Create what is missing and wait until all have leaders; partition count by topic name.

    Safe when several processes do it at once. Raises TransportError naming the topic.
    """
    wanted = {spec.name: spec for spec in specs}
    deadline = time.monotonic() + timeout_s
    known = partition_counts(admin, wanted)
    missing = [spec for name, spec in wanted.items() if name not in known]
    if missing:
        _create(admin, missing, timeout_s)
    while True:
        known = partition_counts(admin, wanted)
        if len(known) == len(wanted):
            return known
        if time.monotonic() > deadline:
            late = ", ".join(sorted(wanted.keys() - known.keys()))
            raise TransportError(f"topics have no leader after {timeout_s:g} s: {late}")
        time.sleep(0.05)


def partition_counts(admin: AdminClient, names: Iterable[str]) -> dict[str, int]:
    """Partition counts of those topics that exist and whose partitions all have leaders."""
    try:
        topics = admin.list_topics(timeout=_REQUEST_S).topics
    except KafkaException as error:
        raise TransportError(f"cannot list topics: {describe(error.args[0])}") from error
    counts = {}
    for name in names:
        found = topics.get(name)
        if found is None or found.error is not None or not found.partitions:
            continue
        if all(partition.leader >= 0 for partition in found.partitions.values()):
            counts[name] = len(found.partitions)
    return counts


def check_partitions(topology: str, counts: Mapping[str, int]) -> None:
    """Raise ConfigError unless all topics that meet in a topology have equally many partitions."""
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} has {count}" for name, count in sorted(counts.items()))
        raise ConfigError(
            f"topics that meet in topology {topology!r} must have equally many partitions: {each}."
            " Recreate or extend the odd one (kafka-topics --alter --partitions)"
        )


def check_configs(
    admin: AdminClient, specs: Sequence[TopicSpec], written: Container[str] = ()
) -> list[str]:
    """What existing topics have set otherwise than we need, one sentence each.

    Raises ConfigError for a topic of ``written`` whose settings would refuse a record one day:
    that record would stop its writer again and again.
    """
    resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
    warnings = []
    found = admin.describe_configs(resources, request_timeout=_REQUEST_S)
    for spec, future in zip(specs, found.values(), strict=True):
        try:
            actual = {name: entry.value for name, entry in future.result().items()}
        except KafkaException as error:
            warnings.append(f"{spec.name}: cannot read its config: {describe(error.args[0])}")
            continue
        warnings += _differences(spec, actual)
    fatal = [w for w in warnings if w.split(": ")[0] in written and any(n in w for n in _REFUSING)]
    if fatal:
        raise ConfigError(f"{'; '.join(fatal)}. Change it with kafka-configs.sh --alter")
    return warnings


#: Settings by which a broker refuses records.
_REFUSING = ("message.timestamp.after.max.ms", "max.message.bytes")
_WHY = {
    "cleanup.policy": "records would be lost",
    "retention.ms": "data dated in the past would be deleted",
    "message.timestamp.type": "event times would be lost",
    "message.timestamp.after.max.ms": "a record dated ahead would refuse its whole batch",
    "max.message.bytes": "large records would be refused",
}


def _differences(spec: TopicSpec, actual: Mapping[str, str | None]) -> list[str]:
    found = []
    for name, why in _WHY.items():
        want, have = spec.config.get(name), actual.get(name)
        if want is None or have is None or have == want:
            continue
        if name.endswith((".ms", ".bytes")) and _at_least(have, want):
            continue
        found.append(f"{spec.name}: {name} is {have}, should be {want}: {why}")
    return found


def _at_least(have: str, want: str) -> bool:
    """Whether a limit is no tighter than wanted; -1 is no limit."""
    return int(have) == -1 or (int(want) != -1 and int(have) >= int(want))


def _create(admin: AdminClient, specs: Sequence[TopicSpec], timeout_s: float) -> None:
    topics = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=spec.replication,
            config=dict(spec.config),
        )
        for spec in specs
    ]
    for name, future in admin.create_topics(topics, operation_timeout=timeout_s).items():
        try:
            future.result()
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TransportError(f"cannot create topic {name}: {describe(reason)}") from error


def _times() -> dict[str, str]:
    return {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": ANY_MS}


def _log(settings: KafkaSettings, largest: int) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": str(settings.retention_bytes),
        # Size retention deletes whole segments: a few of them make the limit worth something.
        "segment.bytes": str(_segment_bytes(settings.retention_bytes)),
        "max.message.bytes": str(largest),
        **_times(),
    }


def _segment_bytes(retention_bytes: int) -> int:
    if retention_bytes < 0:
        return 1 << 30
    return min(max(retention_bytes // 8, 16 << 20), 1 << 30)
