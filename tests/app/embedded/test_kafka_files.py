"""Kafka's jars: locked, verified, cached; and its settings file, for any path."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded import StackError, kafka
from app.embedded.kafka_jars import ENDPOINTS, KAFKA_VERSION, kafka_classpath, read_lock

CONTENT = b"the bytes of a jar"


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A real Maven repository over HTTP with one artefact."""
    folder = tmp_path / "repository" / "org" / "example" / "thing" / "1.0"
    folder.mkdir(parents=True)
    (folder / "thing-1.0.jar").write_bytes(CONTENT)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "repository")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PLANTSTREAM_CACHE", str(tmp_path / "cache"))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    file = tmp_path / "kafka.lock"
    file.write_text(f"# a comment\norg.example:thing:1.0 {len(CONTENT)} {sha256}\n")
    return file


def test_fetched_once_then_no_network(repository: str, lock: Path) -> None:
    told: list[str] = []
    [jar] = kafka_classpath(told.append, lock_file=lock, remotes={"test": repository})
    assert jar.read_bytes() == CONTENT
    assert told[-1].endswith("1 of 1 files")
    told.clear()
    nowhere = {"nowhere": "http://127.0.0.1:1"}
    assert kafka_classpath(told.append, lock_file=lock, remotes=nowhere) == [jar]
    assert told == []
    assert sorted(p.name for p in jar.parent.iterdir()) == ["lock", "thing-1.0.jar"]


def test_truncated_file_in_the_cache_is_fetched_again(repository: str, lock: Path) -> None:
    [jar] = kafka_classpath(lock_file=lock, remotes={"test": repository})
    jar.write_bytes(CONTENT[:5])
    assert kafka_classpath(lock_file=lock, remotes={"test": repository}) == [jar]
    assert jar.read_bytes() == CONTENT


def test_other_bytes_than_locked_are_refused(repository: str, lock: Path, tmp_path: Path) -> None:
    lock.write_text(lock.read_text()[:-5] + "beef\n")
    with pytest.raises(StackError, match=r"org\.example:thing:1\.0 .*SHA-256 is .*, locked is"):
        kafka_classpath(lock_file=lock, remotes={"test": repository})
    assert not list((tmp_path / "cache").rglob("*.jar"))


def test_missing_artefact_names_it_and_the_repository(repository: str, lock: Path) -> None:
    lock.write_text("org.example:other:2.0 1 00\n")
    with pytest.raises(StackError, match=rf"org\.example:other:2\.0 from {repository}"):
        kafka_classpath(lock_file=lock, remotes={"test": repository})


def test_the_lock_holds_what_is_asked_for() -> None:
    locked = {f"{jar.group}:{jar.artifact}:{jar.version}" for jar in read_lock()}
    assert set(ENDPOINTS) <= locked
    assert f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}" in locked


@pytest.mark.integration
def test_storage_is_formatted_in_any_path(tmp_path: Path) -> None:
    folder = tmp_path / "Anlage Süd \\ 工場 #1=x:y"
    cluster_id = kafka.new_cluster_id()
    kafka.prepare(
        folder,
        port=1,
        controller_port=2,
        cluster_id=cluster_id,
        classpath=kafka_classpath(),
        progress=lambda _: None,
    )
    assert (folder / "data" / "meta.properties").is_file()
    assert kafka.stored_cluster_id(folder) == cluster_id


def test_comma_in_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="path with a comma"):
        kafka.prepare(
            tmp_path / "a,b",
            port=1,
            controller_port=2,
            cluster_id="x",
            classpath=[],
            progress=lambda _: None,
        )
