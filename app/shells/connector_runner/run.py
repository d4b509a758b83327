"""A connector from start to exit code."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pydantic

from app.kafka import KafkaSettings, admin_client, wait_for_kafka
from app.kafka.topics import connectors_topic, dead_letter_topic, ensure_topics, log_topic
from app.shells.connector_runner.known import Remembered
from app.shells.connector_runner.recall import recall
from app.shells.connector_runner.runner import ConnectorRunner
from app.shells.connector_runner.settings import RunnerSettings
from app.shells.connector_runner.stats import ConnectorStats
from connectors.base import Connector, ConnectorParameters, Environment
from connectors.discover import find
from models.errors import ConfigError, PlantstreamError, TransportError
from models.modbus import ModbusTemplate

LOG = logging.getLogger("plantstream.connector")
_RETRY_S = 1.0
_STOP_POLL_S = 0.05


def make_connector(
    name: str,
    kind: str,
    parameters: ConnectorParameters | Mapping[str, Any],
    *,
    prefix: str = "",
    modbus_templates: Mapping[str, ModbusTemplate] | None = None,
) -> Connector[Any]:
    """The connector of a configuration; nothing is connected yet.

    Raises ConfigError naming field, value and what is allowed.
    """
    cls = find(kind)
    if not isinstance(parameters, ConnectorParameters):
        try:
            parameters = cls.Parameters.model_validate(parameters)
        except pydantic.ValidationError as error:
            found = error.errors()[0]
            place = ".".join(map(str, found["loc"])) or "parameters"
            raise ConfigError(
                found["msg"], field=f"connector {name}: {place}", value=found["input"]
            ) from None
    # An MQTT broker keeps messages under this id: it must survive restarts, and differ by site.
    client_id = f"plantstream-{prefix}{name}"
    return cls(parameters, Environment(name, client_id, dict(modbus_templates or {})))


def config_version(parameters: ConnectorParameters, templates: Mapping[str, ModbusTemplate]) -> str:
    """A fingerprint of everything that decides what a connector lands: 12 hex digits."""
    content = {
        "parameters": parameters.model_dump(mode="json"),
        "templates": {name: each.model_dump(mode="json") for name, each in templates.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def run_connector(
    name: str,
    kind: str,
    parameters: ConnectorParameters | Mapping[str, Any],
    *,
    kafka: KafkaSettings,
    modbus_templates: Mapping[str, ModbusTemplate] | None = None,
    settings: RunnerSettings | None = None,
    stats: ConnectorStats | None = None,
    stop: threading.Event | None = None,
    expected: Collection[str] = (),
) -> int:
    """Run a connector until ``stop`` is set, or SIGTERM or SIGINT arrives; returns the exit code.

    0: stopped on request. 1: it failed. 2: configuration. One line of the log says why. Absences
    of the source and of Kafka are waited out, however long. Signals are only taken in the main
    thread. ``expected``: assets that should be heard although the parameters do not name them.
    """
    stop = stop or threading.Event()
    stats = stats or ConnectorStats(name, kind)
    templates = dict(modbus_templates or {})
    try:
        connector = make_connector(
            name, kind, parameters, prefix=kafka.prefix, modbus_templates=templates
        )
        version = config_version(connector.parameters, templates)
        with _signals(stop):
            remembered = _prepare(kafka, kind, stats, stop)
            if remembered is not None:

                def made() -> ConnectorRunner:
                    return ConnectorRunner(
                        connector, kafka=kafka, config_version=version, settings=settings,
                        stats=stats, expected=expected, remembered=remembered,
                    )  # fmt: skip

                asyncio.run(_run(made, stop))
    except PlantstreamError as error:
        LOG.error("%s: %s", name, error)
        return error.exit_code
    except Exception:
        LOG.exception("%s: failed", name)
        return 1
    finally:
        stats.state = "stopped"
    return 0


def _prepare(
    kafka: KafkaSettings, kind: str, stats: ConnectorStats, stop: threading.Event
) -> Remembered | None:
    """Wait for Kafka, see that the topics exist, and read what an earlier session knew.

    None when ``stop`` was set first.
    """
    specs = [
        log_topic(kafka, kafka.topics.raw(kind)),
        connectors_topic(kafka),
        dead_letter_topic(kafka),
    ]
    while not stop.is_set():
        try:
            stats.kafka_reason = "waiting for it to answer"
            if not wait_for_kafka(kafka, math.inf, stop):
                return None
            ensure_topics(admin_client(kafka, "connector"), specs)
            remembered = recall(kafka, stats.name, stop)
        except TransportError as error:
            stats.kafka_reason = str(error)
            LOG.warning("%s: %s", stats.name, error)
            stop.wait(_RETRY_S)
        else:
            stats.kafka_reason = ""
            return remembered
    return None


async def _run(made: Callable[[], ConnectorRunner], stop: threading.Event) -> None:
    runner = made()
    stopping = asyncio.Event()
    watching = asyncio.create_task(_watch(stop, stopping))
    try:
        await runner.run(stopping)
    finally:
        watching.cancel()


async def _watch(stop: threading.Event, stopping: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(_STOP_POLL_S)
    stopping.set()


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stop``, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
