"""Records on their way to Kafka: headers, event ids, timestamps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from connectors.base import Message
from models.records import headers, heartbeat
from models.records.headers import Schema
from models.records.heartbeat import Heartbeat
from models.time import NS_PER_MS, NS_PER_S

#: Kafka 4 refuses a timestamp more than an hour ahead, and the good records of its batch.
_AHEAD = 300 * NS_PER_S
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True, eq=False)
class Record:
    """One record that is to land, and the messages that are safe once it has."""

    number: int
    key: str
    value: bytes
    headers: list[tuple[str, bytes]]
    #: Milliseconds since 1970, as Kafka wants it.
    timestamp: int
    messages: Sequence[Message] = ()
    #: Where it is to land; empty: the connector's raw topic.
    topic: str = ""
    #: About how many bytes it keeps in memory, as it was made.
    size: int = field(init=False)
    #: Monotonic seconds at which it was handed to Kafka's client.
    handed: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        self.size = 2 * len(self.value) + 300


def session_id(start: int) -> str:
    """A session's name: its start, ns, in base 36."""
    text = ""
    while start:
        start, digit = divmod(start, 36)
        text = _DIGITS[digit] + text
    return text or "0"


class RecordMaker:
    """Numbers the records of one session of a connector and gives them their headers."""

    def __init__(
        self,
        connector: str,
        session: str,
        schema: Schema,
        config_version: str,
        pack: Callable[[Sequence[Message]], bytes],
        max_bytes: int,
    ) -> None:
        self._prefix = f"{connector}:{session}:"
        self._number = 0
        self._pack = pack
        self._max_bytes = max_bytes
        common = [
            (headers.CONNECTOR, connector.encode()),
            (headers.CONTENT_TYPE, headers.JSON),
            (headers.CONFIG_VERSION, config_version.encode()),
        ]
        self._raw = [(headers.SCHEMA, schema.header), *common]
        self._beat = [(headers.SCHEMA, headers.HEARTBEAT.header), *common]

    def data(self, messages: Sequence[Message], now: int) -> list[Record]:
        """The record of messages of one asset; several where one would be too large.

        One message alone is never cut: it may come out larger than Kafka takes.
        """
        value = self._pack(messages)
        limit = self._max_bytes - len(messages[0].asset.encode())
        if len(value) > limit and len(messages) > 1:
            half = len(messages) // 2
            return self.data(messages[:half], now) + self.data(messages[half:], now)
        newest = max(message.t for message in messages)
        return [self._record(messages[0].asset, value, self._raw, newest, now, messages)]

    def heartbeat(self, beat: Heartbeat) -> Record:
        """The record of a heartbeat."""
        value = heartbeat.encode(beat)
        return self._record(beat.asset, value, self._beat, beat.t, beat.received, ())

    def _record(
        self,
        asset: str,
        value: bytes,
        common: list[tuple[str, bytes]],
        t: int,
        now: int,
        messages: Sequence[Message],
    ) -> Record:
        number = self._number
        self._number += 1
        event_id = f"{self._prefix}{number}".encode()
        return Record(
            number,
            asset,
            value,
            [*common, (headers.EVENT_ID, event_id)],
            kafka_timestamp(t, now),
            messages,
        )


def kafka_timestamp(t: int, now: int) -> int:
    """Event time in ms, at most five minutes ahead and from 1970 on (0 would mean "now")."""
    return max(1, min(t, now + _AHEAD) // NS_PER_MS)
