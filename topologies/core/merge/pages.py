"""Records that wait for others, in state: pages of entries in the order in which they arrived.

Adding an entry writes the last page alone, however much waits. A page goes when all of its entries
have been released; the last one is tidied whenever it is written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from topologies.core.state import CHUNK, Memory

#: Bytes at which a page is full, and entries.
_PAGE = 32 * 1024
_ENTRIES = 64
#: A longer payload than this is cut over pages of its own.
_PIECE = CHUNK - 4096
#: Bytes that an entry counts beside its payload.
_OVERHEAD = 128

#: Format, kind, length of the event id; cut, low, floor, received, timestamp, offset; partition,
#: length of the payload, number of its first piece or 0.
_ENTRY = struct.Struct("<BBHxxxxqqqqqqiII")
#: Format, padding; next page's number, pages.
_INDEX = struct.Struct("<BxxxxxxxII")
#: Number, padding; lowest and highest cut, bytes.
_PLACE = struct.Struct("<IxxxxqqI")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One record that waits."""

    #: "rows", "tick" (nothing but time) or "table".
    kind: int
    #: Everything up to this event time is released together, at the latest here.
    cut: int
    #: Its oldest row.
    low: int
    #: What had been released when it arrived: a table's rows up to here are valid from then on.
    floor: int
    received: int
    timestamp_ms: int
    partition: int
    offset: int
    event_id: bytes
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes it counts."""
        return _OVERHEAD + len(self.event_id) + len(self.payload)


ROWS, TICK, TABLE = 0, 1, 2


@dataclass(slots=True)
class _Page:
    number: int
    low: int
    high: int
    size: int


class Pages:
    """The entries of one key. Nothing is written before :meth:`save`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._entries: dict[int, list[Entry]] = {}
        self._dirty: set[int] = set()
        self._gone: list[int] = []
        self._next, self._pages = 1, list[_Page]()
        data = memory.get("pages")
        if data is not None:
            _, self._next, count = _INDEX.unpack_from(data)
            for place in range(count):
                found = _PLACE.unpack_from(data, _INDEX.size + place * _PLACE.size)
                self._pages.append(_Page(*found))
        self._changed = False

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return sum(page.size for page in self._pages)

    def add(self, entry: Entry) -> None:
        """Put an entry at the end."""
        self._changed = True
        last = self._pages[-1] if self._pages else None
        if last is not None:
            entries = self._of(last.number)
            if last.size + entry.size > _PAGE or len(entries) >= _ENTRIES:
                last = None
        if last is None:
            last = _Page(self._next, entry.low, entry.cut, 0)
            self._pages.append(last)
            self._entries[last.number] = []
            # Pieces of a long payload lie under the numbers after its page's.
            self._next += 1 + len(entry.payload) // _PIECE
        self._entries[last.number].append(entry)
        self._dirty.add(last.number)
        self._measure(last)

    def waiting(self, until: int) -> Iterator[Entry]:
        """Entries that have a row, or their cut, at or before ``until``, as they arrived."""
        for page in self._pages:
            if page.low <= until:
                yield from self._of(page.number)

    def cuts(self) -> Iterator[tuple[int, int]]:
        """(cut, size) of every entry that has a cut."""
        for page in self._pages:
            for entry in self._of(page.number):
                if entry.kind != TABLE:
                    yield entry.cut, entry.size

    def release(self, until: int) -> None:
        """Forget entries that have nothing after ``until``."""
        last = self._pages[-1].number if self._pages else 0
        for page in list(self._pages):
            if page.high <= until:
                self._gone.append(page.number)
                self._of(page.number)  # for its pieces
                self._pages.remove(page)
                self._changed = True
            elif page.number == last and page.low <= until:
                kept = [entry for entry in self._of(page.number) if entry.cut > until]
                if len(kept) < len(self._entries[page.number]):
                    self._entries[page.number] = kept
                    self._dirty.add(page.number)
                    self._measure(page)
                    self._changed = True

    def save(self) -> None:
        """Write what changed."""
        if not self._changed:
            return
        for number in self._gone:
            self._memory.drop(f"page.{number}")
            for entry in self._entries.get(number, ()):
                for piece in range(1, 1 + len(entry.payload) // _PIECE):
                    self._memory.drop(f"page.{number + piece}")
        places = b"".join(_PLACE.pack(p.number, p.low, p.high, p.size) for p in self._pages)
        for number in sorted(self._dirty.difference(self._gone)):
            self._write(number)
        self._memory.put(_INDEX.pack(_FORMAT, self._next, len(self._pages)) + places, "pages")
        self._dirty.clear()
        self._gone.clear()
        self._changed = False

    def _measure(self, page: _Page) -> None:
        entries = self._entries[page.number]
        page.low = min(min(entry.low, entry.cut) for entry in entries)
        page.high = max(entry.cut for entry in entries)
        page.size = sum(entry.size for entry in entries)

    def _of(self, number: int) -> list[Entry]:
        known = self._entries.get(number)
        if known is None:
            known = self._entries[number] = list(self._read(number))
        return known

    def _write(self, number: int) -> None:
        parts: list[bytes] = [bytes((_FORMAT,)), bytes(15)]
        for entry in self._entries[number]:
            pieces = len(entry.payload) // _PIECE
            parts.append(
                _ENTRY.pack(
                    _FORMAT, entry.kind, len(entry.event_id), entry.cut, entry.low, entry.floor,
                    entry.received, entry.timestamp_ms, entry.offset, entry.partition,
                    len(entry.payload), pieces,
                )
            )  # fmt: skip
            parts += (entry.event_id, entry.payload[:_PIECE])
            for piece in range(1, 1 + pieces):
                data = entry.payload[piece * _PIECE : (piece + 1) * _PIECE]
                self._memory.put(bytes((_FORMAT,)) + bytes(15) + data, f"page.{number + piece}")
        self._memory.put(b"".join(parts), f"page.{number}")

    def _read(self, number: int) -> Iterator[Entry]:
        data = self._memory.get(f"page.{number}") or b""
        place = 16
        while place < len(data):
            (_, kind, name, cut, low, floor, received, stamp, offset, partition, length, pieces) = (
                _ENTRY.unpack_from(data, place)
            )
            place += _ENTRY.size
            event_id = data[place : place + name]
            place += name
            here = min(length, _PIECE)
            payload = data[place : place + here]
            place += here
            for piece in range(1, 1 + pieces):
                payload += (self._memory.get(f"page.{number + piece}") or b"")[16:]
            yield Entry(
                kind, cut, low, floor, received, stamp, partition, offset, event_id, payload
            )
