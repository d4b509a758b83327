"""How a worker trades latency, throughput and the time of a takeover."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from app.kafka.settings import MemberSettings
from models.time import NS_PER_MS, NS_PER_S, Duration, parse_duration


class WorkerSettings(MemberSettings):
    """Settings of all workers of a site."""

    latency: Duration = Field(
        default=200 * NS_PER_MS,
        ge=20 * NS_PER_MS,
        le=10 * NS_PER_S,
        description="Goal: a record's outputs are committed this soon after it landed, while the"
        " worker keeps up. The next three follow from it where they are not given",
    )
    commit_interval: Duration = Field(
        default=100 * NS_PER_MS,
        ge=NS_PER_MS,
        le=5 * NS_PER_S,
        description="Outputs become visible this often: half the goal, 2 s at most",
    )
    linger: Duration = Field(
        default=2 * NS_PER_MS,
        ge=0,
        description="Outputs wait this long for others to be sent with them: 1 % of the goal",
    )
    poll: Duration = Field(
        default=20 * NS_PER_MS,
        ge=NS_PER_MS,
        description="Longest wait for a record before a commit is due: 10 % of the goal",
    )
    busy_commit_interval: Duration = Field(
        default=500 * NS_PER_MS,
        ge=NS_PER_MS,
        le=5 * NS_PER_S,
        description="The same while more records wait than the worker can take at once: what waits"
        " is late already, and fewer commits get through it sooner",
    )
    fetch_wait: Duration = Field(
        default=5 * NS_PER_MS,
        ge=NS_PER_MS,
        description="The broker holds a fetch this long for more data",
    )
    transaction_timeout: Duration = Field(
        default=6 * NS_PER_S,
        ge=2 * NS_PER_S,
        description="The broker aborts a transaction this old; a takeover waits for that of the"
        " dead worker",
    )
    kafka_timeout: Duration = Field(
        default=300 * NS_PER_S,
        ge=NS_PER_S,
        description="A worker waits this long for Kafka before it gives up (exit code 1)",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_goal(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "latency" not in given:
            return given
        try:
            goal = parse_duration(given["latency"])
        except ValueError:
            return given  # the field itself says what is wrong with it
        shares = {"commit_interval": 2, "linger": 100, "poll": 10}
        longest = {"commit_interval": 2 * NS_PER_S, "linger": 5 * NS_PER_MS, "poll": NS_PER_S}
        follows = {name: min(goal // share, longest[name]) for name, share in shares.items()}
        return {**follows, **given}

    @model_validator(mode="after")
    def _consistent(self) -> WorkerSettings:
        for name in ("commit_interval", "busy_commit_interval"):
            if self.transaction_timeout < 2 * getattr(self, name):
                raise ValueError(f"transaction_timeout must be at least twice {name}")
        return self
