"""The embedded stack as its users see it: real services, one folder, no orphans, clear errors."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from pymongo import MongoClient

from app.embedded import EmbeddedStack, StackError, running_endpoints
from app.embedded.ports import is_free

pytestmark = pytest.mark.integration
OWNER = """
import sys
from pathlib import Path
from app.embedded import EmbeddedStack
stack = EmbeddedStack(Path(sys.argv[1]), kafka="kafka" in sys.argv)
stack.start()
print(*(stack.pid(name) for name in stack.services), flush=True)
sys.stdin.read()
"""
T_2013_MS = 1_386_000_000_000


def create_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce(topic, value, timestamp=T_2013_MS)
    assert producer.flush(20) == 0


def read_all(bootstrap: str, topic: str, count: int) -> list[tuple[bytes | None, int]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        messages = consumer.consume(count, timeout=20)
        assert [m.error() for m in messages] == [None] * count
        return [(m.value(), m.timestamp()[1]) for m in messages]
    finally:
        consumer.close()


def alive(processes: Sequence[psutil.Process | None]) -> list[psutil.Process]:
    """Those that run; a zombie has ended, only nobody has asked how."""
    running = [p for p in processes if p is not None and p.is_running()]
    return [p for p in running if p.status() != psutil.STATUS_ZOMBIE]


def test_kafka_keeps_data_dated_years_back_over_a_kill(
    stack: EmbeddedStack, topic_prefix: str
) -> None:
    kafka = stack.endpoints.kafka_bootstrap
    assert kafka is not None
    topic = f"{topic_prefix}old"
    create_topic(kafka, topic)
    produce(kafka, topic, b"before")
    first = stack.pid("kafka")
    stack.stop_service("kafka", kill=True)
    assert stack.pid("kafka") is None
    stack.start_service("kafka")
    assert stack.pid("kafka") not in (None, first)
    produce(kafka, topic, b"after")
    assert read_all(kafka, topic, 2) == [(b"before", T_2013_MS), (b"after", T_2013_MS)]
    resource = ConfigResource(ResourceType.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": kafka})
    config = admin.describe_configs([resource])[resource].result(20)
    assert config["retention.ms"].value == "-1"
    assert int(config["retention.bytes"].value) > 0


def test_kafka_makes_no_topic_by_itself(stack: EmbeddedStack, topic_prefix: str) -> None:
    kafka = stack.endpoints.kafka_bootstrap
    assert kafka is not None
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.list_topics(f"{topic_prefix}typo", timeout=20)
    assert f"{topic_prefix}typo" not in admin.list_topics(timeout=20).topics


def test_store_keeps_acknowledged_documents_over_a_kill(
    stack: EmbeddedStack, topic_prefix: str
) -> None:
    database = topic_prefix.replace(".", "").replace("-", "_")
    with MongoClient[dict[str, object]](stack.endpoints.mongodb_uri) as client:
        client[database]["c"].insert_many([{"_id": i, "v": i / 3} for i in range(100)])
    stack.stop_service("store", kill=True)
    stack.start_service("store")
    with MongoClient[dict[str, object]](stack.endpoints.mongodb_uri) as client:
        found = {d["_id"]: d["v"] for d in client[database]["c"].find()}
    assert found == {i: i / 3 for i in range(100)}


def test_other_processes_find_it_and_a_second_start_says_so(stack: EmbeddedStack) -> None:
    code = (
        "import sys; from pathlib import Path; from app.embedded import running_endpoints;"
        "print(running_endpoints(Path(sys.argv[1])).model_dump_json())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(stack.data_dir)],
        capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    assert json.loads(found) == stack.endpoints.model_dump()
    for fresh in (False, True):
        with pytest.raises(StackError) as error:
            EmbeddedStack(stack.data_dir, fresh=fresh).start()
        assert f"process {os.getpid()}," in str(error.value)
        assert str(stack.endpoints.kafka_bootstrap) in str(error.value)
        assert str(stack.endpoints.mongodb_uri) in str(error.value)
        assert f"MQTT 127.0.0.1:{stack.endpoints.mqtt_port}" in str(error.value)


@pytest.mark.faults
def test_killed_owner_leaves_no_process_and_no_lock(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir), "kafka"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        services = [psutil.Process(pid) for pid in pids]
        guards = [process.parent() for process in services]
        before = running_endpoints(data_dir)
        assert before is not None
        assert len(services) == 3
        assert None not in guards
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(10)
    assert running_endpoints(data_dir) is None
    # At once, while the guards may still be ending what was left: the same ports and data.
    with EmbeddedStack(data_dir) as again:
        assert again.endpoints == before
        assert alive(services) == []
        psutil.wait_procs([guard for guard in guards if guard], timeout=10)
        assert alive(guards) == []


@pytest.mark.faults
def test_leftovers_of_killed_guards_are_ended_by_the_next_start(data_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        services = [psutil.Process(pid) for pid in pids]
        for process in services:
            guard = process.parent()
            assert guard is not None
            guard.kill()
        owner.kill()
        owner.wait(10)
    with EmbeddedStack(data_dir, kafka=False) as again:
        assert alive(services) == []
        assert again.pid("store") not in pids


def test_clean_stop_frees_ports_and_folder(data_dir: Path) -> None:
    stack = EmbeddedStack(data_dir, kafka=False, store=False)
    first = stack.start()
    assert first.kafka_bootstrap is None
    assert first.mqtt_port is not None
    stack.stop()
    stack.stop()
    assert running_endpoints(data_dir) is None
    assert is_free(first.mqtt_port)
    with pytest.raises(StackError, match="not started"):
        _ = stack.endpoints
    with stack:
        assert stack.endpoints == first


def test_taken_port_is_replaced_and_told(data_dir: Path) -> None:
    with EmbeddedStack(data_dir, kafka=False, store=False) as stack:
        port = stack.endpoints.mqtt_port
    told: list[str] = []
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        stack = EmbeddedStack(data_dir, kafka=False, store=False)
        try:
            endpoints = stack.start(told.append)
            assert endpoints.mqtt_port not in (None, port)
        finally:
            stack.stop()
    assert f"port {port} is in use, mqtt takes {endpoints.mqtt_port}" in told
    with stack:
        assert stack.endpoints == endpoints  # remembered


def test_service_that_cannot_listen_is_an_error_with_its_log(data_dir: Path) -> None:
    with EmbeddedStack(data_dir, kafka=False, store=False) as stack:
        stack.stop_service("mqtt")
        with socket.socket() as other:
            other.bind(("127.0.0.1", stack.endpoints.mqtt_port))
            other.listen()
            started = time.monotonic()
            with pytest.raises(StackError, match=r"(?s)mqtt ended with code.*in use"):
                stack.start_service("mqtt")
            assert time.monotonic() - started < 20
        stack.start_service("mqtt")
        assert stack.pid("mqtt") is not None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{", "the whole file"),
        ('{"version": 2}', "version"),
        ('{"ports": {"kafka": "many"}}', "ports.kafka"),
    ],
)
def test_damaged_state_names_file_and_field(data_dir: Path, text: str, field: str) -> None:
    with EmbeddedStack(data_dir, kafka=False, store=False):
        pass
    (data_dir / "state.json").write_text(text)
    with pytest.raises(StackError) as error:
        EmbeddedStack(data_dir, kafka=False, store=False).start()
    assert f"{data_dir / 'state.json'} is damaged: {field}:" in str(error.value)
    with EmbeddedStack(data_dir, kafka=False, store=False, fresh=True):
        pass


def test_fresh_empties_our_folder_only(data_dir: Path, tmp_path: Path) -> None:
    with EmbeddedStack(data_dir, kafka=False, mqtt=False) as stack:
        with MongoClient[dict[str, object]](stack.endpoints.mongodb_uri) as client:
            client["db"]["c"].insert_one({"_id": 1})
        (data_dir / "spool").mkdir()
        (data_dir / "spool" / "x").touch()
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "precious").touch()
        (data_dir / "link").symlink_to(outside)
    with EmbeddedStack(data_dir, kafka=False, mqtt=False, fresh=True) as stack:
        with MongoClient[dict[str, object]](stack.endpoints.mongodb_uri) as client:
            assert client["db"]["c"].count_documents({}) == 0
        assert not (data_dir / "spool").exists()
        assert not (data_dir / "link").exists()
    assert (outside / "precious").exists()


@pytest.mark.parametrize("fresh", [False, True])
def test_foreign_folder_is_refused_and_untouched(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StackError, match=r"is not a Plantstream data folder.*thesis\.tex"):
        EmbeddedStack(tmp_path, fresh=fresh).start()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StackError, match="is a file"):
        EmbeddedStack(tmp_path / "thesis.tex", fresh=fresh).start()


def test_unknown_service_is_an_error(data_dir: Path) -> None:
    with (
        EmbeddedStack(data_dir, kafka=False, store=False) as stack,
        pytest.raises(StackError, match="no service 'kafka' in this stack; it has mqtt"),
    ):
        stack.stop_service("kafka")
