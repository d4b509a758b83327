"""Parameters of the OPC UA connector."""

from __future__ import annotations

import re
from urllib.parse import urlparse

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.base import ConnectorParameters
from models.time import Duration

_NODE = re.compile(r"^(ns=\d+;)?(i=\d+|s=.+|g=[0-9a-fA-F-]{36}|b=[A-Za-z0-9+/=]+)$", re.DOTALL)


class OpcUaItem(BaseModel):
    """One node to monitor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: str = Field(description="Node id, such as ns=2;s=furnace/temperature")
    asset: str = Field(min_length=1, description="The asset it belongs to")
    tag: str = Field(min_length=1, description="Its tag")

    @field_validator("node")
    @classmethod
    def _node_id(cls, node: str) -> str:
        if not _NODE.match(node):
            raise ValueError(
                "a node id is ns=<number>; and i=<number>, s=<text>, g=<guid> or b=<base64>"
            )
        return node


class OpcUaParameters(ConnectorParameters):
    """An OPC UA server and the nodes to monitor."""

    endpoint: str = Field(description="Address of the server, opc.tcp://host:port/path")
    timeout: Duration = Field(
        5_000_000_000, ge=100_000_000, description="Longest wait for an answer of the server"
    )
    session_timeout: Duration = Field(
        60_000_000_000,
        ge=1_000_000_000,
        description="How long the server keeps our session after the last sign of life",
    )
    publishing_interval: Duration = Field(
        100_000_000, ge=0, description="How often the server sends what it sampled"
    )
    sampling_interval: Duration = Field(
        0, ge=0, description="How often the server looks at a value; 0: as fast as it can"
    )
    queue_size: int = Field(
        1000, ge=1, description="Samples of one item that the server keeps between two sendings"
    )
    queue: int = Field(
        200_000,
        ge=1,
        description="Most samples held in memory between server and Kafka; beyond it the newest"
        " are lost, and counted",
    )
    silence: Duration = Field(
        5_000_000_000,
        ge=1_000_000_000,
        description="A subscription from which nothing came for this long, not even the server's"
        " time, is made anew",
    )
    retry_items: Duration = Field(
        10_000_000_000, ge=100_000_000, description="How often refused items are tried again"
    )
    items: tuple[OpcUaItem, ...] = Field(min_length=1, description="The nodes to monitor")

    @field_validator("endpoint")
    @classmethod
    def _address(cls, endpoint: str) -> str:
        parsed = urlparse(endpoint)
        try:
            valid = parsed.scheme == "opc.tcp" and bool(parsed.hostname) and parsed.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise ValueError("an endpoint is opc.tcp://host:port/path")
        return endpoint

    @model_validator(mode="after")
    def _once(self) -> OpcUaParameters:
        tags: set[tuple[str, str]] = set()
        for item in self.items:
            if (item.asset, item.tag) in tags:
                raise ValueError(f"tag {item.tag!r} of asset {item.asset!r} is given two nodes")
            tags.add((item.asset, item.tag))
        return self
