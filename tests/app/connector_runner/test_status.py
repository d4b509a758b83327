"""Publishing of a connector's status: the watchdog lives on it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.kafka import KafkaSettings
from app.shells.connector_runner.landing import Landing
from app.shells.connector_runner.outbox import MemoryOutbox
from app.shells.connector_runner.stats import ConnectorStats


def test_a_delivery_quicker_than_produce_does_not_silence_the_connector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[bytes] = []

    class Quick:
        def produce(
            self, topic: str, value: bytes, key: bytes, *, on_delivery: Any, **_: Any
        ) -> None:
            said.append(value)
            on_delivery(None, None)  # as the polling thread may do before `produce` returns

    class Client:
        def __init__(self, *_: object) -> None:
            self.producer = Quick()

    monkeypatch.setattr("app.shells.connector_runner.landing._Client", Client)

    async def scenario() -> None:
        outbox = MemoryOutbox(lambda _: None, max_records=1, max_bytes=1)
        landing = Landing(outbox, KafkaSettings(), "raw.mqtt", ConnectorStats("a", "mqtt"))
        for value in (b"one", b"two"):
            landing.publish_status("connectors", "a", value, [])

    asyncio.run(scenario())
    assert said == [b"one", b"two"]
