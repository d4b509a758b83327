"""Where MongoDB is, and how the sink trades latency, throughput and patience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from app.kafka.settings import MemberSettings
from models.errors import ConfigError
from models.time import NS_PER_MS, NS_PER_S, Duration

#: Environment variable that names the store, over the file.
URI_VARIABLE = "MONGODB_URI"
#: How the sample columns of a readings document are written.
Layout = Literal["arrays", "packed"]

#: What both MongoDB and the embedded store take in a collection name.
NAME = r"^[A-Za-z][A-Za-z0-9_]*$"


class StoreSettings(BaseModel):
    """The document store, the same for every process of a site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: SecretStr | None = Field(
        default=None,
        description="MongoDB connection string, better by the environment variable MONGODB_URI;"
        " none: the embedded store",
    )
    database: str = Field(
        default="plantstream", pattern=NAME, max_length=60, description="Database of all documents"
    )
    prefix: str = Field(
        default="",
        max_length=60,
        description="Put before every collection name; keeps sites in one database apart",
    )
    connect_timeout: Duration = Field(
        default=5 * NS_PER_S,
        ge=100 * NS_PER_MS,
        description="Longest wait for a server to be found or a connection to be made",
    )
    request_timeout: Duration = Field(
        default=30 * NS_PER_S,
        ge=NS_PER_S,
        description="Longest wait for an answer; the request is repeated then",
    )

    @field_validator("uri")
    @classmethod
    def _scheme(cls, uri: SecretStr | None) -> SecretStr | None:
        schemes = ("mongodb://", "mongodb+srv://")
        if uri is not None and not uri.get_secret_value().startswith(schemes):
            raise ValueError("a connection string begins with mongodb:// or mongodb+srv://")
        return uri

    @field_validator("prefix")
    @classmethod
    def _plain(cls, prefix: str) -> str:
        if prefix and not (prefix.isascii() and prefix[0].isalpha() and _is_word(prefix)):
            raise ValueError("letters, digits and '_' are allowed, a letter first")
        return prefix

    def resolved(
        self, environment: Mapping[str, str] | None = None, embedded: str | None = None
    ) -> StoreSettings:
        """The same settings with a URI: that of ``environment``, else its own, else ``embedded``.

        Raises ConfigError where none of them names a store.
        """
        named = (environment or {}).get(URI_VARIABLE)
        uri = named or (self.uri.get_secret_value() if self.uri else None) or embedded
        if not uri:
            raise ConfigError(
                f"no store: set {URI_VARIABLE} or start the embedded one (plantstream up)",
                field="store.uri",
            )
        return StoreSettings.model_validate({**self.model_dump(), "uri": uri})


class SinkSettings(MemberSettings):
    """Settings of all sink processes of a site."""

    batch_records: int = Field(
        default=1000, ge=1, le=100_000, description="Most records in a batch"
    )
    batch_bytes: int = Field(
        default=16 << 20, ge=1 << 20, description="Most bytes of records in a batch, about"
    )
    batch_wait: Duration = Field(
        default=100 * NS_PER_MS,
        ge=NS_PER_MS,
        le=10 * NS_PER_S,
        description="Longest wait for a batch to fill: most of the sink's latency",
    )
    writers: int = Field(default=4, ge=1, le=64, description="Bulk writes under way at once")
    bulk_documents: int = Field(
        default=250, ge=1, le=100_000, description="Most documents in one bulk write"
    )
    layout: Layout = Field(
        default="arrays",
        description="Sample columns of readings: 'arrays' of numbers, or 'packed' binary"
        " (little-endian), smaller and faster but opaque to queries",
    )
    backoff_min: Duration = Field(
        default=100 * NS_PER_MS, ge=10 * NS_PER_MS, description="First pause when MongoDB is away"
    )
    backoff_max: Duration = Field(
        default=5 * NS_PER_S, ge=100 * NS_PER_MS, description="Longest pause when MongoDB is away"
    )
    hand_over: Duration = Field(
        default=10 * NS_PER_S,
        ge=0,
        description="When partitions go to another sink, or on SIGTERM, a batch under way has"
        " this long to be written; what is not, is written again later",
    )

    @model_validator(mode="after")
    def _hands_over_in_time(self) -> SinkSettings:
        if self.hand_over >= self.max_poll_interval:
            raise ValueError("hand_over must be less than max_poll_interval")
        return self


def _is_word(text: str) -> bool:
    return text.replace("_", "a").isalnum()
