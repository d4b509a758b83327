"""How a connector ends while Kafka takes nothing: what is lost is counted, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import ClassVar

from app.kafka import KafkaSettings
from app.observe import Values, metrics
from app.shells.connector_runner.export import export
from app.shells.connector_runner.runner import ConnectorRunner
from app.shells.connector_runner.settings import RunnerSettings
from connectors.base import Connector, ConnectorParameters, Environment, Message, now
from models.records.headers import RAW_MQTT, Schema


class Meter(Connector[ConnectorParameters]):
    """Says three things at once, one of which it can say again, and then nothing more."""

    kind: ClassVar[str] = "meter"
    Parameters: ClassVar[type[ConnectorParameters]] = ConnectorParameters
    schema: ClassVar[Schema] = RAW_MQTT

    def __init__(self) -> None:
        super().__init__(
            ConnectorParameters.model_validate({"heartbeat": "50ms", "gather": "10ms"}),
            Environment("meter", "meter"),
        )
        self._said = False

    async def open(self) -> None:
        pass

    async def read(self) -> Sequence[Message]:
        if self._said:
            await asyncio.Event().wait()
        self._said = True
        t = now()
        return [
            Message("a", 1, t, t),
            Message("a", 2, t, t, receipt="kept by the source"),
            Message("b", 3, t, t),
        ]

    async def close(self) -> None:
        pass

    def assets(self) -> frozenset[str]:
        return frozenset({"a", "b"})

    @classmethod
    def pack(cls, messages: Sequence[Message]) -> bytes:
        return json.dumps([message.item for message in messages]).encode()


async def _ended() -> ConnectorRunner:
    nowhere = KafkaSettings(bootstrap="127.0.0.1:9")
    settings = RunnerSettings.model_validate({"drain": "100ms"})
    runner = ConnectorRunner(Meter(), kafka=nowhere, settings=settings)
    stop = asyncio.Event()
    running = asyncio.create_task(runner.run(stop))
    async with asyncio.timeout(20):
        while sum(runner.stats.heartbeats.values()) < 4:
            await asyncio.sleep(0.01)
        stop.set()
        await running
    return runner


def test_heartbeats_and_what_the_source_keeps_are_no_loss() -> None:
    runner = asyncio.run(_ended())
    assert runner.stats.lost == {"stopped": 2}


def test_what_went_wrong_is_in_the_metrics_of_all_processes() -> None:
    stats = asyncio.run(_ended()).stats
    stats.error("source", "refused")
    values = Values()
    export(stats, values)
    found = {
        tuple(sample.labels.values())
        for family in values.families()
        if family.name == "plantstream_errors"
        for sample in family.samples
    }
    assert metrics.ERRORS.labels == ("where", "reason")
    assert {("source", "refused"), ("kafka", "_ALL_BROKERS_DOWN")} <= found
