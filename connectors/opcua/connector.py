"""OPC UA: monitors nodes and lands every change with its status and both its times.

What the protocol can lose is counted: what does not fit our queue while Kafka is away, what
overflowed the server's queue of an item (the server says so in the status), and notification
messages that never came (their numbers have a gap).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from connectors.base import Connector, Environment, Message, now
from connectors.opcua.parameters import OpcUaItem, OpcUaParameters
from models.errors import SourceUnavailable
from models.records.headers import RAW_OPCUA, Schema
from models.records.raw import OpcUaChange, encode_opcua

if TYPE_CHECKING:
    from connectors.opcua.line import Line

log = logging.getLogger("plantstream.opcua")

#: Most messages that one read returns: the loop's other tasks want their turn.
_READ = 2000
#: The node has no value yet: no sample, only the server's answer to a new monitored item.
_WAITING = 0x80320000
#: Info type "data value" with the overflow bit (OPC UA Part 4, 7.39.1).
_OVERFLOW = 0x480
_NS = 1_000_000_000


class OpcUaConnector(Connector[OpcUaParameters]):
    """Monitors the nodes of one OPC UA server."""

    kind: ClassVar[str] = "opcua"
    Parameters: ClassVar[type[OpcUaParameters]] = OpcUaParameters
    schema: ClassVar[Schema] = RAW_OPCUA

    def __init__(self, parameters: OpcUaParameters, environment: Environment) -> None:
        super().__init__(parameters, environment)
        self._items: tuple[OpcUaItem, ...] = parameters.items
        self._queue: deque[tuple[Any, int]] = deque()
        self._something = asyncio.Event()
        self._line: Line | None = None

    async def open(self) -> None:
        # asyncua takes seconds to load: not before it is needed
        from connectors.opcua.line import Line

        await self.close()
        self._line = Line(
            self.parameters,
            self.environment.name,
            self.counters,
            self._changed,
            self._something.set,
        )
        await self._line.start()

    def _changed(self, changes: Sequence[Any]) -> None:
        received = now()
        room = self.parameters.queue - len(self._queue)
        if room < len(changes):
            self.counters.lose("queue-full", len(changes) - max(room, 0))
            changes = changes[: max(room, 0)]
        self._queue.extend((change, received) for change in changes)
        self._something.set()

    async def read(self) -> Sequence[Message]:
        line = self._line
        if line is None:
            raise SourceUnavailable("not connected")
        while not self._queue:
            line.check()
            self._something.clear()
            try:
                await asyncio.wait_for(self._something.wait(), self.parameters.silence / _NS / 4)
            except TimeoutError:
                continue
        messages: list[Message] = []
        for _ in range(min(len(self._queue), _READ)):
            change, received = self._queue.popleft()
            self._add(messages, change, received)
        return messages

    def _add(self, messages: list[Message], change: Any, received: int) -> None:
        handle, value, status, source, server = change
        if not 1 <= handle <= len(self._items):
            # nobody knows what it is a value of: the rest of the message is good all the same
            if "unknown-handle" not in self.counters.lost:
                log.warning(
                    "%s: the server sends values of client handle %d, which nothing has;"
                    " they are counted", self.environment.name, handle,
                )  # fmt: skip
            self.counters.lose("unknown-handle")
            return
        if status & 0xFFFF0000 == _WAITING:
            self.counters.error("waiting-for-initial-data")
            return
        if status & _OVERFLOW == _OVERFLOW:
            self.counters.lose("server-queue-overflow")
        self.counters.received += 1
        item = self._items[handle - 1]
        t = source if source is not None else server if server is not None else received
        messages.append(
            Message(
                item.asset,
                OpcUaChange(item.tag, item.node, t, server or 0, status, value),
                t,
                received,
                size=60 if type(value) is not str else 60 + len(value),
            )
        )

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.stop()

    def assets(self) -> frozenset[str]:
        return frozenset(item.asset for item in self._items)

    @classmethod
    def pack(cls, messages: Sequence[Message]) -> bytes:
        return encode_opcua([message.item for message in messages], messages[-1].received)

    def alive(self, asset: str) -> bool:
        line = self._line
        if line is None or line.lost:
            return False
        if not line.refused:
            return True
        return any(
            item.asset == asset and handle not in line.refused
            for handle, item in enumerate(self._items, 1)
        )

    def problems(self) -> Sequence[str]:
        line = self._line
        if line is None:
            return ()
        return tuple(
            f"the server refuses node {line.item(handle).node}"
            f" ({line.item(handle).asset} {line.item(handle).tag}): {status}"
            for handle, status in sorted(line.refused.items())
        )
