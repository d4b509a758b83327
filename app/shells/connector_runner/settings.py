"""How connectors trade memory, patience and latency, whatever their protocol."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.time import NS_PER_MS, NS_PER_S, Duration


class RunnerSettings(BaseModel):
    """Settings of all connectors of a site."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record_bytes: int = Field(
        default=256_000,
        ge=1_000,
        le=1_000_000,
        description="Messages of an asset are gathered up to about this size of a record",
    )
    buffer_records: int = Field(
        default=20_000,
        ge=1,
        description="Reading pauses while so many records wait for Kafka",
    )
    buffer_bytes: int = Field(
        default=128 << 20,
        ge=1 << 20,
        description="… or so many bytes, whichever comes first",
    )
    status_interval: Duration = Field(
        default=3 * NS_PER_S,
        ge=100 * NS_PER_MS,
        description="How often a connector says that it lives; the watchdog takes one for dead"
        " after three times of silence",
    )
    backoff_first: Duration = Field(
        default=500 * NS_PER_MS,
        ge=10 * NS_PER_MS,
        description="First wait before a source that was lost is tried again",
    )
    backoff_limit: Duration = Field(
        default=30 * NS_PER_S, ge=10 * NS_PER_MS, description="Longest wait, after many attempts"
    )
    refused_wait: Duration = Field(
        default=10 * NS_PER_S,
        ge=0,
        description="Least wait after a refusal, which a person has to mend",
    )
    steady: Duration = Field(
        default=10 * NS_PER_S,
        ge=0,
        description="A connection that held for this long starts the waits anew",
    )
    max_assets: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Assets that a source may bring up by itself, such as by MQTT topics, and get"
        " heartbeats; the data of further ones lands all the same, and is counted",
    )
    forget_after: Duration = Field(
        default=30 * 86_400 * NS_PER_S,
        ge=0,
        description="A connector that starts again still expects the assets it knew before, and"
        " tells of their silence; not those unheard of for this long",
    )
    drain: Duration = Field(
        default=10 * NS_PER_S,
        ge=0,
        description="A connector that stops waits so long for Kafka to take what was read",
    )

    @model_validator(mode="after")
    def _rising(self) -> RunnerSettings:
        if self.backoff_limit < self.backoff_first:
            raise ValueError("backoff_limit must be at least backoff_first")
        return self
