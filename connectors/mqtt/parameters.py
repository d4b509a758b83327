"""Parameters of the MQTT connector."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.base import ConnectorParameters
from connectors.mqtt.patterns import check_asset, check_filter
from models.time import Duration

MINUTE = 60_000_000_000


class PayloadTime(BaseModel):
    """Where payloads hold their event time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        min_length=1, description="Keys to the time in a JSON payload, separated by dots"
    )
    format: Literal["unix_s", "unix_ms", "unix_us", "unix_ns", "iso8601"] = Field(
        "iso8601", description="How the time is written; without a zone it is UTC"
    )


class Subscription(BaseModel):
    """A topic filter, and the assets its messages belong to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filter: str = Field(description="MQTT topic filter; + stands for a level, # for the rest")
    asset: str = Field(
        description="Asset of a message: {1}, {2} … are the filter's + in order, {rest} its #,"
        " {topic} the whole topic"
    )
    time: PayloadTime | None = Field(
        None,
        description="Event time in the payload, for the record's timestamp in Kafka only; what"
        " cannot be read counts as received now",
    )

    @model_validator(mode="after")
    def _valid(self) -> Subscription:
        check_filter(self.filter)
        check_asset(self.asset, self.filter)
        return self


class MqttParameters(ConnectorParameters):
    """An MQTT broker and what to subscribe to."""

    host: str = Field("127.0.0.1", min_length=1, description="Host of the broker")
    port: int = Field(1883, ge=1, le=65535, description="TCP port of the broker")
    protocol: Literal["3.1.1", "5"] = Field("3.1.1", description="MQTT version")
    qos: Literal[0, 1] = Field(1, description="1: every message lands; 0: at most once")
    keepalive: Duration = Field(
        30_000_000_000,
        ge=1_000_000_000,
        description="A connection on which nothing comes for this long is probed",
    )
    connect_timeout: Duration = Field(
        10_000_000_000, gt=0, description="Longest wait for the broker's answers"
    )
    session_expiry: Duration = Field(
        7 * 24 * 60 * MINUTE,
        ge=0,
        description="MQTT 5: how long the broker keeps messages for us while we are away",
    )
    receive_maximum: int = Field(
        1000, ge=1, le=65535, description="MQTT 5: most messages in flight to us"
    )
    queue: int = Field(
        100_000, ge=1, description="Most messages held in memory between broker and Kafka"
    )
    subscriptions: tuple[Subscription, ...] = Field(
        min_length=1, description="What to subscribe to; the first filter that matches counts"
    )
