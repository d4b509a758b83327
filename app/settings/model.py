"""The schema of ``plantstream.toml``: everything a site configures, in one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from app.kafka.settings import KafkaSettings
from app.observe.settings import LogSettings, MetricsSettings
from app.shells.connector_runner.settings import RunnerSettings
from app.shells.worker.settings import WorkerSettings
from app.store.settings import SinkSettings, StoreSettings
from connectors.simulators.config import Simulator
from models.catalogue import Asset, Catalogue, Knowledge
from models.modbus import ModbusTemplate

#: A service of the embedded stack instead of an address.
EMBEDDED = "embedded"

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


class Section(BaseModel):
    """Base of the sections that only this room knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KafkaSection(KafkaSettings):
    """Kafka, the same for every process of the site."""

    bootstrap: str = Field(
        default=EMBEDDED,
        min_length=1,
        description="Brokers, 'host:port' separated by commas; 'embedded': the one of"
        " `plantstream up` or `demo` in data_dir",
    )


class StoreSection(StoreSettings):
    """The document store: MongoDB, or the embedded one."""

    uri_file: Path | None = Field(
        default=None, description="A file that holds the connection string, instead of uri"
    )


class MqttSection(Section):
    """The site's MQTT broker."""

    broker: str = Field(
        default=EMBEDDED,
        pattern=r"^(embedded|[^\s:]+:\d{1,5})$",
        description="'host:port', or 'embedded'; used by connectors and simulators of kind mqtt"
        " that name no host",
    )


class ConnectorEntry(BaseModel):
    """A connector. Its other fields are the parameters of its kind."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = Field(description="Protocol: a module of connectors/")
    enabled: bool = Field(default=True, description="Whether `connect --all` and `demo` run it")
    simulator: str = Field(
        default="",
        description="A simulator of this file that stands in for the device while it runs: the"
        " connector takes its address",
    )

    @property
    def given(self) -> dict[str, Any]:
        """The parameters of its kind, as they were written."""
        return dict(self.model_extra or {})


class TopologyEntry(Section):
    """How a topology runs at this site."""

    enabled: bool = Field(default=True, description="Whether `demo` runs it")
    workers: int = Field(default=1, ge=1, le=64, description="Workers that `demo` starts")
    steps: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Parameters over those of the declaration, by step name:"
        " [topologies.glass.steps.limits]",
    )


class Site(Section):
    """A site: one plant or laboratory."""

    site: str = Field(default="plant", min_length=1, max_length=100, description="Name, for people")
    data_dir: Path = Field(
        default=Path(".plantstream"),
        description="Folder of state, logs and the embedded stack; relative to this file",
    )
    topology_paths: tuple[Path, ...] = Field(
        default=(), description="Files or folders with topologies of the site's own"
    )
    kafka: KafkaSection = Field(default_factory=KafkaSection, description="Kafka")
    store: StoreSection = Field(default_factory=StoreSection, description="The document store")
    mqtt: MqttSection = Field(default_factory=MqttSection, description="The site's MQTT broker")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="All workers")
    sink: SinkSettings = Field(default_factory=SinkSettings, description="All sink processes")
    connector: RunnerSettings = Field(
        default_factory=RunnerSettings, description="All connectors"
    )
    log: LogSettings = Field(default_factory=LogSettings, description="Logs of all processes")
    metrics: MetricsSettings = Field(
        default_factory=MetricsSettings, description="Metrics and health of all processes"
    )
    catalogue: dict[str, Asset] = Field(
        default_factory=dict, description='What is known of assets and tags: [catalogue."asset"]'
    )
    modbus_templates: dict[Name, ModbusTemplate] = Field(
        default_factory=dict, description="Register maps by kind of device"
    )
    connectors: dict[Name, ConnectorEntry] = Field(
        default_factory=dict, description="Connectors by name"
    )
    topologies: dict[Name, TopologyEntry] = Field(
        default_factory=dict, description="Topologies by name; those not named run as declared"
    )
    simulators: dict[Name, Simulator] = Field(
        default_factory=dict, description="Simulated devices by name"
    )

    @field_validator("catalogue")
    @classmethod
    def _named(cls, catalogue: dict[str, Asset]) -> dict[str, Asset]:
        for asset in catalogue:
            if not asset or not asset.isprintable() or len(asset) > 512:
                raise ValueError(f"{asset!r:.60} is no asset name (1 to 512 printable characters)")
        return catalogue

    @property
    def knowledge(self) -> Knowledge:
        """What steps may look up."""
        return Knowledge(
            catalogue=Catalogue(assets=self.catalogue), modbus_templates=self.modbus_templates
        )
