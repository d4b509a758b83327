"""Where Kafka is, and what our topics look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from models.time import NS_PER_S, Duration
from models.topics import LEGAL, Topics

#: librdkafka options that hold a secret, and the field that carries it instead.
_SECRETS = {
    "sasl.password": "password",
    "ssl.key.password": "key_password",
}
#: Options that the clients' guarantees rest on; they are not the site's to choose.
_OURS = frozenset(
    {
        "acks",
        "bootstrap.servers",
        "client.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.id",
        "isolation.level",
        "partitioner",
        "transactional.id",
    }
)


class KafkaSettings(BaseModel):
    """Connection, topic names and topic defaults, the same for every process of a site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap: str = Field(
        default="localhost:9092",
        min_length=1,
        description="Brokers, 'host:port' separated by commas",
    )
    prefix: str = Field(
        default="",
        max_length=100,
        description="Put before every topic and group name; keeps sites apart",
    )
    partitions: int = Field(
        default=4,
        ge=1,
        le=10_000,
        description="Partitions of topics we create; the most workers of one"
        " topology that can share the work",
    )
    replication: int = Field(default=1, ge=1, le=15, description="Copies of topics we create")
    retention_bytes: int = Field(
        default=1 << 30,
        ge=-1,
        description="Bytes kept per partition of raw and output topics; -1: without limit."
        " Nothing is deleted by age: data may be dated years back",
    )
    max_message_bytes: int = Field(
        default=1_048_588,
        ge=1_048_588,
        le=64 << 20,
        description="Largest record of raw and output topics; dead letters may be"
        " four times as large",
    )
    username: str = Field(default="", description="SASL user; empty: no SASL user")
    password: SecretStr | None = Field(
        default=None, description="SASL password; by environment, never in the file"
    )
    password_file: Path | None = Field(
        default=None, description="A file that holds the SASL password"
    )
    key_password: SecretStr | None = Field(
        default=None,
        description="Password of the client's TLS key; by environment, never in the file",
    )
    options: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="Further librdkafka options for all clients, such as 'security.protocol',"
        " 'sasl.mechanism', 'ssl.ca.location'",
    )

    @field_validator("prefix")
    @classmethod
    def _legal(cls, prefix: str) -> str:
        if prefix and not LEGAL.match(prefix):
            raise ValueError("Kafka allows letters, digits, '.', '_' and '-' in names")
        return prefix

    @field_validator("options")
    @classmethod
    def _allowed(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in options:
            if name in _SECRETS:
                raise ValueError(f"{name!r} is a secret: give it as {_SECRETS[name]!r}")
            if name in _OURS:
                raise ValueError(f"{name!r} is set by Plantstream and cannot be changed here")
        return options

    @model_validator(mode="after")
    def _one_password(self) -> KafkaSettings:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give 'password' or 'password_file', not both")
        return self

    @property
    def topics(self) -> Topics:
        """Topic names under the prefix."""
        return Topics(self.prefix)

    @property
    def max_dead_letter_bytes(self) -> int:
        """Largest dead letter: it holds its record in base64 (4/3), headers and key too."""
        return 4 * self.max_message_bytes

    def group(self, name: str) -> str:
        """A consumer group's full name: ``plantstream-glass``."""
        return f"{self.prefix}plantstream-{name}"

    def connection(self) -> dict[str, Any]:
        """librdkafka options that reach the brokers, secrets in plain text.

        Raises OSError where the password file cannot be read.
        """
        options: dict[str, Any] = {**self.options, "bootstrap.servers": self.bootstrap}
        if self.username:
            options["sasl.username"] = self.username
        if self.password_file is not None:
            options["sasl.password"] = self.password_file.read_text().strip()
        elif self.password is not None:
            options["sasl.password"] = self.password.get_secret_value()
        if self.key_password is not None:
            options["ssl.key.password"] = self.key_password.get_secret_value()
        return options


class MemberSettings(BaseModel):
    """When a process that shares partitions with others is given up: base of workers and sinks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_timeout: Duration = Field(
        default=6 * NS_PER_S,
        ge=2 * NS_PER_S,
        description="A process unheard of for this long loses its partitions to the others",
    )
    max_poll_interval: Duration = Field(
        default=60 * NS_PER_S,
        ge=10 * NS_PER_S,
        description="A process stuck in its work for this long loses its partitions",
    )

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.max_poll_interval < self.session_timeout:
            raise ValueError("max_poll_interval must be at least session_timeout")
        return self
