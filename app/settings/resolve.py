"""From what is configured to addresses: the embedded stack's, and those of running simulators."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from app.embedded.datadir import Endpoints, read_running
from app.kafka.settings import KafkaSettings
from app.observe.processes import running
from app.settings.model import EMBEDDED, ConnectorEntry
from app.settings.settings import Settings
from app.store.settings import StoreSettings
from connectors.base import ConnectorParameters
from connectors.simulators.config import MqttSimulator
from connectors.simulators.player import AnySimulator
from models.errors import PlantstreamError

LOG = logging.getLogger("plantstream.settings")


class NotRunning(PlantstreamError):
    """Something that must run does not."""


def endpoints(settings: Settings) -> Endpoints:
    """Where the embedded stack of this site listens. Raises NotRunning where none runs."""
    found = read_running(settings.data_dir.resolve())
    if found is None:
        raise NotRunning(
            f"no embedded stack runs in {settings.data_dir}: start it with `plantstream up`,"
            " or name what there is in kafka.bootstrap, store.uri and mqtt.broker"
        )
    return found.endpoints


def kafka(settings: Settings) -> KafkaSettings:
    """Kafka's settings with the address of a broker. Raises NotRunning."""
    section = settings.site.kafka
    bootstrap = section.bootstrap
    if bootstrap == EMBEDDED:
        bootstrap = endpoints(settings).kafka_bootstrap or ""
        if not bootstrap:
            raise NotRunning(f"the stack in {settings.data_dir} runs without Kafka")
    values = {name: getattr(section, name) for name in KafkaSettings.model_fields}
    return KafkaSettings(**{**values, "bootstrap": bootstrap})


def store(settings: Settings) -> StoreSettings:
    """The store's settings with its connection string. Raises NotRunning, ConfigError."""
    section = settings.site.store
    values = {name: getattr(section, name) for name in StoreSettings.model_fields}
    uri = section.uri.get_secret_value() if section.uri else ""
    if not uri and section.uri_file is not None:
        try:
            uri = section.uri_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            message = f"{section.uri_file} cannot be read: {error.strerror}"
            raise settings.error(message, "store.uri_file") from None
    if not uri:
        uri = endpoints(settings).mongodb_uri or ""
        if not uri:
            raise NotRunning(f"the stack in {settings.data_dir} runs without a document store")
    return StoreSettings.model_validate({**values, "uri": uri})


def mqtt(settings: Settings) -> tuple[str, int]:
    """Host and port of the site's MQTT broker. Raises NotRunning."""
    broker = settings.site.mqtt.broker
    if broker != EMBEDDED:
        host, _, port = broker.rpartition(":")
        return host, int(port)
    found = endpoints(settings)
    if found.mqtt_host is None or found.mqtt_port is None:
        raise NotRunning(f"the stack in {settings.data_dir} runs without an MQTT broker")
    return found.mqtt_host, found.mqtt_port


def connector(settings: Settings, name: str) -> tuple[ConnectorEntry, ConnectorParameters]:
    """A connector with the address it is to use: its own, the site's, or a simulator's.

    Raises SettingsError, NotRunning.
    """
    entry, parameters = settings.connector(name)
    address: Mapping[str, Any] = {}
    if entry.simulator and (where := _simulator_endpoint(settings, entry.simulator)):
        LOG.info("connector %s: simulator %s stands in, at %s", name, entry.simulator, where)
        address = _address(type(parameters), where)
    elif entry.kind == "mqtt" and "host" not in entry.given:
        host, port = mqtt(settings)
        address = {"host": host, "port": port}
    if not address:
        return entry, parameters
    return entry, type(parameters).model_validate({**_values(parameters), **address})


def simulator(settings: Settings, name: str) -> AnySimulator:
    """A simulator of the configuration; one of MQTT without a host speaks to the site's broker.

    Raises SettingsError, NotRunning.
    """
    from app.settings.problems import unknown

    found = settings.site.simulators.get(name)
    if found is None:
        raise settings.error(unknown(name, settings.site.simulators, "simulator"), "simulators")
    return at_site(settings, found)


def at_site(settings: Settings, found: AnySimulator) -> AnySimulator:
    """The simulator, with the site's broker where it needs one and names none."""
    if isinstance(found, MqttSimulator) and "host" not in found.model_fields_set:
        host, port = mqtt(settings)
        return found.model_copy(update={"host": host, "port": port})
    return found


def _simulator_endpoint(settings: Settings, name: str) -> str:
    for process in running(settings.data_dir):
        if (process.kind, process.name) == ("simulator", name) and process.endpoint:
            return process.endpoint
    return ""


def _address(model: type[ConnectorParameters], endpoint: str) -> dict[str, Any]:
    """The endpoint in the fields that a connector's parameters have for it."""
    if "endpoint" in model.model_fields:
        return {"endpoint": endpoint}
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    return {"host": parts.hostname, "port": parts.port}


def _values(parameters: ConnectorParameters) -> dict[str, Any]:
    return {name: getattr(parameters, name) for name in type(parameters).model_fields}
