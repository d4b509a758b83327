"""What the workers of a topology know of an asset: asked of whichever holds its partitions."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException

from app.kafka import KafkaSettings, admin_client, describe
from app.kafka.partitioning import partition_of
from app.kafka.topics import partition_counts
from app.observe.processes import Process, running
from app.settings import Settings
from models.errors import ConfigError, PlantstreamError, TransportError
from topologies.core import Topology, compile_topology

_HTTP_S = 10.0
_KAFKA_S = 10.0


@dataclass(frozen=True, slots=True)
class Owner:
    """The worker that holds a key's partition of a stage's topic."""

    stage: str
    topic: str
    partition: int
    #: As it calls itself to Kafka: ``plantstream-worker-glass-<host>-<pid>``.
    client: str

    @property
    def host(self) -> str:
        """The machine it runs on."""
        return self.client.rpartition("-")[0]

    @property
    def pid(self) -> int:
        """Its process there; 0: it does not say."""
        number = self.client.rpartition("-")[2]
        return int(number) if number.isdigit() else 0


def owners(kafka: KafkaSettings, topology: Topology, key: str) -> list[Owner]:
    """Who holds a key, by stage. Raises TransportError; PlantstreamError where nobody does."""
    admin = admin_client(kafka, "state")
    compiled = compile_topology(topology)
    topics = {stage.name: stage.topic(kafka.topics) for stage in compiled.stages}
    counts = partition_counts(admin, topics.values())
    asked = admin.describe_consumer_groups([kafka.group(topology.name)])
    try:
        members = next(iter(asked.values())).result(timeout=_KAFKA_S).members
    except KafkaException as error:
        raise TransportError(f"Kafka: {describe(error.args[0])}") from error
    held = {
        (p.topic, p.partition): member.client_id
        for member in members
        for p in member.assignment.topic_partitions
    }
    found = []
    for stage, topic in topics.items():
        if topic in counts:
            partition = partition_of(key.encode(), counts[topic])
            if client := held.get((topic, partition)):
                found.append(Owner(stage, topic, partition, client))
    if not found:
        raise PlantstreamError(
            f"no worker of {topology.name} holds the partition of {key!r}: start one"
            f" (plantstream worker {topology.name}), or wait until partitions are given out"
        )
    return found


def ask(settings: Settings, kafka: KafkaSettings, topology: Topology, key: str) -> dict[str, Any]:
    """What is known of a key as of the last commits, by stage.

    Raises PlantstreamError where its worker runs on another machine, or does not answer;
    ConfigError where nothing is known of the key.
    """
    local = {process.pid: process for process in running(settings.data_dir)}
    pages: dict[int, Mapping[str, Any]] = {}
    stages: dict[str, Any] = {}
    for owner in owners(kafka, topology, key):
        process = local.get(owner.pid)
        if process is None or not owner.host.endswith(f"-{socket.gethostname()}"):
            raise PlantstreamError(
                f"{owner.topic}[{owner.partition}], which holds {key!r}, is read by"
                f" {owner.client}, which does not run here with its data in {settings.data_dir}:"
                " ask on its machine, at its page /state?key="
            )
        page = pages.get(owner.pid)
        if page is None:
            page = pages[owner.pid] = _page(process, key)
        if owner.stage in page["stages"]:
            where = {"worker": page["instance"], "pid": owner.pid}
            stages[owner.stage] = {**where, **page["stages"][owner.stage]}
    if not stages:
        raise ConfigError(
            f"nothing is known of it by the workers of {topology.name} (as of their last commits)",
            field="KEY",
            value=key,
        )
    return {"topology": topology.name, "key": key, "stages": stages}


def _page(process: Process, key: str) -> Mapping[str, Any]:
    url = process.url(f"state?key={urllib.parse.quote(key, safe='')}")
    if url is None:
        raise PlantstreamError(
            f"worker {process.name} (process {process.pid}) serves no pages: metrics.enabled"
        )
    try:
        with urllib.request.urlopen(url, timeout=_HTTP_S) as answer:
            content: Mapping[str, Any] = json.loads(answer.read())
            return content
    except (OSError, ValueError) as error:
        raise PlantstreamError(
            f"worker {process.name} (process {process.pid}) does not answer: {error}"
        ) from error
