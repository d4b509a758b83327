"""Which letters a person means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from app.redrive.letters import Letter
from models.errors import ConfigError
from models.time import NS_PER_MS, from_datetime, parse_duration


@dataclass(frozen=True, slots=True)
class Choice:
    """Filters; all given ones must hold. Times are ns, of the record's Kafka timestamp."""

    #: ``raw.opcua:3:1204``, a range ``raw.opcua:3:1200-1299``, ``raw.opcua:3`` or ``raw.opcua``.
    addresses: tuple[str, ...] = ()
    reason: str = ""
    step: str = ""
    key: str = ""
    since: int | None = None
    until: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant. Raises ConfigError for an address that is none."""
        dead = letter.dead
        time = dead.timestamp_ms * NS_PER_MS
        return (
            (not self.addresses or any(_at(letter, each) for each in self.addresses))
            and (not self.reason or fnmatchcase(dead.reason, self.reason))
            and (not self.step or fnmatchcase(dead.step, self.step))
            and (
                not self.key or fnmatchcase((dead.key or b"").decode("utf-8", "replace"), self.key)
            )
            and (self.since is None or time >= self.since)
            and (self.until is None or time < self.until)
        )


def moment(text: str, now: int, field: str) -> int:
    """A time, ns: ISO 8601 (UTC unless it says otherwise), or how long ago: ``10m``.

    Raises ConfigError.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return from_datetime(datetime.fromisoformat(text))
    except ValueError:
        raise ConfigError(
            "is no time such as 2026-11-21T14:00:00Z, and no duration such as 10m",
            field=field,
            value=text,
        ) from None


def _at(letter: Letter, address: str) -> bool:
    topic, partition, offsets = parsed(address)
    dead = letter.dead
    return (
        dead.topic == topic
        and partition in (None, dead.partition)
        and (offsets is None or dead.offset in offsets)
    )


def parsed(address: str) -> tuple[str, int | None, range | None]:
    """Topic, partition, offsets. Raises ConfigError for an address that is none."""
    topic, *rest = address.split(":")
    try:
        if len(rest) > 2 or not topic:
            raise ValueError
        partition = int(rest[0]) if rest else None
        if len(rest) < 2:
            return topic, partition, None
        first, _, last = rest[1].partition("-")
        return topic, partition, range(int(first), int(last or first) + 1)
    except ValueError:
        raise ConfigError(
            "a letter is TOPIC:PARTITION:OFFSET, such as raw.opcua:3:1204; offsets may be a range,"
            " 1200-1299, and what stands last may be left out",
            field="LETTER",
            value=address,
        ) from None
