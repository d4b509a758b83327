"""The dead letters of a topology and of its sink, and which of them were sent back already.

A letter is known by the address of the record that failed: ``raw.opcua:3:1204``. A sink may write
the letter of one record twice; the last one counts. A connector's letters (``connect/<name>``) are
of records that landed nowhere: partition -1, and no other bytes of them than the letter's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.kafka import KafkaSettings, read_headers
from app.kafka.reading import committed_records, records_at
from models.errors import ConfigError, RecordError
from models.records import deadletter, headers
from models.records.deadletter import DeadLetter
from models.time import NS_PER_MS, iso

_ROLE = "redrive"
#: How the worker and the sink say that they left a record where it lay.
_STRIPPED = ("bytes were left where they are", "too large to be kept here")


@dataclass(frozen=True, slots=True)
class Mark:
    """That a letter was sent back."""

    #: When, ns, the last time.
    at: int
    #: How often.
    times: int


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and whether it was sent back."""

    dead: DeadLetter
    mark: Mark | None = None

    @property
    def address(self) -> str:
        """Where the record that failed lay."""
        return f"{self.dead.topic}:{self.dead.partition}:{self.dead.offset}"

    @property
    def stripped(self) -> bool:
        """Whether the record was too large to be kept in its letter."""
        return self.dead.value is None and any(text in self.dead.error for text in _STRIPPED)

    @property
    def landed(self) -> bool:
        """Whether the record that failed was on its topic; a connector's never was."""
        return self.dead.partition >= 0

    def check_whole(self) -> None:
        """Raises ConfigError where the record's bytes are not known."""
        if self.stripped:
            raise ConfigError(
                f"{self.address}: the record was too large for its letter, which holds only its"
                " first bytes: give its payload with --replace, or choose other letters"
                if not self.landed
                else f"{self.address}: the record was too large for its letter"
            )

    @property
    def redrives(self) -> int:
        """How often the record had been sent through again when it failed."""
        given = self.dead.headers.get(headers.REDRIVES, b"0")
        return int(given) if given.isdigit() else 0

    def as_json(self) -> dict[str, Any]:
        """For scripts; without the payload."""
        dead = self.dead
        return {
            "letter": self.address,
            "topology": dead.topology,
            "version": dead.version,
            "step": dead.step,
            "reason": dead.reason,
            "error": dead.error,
            "key": None if dead.key is None else dead.key.decode("utf-8", "replace"),
            "timestamp_ms": dead.timestamp_ms,
            "time": iso(dead.timestamp_ms * NS_PER_MS),
            "bytes": None if dead.value is None else len(dead.value),
            "redrives": self.redrives,
            "redriven": None if self.mark is None else iso(self.mark.at),
        }


def mark_key(topology: str, address: str) -> bytes:
    """The key of a mark: whose letter it is, and of which record."""
    return f"{topology}|{address}".encode()


def read_letters(
    kafka: KafkaSettings,
    topology: str,
    seen: Callable[[int], None] | None = None,
    takes: Callable[[Letter], bool] = lambda letter: True,
) -> list[Letter]:
    """The dead letters of a topology and its sink, or of a connector (``connect/<name>``).

    By the address of what failed. Only those that ``takes`` takes are held meanwhile; it does not
    see their marks. Raises TransportError.
    """
    wanted = (topology, f"sink:{topology}")
    found: dict[tuple[str, str], Letter] = {}
    for message in committed_records(kafka, kafka.topics.dead_letters, _ROLE, seen):
        try:
            letter = Letter(deadletter.decode(message.value()))
        except RecordError:
            continue  # somebody else's record; ours are always whole
        if letter.dead.topology not in wanted:
            continue
        name = letter.dead.topology, letter.address
        if takes(letter):
            found[name] = letter
        else:
            found.pop(name, None)  # the last one counts, also where it is not meant
    marks = read_marks(kafka)
    marked = [
        replace(letter, mark=marks.get(mark_key(letter.dead.topology, letter.address)))
        for letter in found.values()
    ]
    return sorted(marked, key=lambda one: (one.dead.topic, one.dead.partition, one.dead.offset))


def read_marks(kafka: KafkaSettings) -> dict[bytes, Mark]:
    """All marks by key. Raises TransportError."""
    marks: dict[bytes, Mark] = {}
    for message in committed_records(kafka, kafka.topics.redriven, _ROLE):
        key, value = message.key(), message.value()
        if not key:
            continue
        if not value:
            marks.pop(key, None)
            continue
        given = orjson.loads(value)
        marks[key] = Mark(given["at"], given["times"])
    return marks


def whole(kafka: KafkaSettings, letters: list[Letter]) -> list[Letter]:
    """The same letters, with the bytes of records that were too large for theirs.

    A record that landed nowhere stays as its letter has it.

    Raises ConfigError where Kafka has deleted such a record meanwhile, TransportError.
    """
    places = [(one.dead.topic, one.dead.partition, one.dead.offset) for one in letters]
    lacking = [at for one, at in zip(letters, places, strict=True) if one.stripped and one.landed]
    there = records_at(kafka, lacking, _ROLE) if lacking else {}
    result = []
    for letter, at in zip(letters, places, strict=True):
        message = there.get(at)
        if message is not None:
            given = {"key": message.key(), "value": message.value()}
            dead = replace(letter.dead, **given, headers=read_headers(message))
            result.append(replace(letter, dead=dead))
        elif letter.stripped and letter.landed:
            raise ConfigError(
                f"{letter.address}: the record was too large for its letter, and Kafka has deleted"
                " it meanwhile"
            )
        else:
            result.append(letter)
    return result
