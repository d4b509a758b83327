"""What stands between reading and landing: an ordered, bounded buffer of records.

Here in memory; a spool on disk has the same face. ``on_safe`` is called once per record, when the
source may forget it: for the memory when Kafka has it, for a spool when the disk has it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from app.shells.connector_runner.records import Record


class Outbox(Protocol):
    """Records in order; all methods are called in the runner's loop."""

    @property
    def full(self) -> bool:
        """Whether reading has to pause. ``put`` still takes what was read before."""

    @property
    def records(self) -> int:
        """How many have not landed."""

    @property
    def bytes(self) -> int:
        """About how many bytes they take."""

    def put(self, record: Record) -> None:
        """Append a record."""

    def take(self) -> Record | None:
        """The next record that was not taken yet."""

    def landed(self, record: Record) -> None:
        """Kafka has a record that was taken (or never will, which was counted)."""

    def left(self) -> Iterable[Record]:
        """All that has not landed."""

    def rewind(self) -> None:
        """All that was taken and did not land is to be taken again, in order."""

    async def wait_record(self) -> None:
        """Wait until there may be something to take."""

    async def wait_room(self) -> None:
        """Wait until it is not full."""

    async def wait_empty(self) -> None:
        """Wait until everything has landed."""


class MemoryOutbox:
    """An `Outbox` in memory, bounded by records and bytes. What is in it dies with the process."""

    def __init__(
        self, on_safe: Callable[[Record], None], *, max_records: int, max_bytes: int
    ) -> None:
        self._on_safe = on_safe
        self._max_records, self._max_bytes = max_records, max_bytes
        self._waiting: deque[Record] = deque()
        self._taken: OrderedDict[int, Record] = OrderedDict()
        self._bytes = 0
        self._record = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def full(self) -> bool:
        return not self._room.is_set()

    @property
    def records(self) -> int:
        return len(self._waiting) + len(self._taken)

    @property
    def bytes(self) -> int:
        return self._bytes

    def put(self, record: Record) -> None:
        self._waiting.append(record)
        self._bytes += record.size
        self._record.set()
        self._empty.clear()
        if self.records >= self._max_records or self._bytes >= self._max_bytes:
            self._room.clear()

    def take(self) -> Record | None:
        if not self._waiting:
            self._record.clear()
            return None
        record = self._waiting.popleft()
        self._taken[record.number] = record
        return record

    def landed(self, record: Record) -> None:
        if self._taken.pop(record.number, None) is None:
            return  # reported twice
        self._bytes -= record.size
        # room again only at three quarters, so that a pause is worth something
        if 4 * self.records <= 3 * self._max_records and 4 * self._bytes <= 3 * self._max_bytes:
            self._room.set()
        if not self._waiting and not self._taken:
            self._empty.set()
        self._on_safe(record)

    def left(self) -> Iterable[Record]:
        return [*self._taken.values(), *self._waiting]

    def rewind(self) -> None:
        again = sorted(self._taken.values(), key=lambda record: record.number)
        self._taken.clear()
        self._waiting.extendleft(reversed(again))
        if self._waiting:
            self._record.set()

    async def wait_record(self) -> None:
        await self._record.wait()

    async def wait_room(self) -> None:
        await self._room.wait()

    async def wait_empty(self) -> None:
        await self._empty.wait()
