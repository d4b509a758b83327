"""What a site chooses about logs and metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Level = Literal["debug", "info", "warning", "error"]


class LogSettings(BaseModel):
    """Logs of all processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level = Field(
        default="info", description="Least severe lines of Plantstream that are written"
    )
    format: Literal["console", "json"] = Field(
        default="console", description="Lines for people, or one JSON object a line"
    )
    levels: dict[str, Level] = Field(
        default_factory=dict,
        description="Level by logger, such as 'plantstream.worker' or a library's 'asyncua';"
        " libraries are at 'warning' otherwise",
    )


class MetricsSettings(BaseModel):
    """The small HTTP server of every process: /metrics, /live and /ready."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="Whether processes serve metrics and health")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on; in a container 0.0.0.0",
    )
    port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port; 0: a free one, which `plantstream status` shows. A fixed one is for a"
        " process with a host of its own, better given by its environment",
    )
