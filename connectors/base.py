"""The contract of a connector: it knows its protocol, and nothing of Kafka.

Life of a connector, all in one asyncio loop that the runner (in ``app``) owns:

    open ─► read ─► (runner gathers, packs, lands on Kafka) ─► acknowledge ─► read … ─► close

* ``open`` connects and subscribes. It raises SourceUnavailable (retried with backoff) or
  SourceRefused (needs a person; retried slowly, health says why).
* ``read`` waits until something came and returns it, in the order in which it was received.
  It raises SourceUnavailable when the connection is lost; the runner then closes and reopens.
* ``acknowledge`` is called with the messages of a record once the record is safe. Only then may a
  source be told that it can forget them. Records of different assets may become safe in another
  order than they were read: a protocol that needs reading order keeps it itself.
* ``close`` may be called at any time, more than once, and never raises.

A connector scales nothing, filters nothing and interprets no value.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from models.modbus import ModbusTemplate
from models.records.headers import Schema
from models.time import Duration


class ConnectorParameters(BaseModel):
    """Fields that every connector has."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gather: Duration = Field(
        100_000_000,
        description="Messages of an asset are gathered into one record for at most this long",
    )
    gather_messages: int = Field(
        500, ge=1, description="… or until there are this many, whichever comes first"
    )
    heartbeat: Duration = Field(
        5_000_000_000,
        gt=0,
        description="An asset silent for this long gets a heartbeat, which moves its time and"
        " closes its windows: longer than the longest regular pause of its source",
    )
    quiet: Duration = Field(
        60_000_000_000,
        gt=0,
        description="Connected, but without a message of any asset for this long: not ready",
    )


P = TypeVar("P", bound=ConnectorParameters)


@dataclass(frozen=True, slots=True)
class Message:
    """One thing a source said: what the runner gathers, lands and acknowledges."""

    asset: str
    #: What ``pack`` takes: OpcUaChange, ModbusPoll with its template, MqttMessage.
    item: Any
    #: Event time as far as it can be known without interpreting the payload, ns.
    t: int
    #: When it was received, ns.
    received: int
    #: Only messages of one group share a record (a Modbus template); within an asset.
    group: str = ""
    #: What ``acknowledge`` needs; None where the protocol has no acknowledgement.
    receipt: Any = None
    #: About how many bytes it adds to a record.
    size: int = 100


@dataclass(slots=True)
class Counters:
    """What a connector counts; the runner exports them. Losses always name a reason."""

    received: int = 0
    reconnects: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)

    def lose(self, reason: str, count: int = 1) -> None:
        """Count data that the source sent, or would have, and that will never land."""
        self.lost[reason] = self.lost.get(reason, 0) + count

    def error(self, reason: str, count: int = 1) -> None:
        """Count something that went wrong without losing data."""
        self.errors[reason] = self.errors.get(reason, 0) + count


@dataclass(frozen=True, slots=True)
class Environment:
    """What the runner gives a connector beside its parameters."""

    name: str
    #: A clientid that is stable over restarts (an MQTT persistent session needs one).
    client_id: str
    modbus_templates: Mapping[str, ModbusTemplate] = field(default_factory=dict)


class Connector(abc.ABC, Generic[P]):
    """Base of all connectors; one module in ``connectors/`` holds one of them."""

    #: The value of ``kind`` in the configuration, and the raw topic: ``raw.<kind>``.
    kind: ClassVar[str]
    #: Its parameter model.
    Parameters: ClassVar[type[ConnectorParameters]]
    #: Schema of the records that ``pack`` makes.
    schema: ClassVar[Schema]

    def __init__(self, parameters: P, environment: Environment) -> None:
        self.parameters = parameters
        self.environment = environment
        self.counters = Counters()

    @abc.abstractmethod
    async def open(self) -> None:
        """Connect and subscribe."""

    @abc.abstractmethod
    async def read(self) -> Sequence[Message]:
        """Wait for messages; at least one, unless the source said that it lives (then none).

        Returns without giving way to other tasks while something is queued, and may be cancelled
        while it waits without losing a message.
        """

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """These are safe: all messages of one record. A late call after a reconnect is safe."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Let go of the source."""

    @abc.abstractmethod
    def assets(self) -> frozenset[str]:
        """The assets that its parameters name; a source may bring up others by itself."""

    def may_bring(self, asset: str) -> bool:
        """Whether messages may come of an asset that the parameters do not name."""
        return False

    @classmethod
    @abc.abstractmethod
    def pack(cls, messages: Sequence[Message]) -> bytes:
        """The raw record of some messages of one asset and group."""

    def alive(self, asset: str) -> bool:
        """Whether the way to an asset is known to be open right now."""
        return True

    def problems(self) -> Sequence[str]:
        """What a person should look at, one sentence each: refused nodes, silent units."""
        return ()


def now() -> int:
    """Receive time: this machine's clock, ns."""
    return time.time_ns()
