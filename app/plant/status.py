"""What runs, how far behind it is, what was stored: asked of processes, Kafka and the store."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from app.deploy import registry
from app.kafka import KafkaSettings, admin_client, describe
from app.observe.processes import Process, running
from app.settings import Settings, resolve
from app.store import StoreSettings, collection_name, connect
from models.errors import PlantstreamError
from models.topics import OUTPUT_KINDS

_HTTP_S = 2.0
_KAFKA_S = 10.0


@dataclass(slots=True)
class ProcessStatus:
    """One process of this machine."""

    kind: str
    name: str
    pid: int
    #: "ready", or why it is not.
    state: str
    url: str = ""
    endpoint: str = ""


@dataclass(slots=True)
class TopicStatus:
    """One topic: records it holds, and how far each group that reads it is behind."""

    topic: str
    partitions: int
    records: int
    lag: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Status:
    """All of it. What could not be asked is in ``problems``."""

    processes: list[ProcessStatus] = field(default_factory=list)
    topics: list[TopicStatus] = field(default_factory=list)
    #: Documents by collection.
    documents: dict[str, int] = field(default_factory=dict)
    dead_letters: int = 0
    #: Topologies that are paused: who said so, and when.
    paused: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def gather(settings: Settings) -> Status:
    """Ask everybody. Never raises for what is away: ``problems`` says it."""
    status = Status(processes=processes(settings))
    try:
        kafka = resolve.kafka(settings)
        status.topics = topics(settings, kafka)
        dead = kafka.topics.dead_letters
        pauses = registry.read(kafka).pauses
        status.paused = {name: pause.said for name, pause in sorted(pauses.items())}
        status.dead_letters = sum(t.records for t in status.topics if t.topic == dead)
    except (PlantstreamError, KafkaException) as error:
        status.problems.append(f"Kafka: {_reason(error)}")
    try:
        status.documents = documents(settings, resolve.store(settings))
    except PlantstreamError as error:
        status.problems.append(f"store: {error}")
    return status


def processes(settings: Settings) -> list[ProcessStatus]:
    """The processes of this machine, with what their /ready says."""
    found = running(settings.data_dir)
    with ThreadPoolExecutor(max_workers=8) as pool:
        states = list(pool.map(_state, found))
    return [
        ProcessStatus(p.kind, p.name, p.pid, state, p.url("metrics") or "", p.endpoint)
        for p, state in zip(found, states, strict=True)
    ]


def topics(settings: Settings, kafka: KafkaSettings) -> list[TopicStatus]:
    """The site's topics that exist, with records and lag. Raises KafkaException."""
    admin = admin_client(kafka, "status")
    names = topic_names(settings, kafka)
    existing = admin.list_topics(timeout=_KAFKA_S).topics
    partitions = {name: len(existing[name].partitions) for name in names if name in existing}
    where = [TopicPartition(name, p) for name, n in partitions.items() for p in range(n)]
    ends = _offsets(admin, where, OffsetSpec.latest())
    begins = _offsets(admin, where, OffsetSpec.earliest())
    records = {
        name: sum(ends.get((name, p), 0) - begins.get((name, p), 0) for p in range(n))
        for name, n in partitions.items()
    }
    lags = _lags(admin, kafka, settings, partitions, ends, begins)
    return [
        TopicStatus(name, partitions[name], records[name], lags.get(name, {}))
        for name in partitions
    ]


def topic_names(settings: Settings, kafka: KafkaSettings) -> list[str]:
    """All topics of the site: raw ones, outputs, dead letters."""
    names: dict[str, None] = {}
    for topology in settings.topologies.values():
        names.update(dict.fromkeys(source.topic(kafka.topics) for source in topology.inputs))
    for name, topology in settings.topologies.items():
        written = (*topology.channels, *(output.name for output in topology.outputs))
        names.update(dict.fromkeys(kafka.topics.output(name, each) for each in written))
    return [*names, kafka.topics.dead_letters]


def documents(settings: Settings, store: StoreSettings) -> dict[str, int]:
    """Documents by collection. Raises StoreError, ConfigError."""
    from app.store.client import translated

    client = connect(store, "status")
    try:
        database = client[store.database]
        with translated():
            return {
                name: database[name].estimated_document_count()
                for topology in settings.topologies.values()
                for output in sorted(topology.outputs, key=lambda o: OUTPUT_KINDS.index(o.kind))
                for name in (collection_name(store.prefix, topology.name, output.name),)
            }
    finally:
        client.close()


def _lags(
    admin: AdminClient,
    kafka: KafkaSettings,
    settings: Settings,
    partitions: Mapping[str, int],
    ends: Mapping[tuple[str, int], int],
    begins: Mapping[tuple[str, int], int],
) -> dict[str, dict[str, int]]:
    """Records not yet read, by topic and group."""
    lags: dict[str, dict[str, int]] = {}
    for name, topology in settings.topologies.items():
        inputs = [source.topic(kafka.topics) for source in topology.inputs]
        inputs += [kafka.topics.output(name, channel) for channel in topology.channels]
        outputs = [kafka.topics.output(name, output.name) for output in topology.outputs]
        for group, reads in ((name, inputs), (f"sink-{name}", outputs)):
            read = [topic for topic in reads if topic in partitions]
            for topic, behind in _behind(admin, kafka.group(group), read, partitions, ends, begins):
                lags.setdefault(topic, {})[group] = behind
    return lags


def _behind(
    admin: AdminClient,
    group: str,
    read: Iterable[str],
    partitions: Mapping[str, int],
    ends: Mapping[tuple[str, int], int],
    begins: Mapping[tuple[str, int], int],
) -> list[tuple[str, int]]:
    where = [TopicPartition(topic, p) for topic in read for p in range(partitions[topic])]
    if not where:
        return []
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, where)])
    try:
        committed = next(iter(asked.values())).result(timeout=_KAFKA_S).topic_partitions
    except KafkaException:
        return []
    behind: dict[str, int] = {}
    for p in committed or ():
        at = (p.topic, p.partition)
        stands = p.offset if p.offset >= 0 else begins.get(at, 0)
        behind[p.topic] = behind.get(p.topic, 0) + max(ends.get(at, 0) - stands, 0)
    return list(behind.items())


def _offsets(
    admin: AdminClient, where: list[TopicPartition], spec: OffsetSpec
) -> dict[tuple[str, int], int]:
    if not where:
        return {}
    found = admin.list_offsets(dict.fromkeys(where, spec), request_timeout=_KAFKA_S)
    return {(p.topic, p.partition): future.result().offset for p, future in found.items()}


def _state(process: Process) -> str:
    url = process.url("ready")
    if url is None:
        return "runs"
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_S) as answer:
            return "ready" if answer.status == 200 else f"answers {answer.status}"
    except urllib.error.HTTPError as error:
        try:
            conditions = json.loads(error.read())["conditions"]
            return "; ".join(
                f"{name}: {each['reason']}" for name, each in conditions.items() if not each["ok"]
            )
        except (ValueError, KeyError, TypeError):
            return f"answers {error.code}"
    except OSError as error:
        return f"does not answer ({error})"


def _reason(error: Exception) -> str:
    if isinstance(error, KafkaException):
        return describe(error.args[0])
    return str(error)

