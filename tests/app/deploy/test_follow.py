"""Following pauses where Kafka, or the machine, does not let it."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest

from app.deploy import follow
from app.deploy.follow import Follower
from app.kafka import KafkaSettings
from models.errors import TransportError


@pytest.fixture
def nowhere() -> KafkaSettings:
    """A Kafka that is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return KafkaSettings(bootstrap=f"127.0.0.1:{taken.getsockname()[1]}")


def test_a_start_without_kafka_ends_with_an_error(
    nowhere: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_PATIENCE_S", 0.5)
    before = threading.active_count()
    with pytest.raises(TransportError, match="cannot read deployments"), Follower(nowhere, "glass"):
        pass
    assert threading.active_count() == before


def test_an_error_of_the_machine_is_told_once_and_tried_again(
    nowhere: KafkaSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = threading.Semaphore(0)

    def refused(options: dict[str, Any]) -> None:
        tried.release()
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(follow, "Consumer", refused)
    monkeypatch.setattr(follow, "_AGAIN_S", 0.01)
    monkeypatch.setattr(follow, "_PATIENCE_S", 0.5)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(TransportError, match="Too many open files"),
        Follower(nowhere, "glass"),
    ):
        pass
    assert all(tried.acquire(blocking=False) for _ in range(3))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
