"""Starting a topology over: what its workers know and where they stand is deleted."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from app.deploy import registry
from app.deploy.record import DEPLOYMENT
from app.kafka import KafkaSettings, admin_client, describe
from models.errors import PlantstreamError, TransportError
from topologies.core.topology import Topology

_REQUEST_S = 30.0


class StillRunning(PlantstreamError):
    """Processes use what is to be deleted."""


@dataclass(frozen=True, slots=True)
class Reset:
    """What a reset deletes."""

    topology: str
    #: Consumer groups, with their offsets.
    groups: tuple[str, ...]
    #: Changelogs, topics between stages, and those of outputs where they are asked for.
    topics: tuple[str, ...]
    #: Local state of each worker of this machine.
    folders: tuple[Path, ...]
    deployed: bool

    @property
    def empty(self) -> bool:
        """Whether there is nothing to delete."""
        return not (self.groups or self.topics or self.folders or self.deployed)

    def lines(self) -> Iterator[str]:
        """What it is, a line each."""
        yield from (f"group   {group}: its offsets" for group in self.groups)
        yield from (f"topic   {topic}" for topic in self.topics)
        yield from (f"folder  {folder}" for folder in self.folders)
        if self.deployed:
            yield "entry   what was deployed"


def plan(topology: Topology, kafka: KafkaSettings, data_dir: Path, *, outputs: bool) -> Reset:
    """What there is to be deleted. Raises StillRunning, TransportError."""
    name = topology.name
    admin = admin_client(kafka, "reset")
    group, sink = kafka.group(name), kafka.group(f"sink-{name}")
    try:
        existing = admin.list_topics(timeout=_REQUEST_S).topics
        asked = [group, sink] if outputs else [group]
        groups = [each for each in asked if _exists(admin, each)]
    except KafkaException as error:
        raise TransportError(f"Kafka: {describe(error.args[0])}") from error
    topics = sorted(topic for topic in existing if topic.startswith(f"changelog__{group}--"))
    # Read again from the inputs, everything goes through the topics between stages once more.
    between = (kafka.topics.output(name, channel) for channel in topology.channels)
    topics += [topic for topic in between if topic in existing]
    if outputs:
        written = (kafka.topics.output(name, output.name) for output in topology.outputs)
        topics += [topic for topic in written if topic in existing]
    folders = sorted(path for path in (data_dir / "state" / name).glob("*") if path.is_dir())
    deployed = name in registry.read(kafka).deployments
    return Reset(name, tuple(groups), tuple(topics), tuple(folders), deployed)


def carry_out(reset: Reset, kafka: KafkaSettings) -> None:
    """Delete it all. Safe to repeat. Raises StillRunning, TransportError."""
    admin = admin_client(kafka, "reset")
    with ExitStack() as held:
        for folder in reset.folders:
            held.enter_context(_locked(folder))
        # The group first: it refuses while it has members, and then nothing was deleted.
        _delete_groups(admin, reset.groups)
        # Then its epoch, by which local state is told from a former one's: should the rest fail,
        # no worker goes on with state whose offsets are gone.
        if reset.deployed:
            registry.write(kafka, DEPLOYMENT, reset.topology, None)
        _delete_topics(admin, reset.topics)
        for folder in reset.folders:
            shutil.rmtree(folder, ignore_errors=True)


def _exists(admin: AdminClient, group: str) -> bool:
    """Whether a group exists; raises StillRunning where it has members."""
    found = next(iter(admin.describe_consumer_groups([group]).values()))
    try:
        members = found.result(timeout=_REQUEST_S).members
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return False
        raise
    if members:
        who = ", ".join(sorted({member.client_id for member in members}))
        raise StillRunning(f"group {group} has members; stop them first: {who}")
    known = admin.list_consumer_groups(request_timeout=_REQUEST_S).result(timeout=_REQUEST_S)
    return any(each.group_id == group for each in known.valid)


def _delete_groups(admin: AdminClient, groups: Sequence[str]) -> None:
    if not groups:
        return
    for group, future in admin.delete_consumer_groups([*groups]).items():
        try:
            future.result(timeout=_REQUEST_S)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() == KafkaError.NON_EMPTY_GROUP:
                raise StillRunning(f"group {group} has members; stop them first") from error
            if reason.code() != KafkaError.GROUP_ID_NOT_FOUND:
                why = describe(reason)
                raise TransportError(f"cannot delete group {group}: {why}") from error


def _delete_topics(admin: AdminClient, topics: Sequence[str]) -> None:
    """Returns once no broker knows them any more."""
    if not topics:
        return
    for topic, future in admin.delete_topics([*topics]).items():
        try:
            future.result(timeout=_REQUEST_S)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            if reason.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                why = describe(reason)
                raise TransportError(f"cannot delete topic {topic}: {why}") from error
    deadline = time.monotonic() + _REQUEST_S
    while left := _known(admin, topics):
        if time.monotonic() > deadline:
            raise TransportError(f"still there after {_REQUEST_S:g} s: {', '.join(left)}")
        time.sleep(0.1)


def _known(admin: AdminClient, topics: Iterable[str]) -> list[str]:
    existing = admin.list_topics(timeout=_REQUEST_S).topics
    return [topic for topic in topics if topic in existing]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a worker's folder as the worker would. Raises StillRunning."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StillRunning(f"a worker uses {folder}; stop it first") from error
        yield
    finally:
        os.close(lock)
