"""One batch on its way: records mapped to documents, written by a thread, offsets to commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import Message, TopicPartition

from app.kafka import read_headers
from app.store import BulkWriter, Cancelled, Mapper, Outcome, OutputSpec, Source, Write
from models.errors import PlantstreamError, RecordError
from models.records import headers


@dataclass(slots=True)
class Batch:
    """Records of one poll. After `start` the outcome or the error is there when `done` is set."""

    writes: list[Write] = field(default_factory=list)
    #: Records that are no documents, and why.
    malformed: list[tuple[Source, RecordError]] = field(default_factory=list)
    #: Records by output name.
    records: dict[str, int] = field(default_factory=dict)
    #: The offset after the last record of each partition.
    next_offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome | None = None
    error: BaseException | None = None
    seconds: float = 0.0

    def start(self, writer: BulkWriter, trouble: Callable[[str], None]) -> None:
        """Write it on a thread of its own."""
        threading.Thread(
            target=self._run, args=(writer, trouble), name="sink-batch", daemon=True
        ).start()

    def _run(self, writer: BulkWriter, trouble: Callable[[str], None]) -> None:
        begun = time.monotonic()
        try:
            self.outcome = writer.store(self.writes, self.cancelled, trouble)
        except Cancelled:
            pass
        except BaseException as error:
            self.error = error
        self.seconds = time.monotonic() - begun
        self.done.set()

    @property
    def offsets(self) -> list[TopicPartition]:
        """What to commit when everything in it is written."""
        return [TopicPartition(t, p, offset) for (t, p), offset in self.next_offsets.items()]


def gather(
    messages: Sequence[Message], mapper: Mapper, outputs: Mapping[str, OutputSpec], now_ms: int
) -> Batch:
    """A batch of consumed messages; ``outputs`` by topic."""
    batch = Batch()
    for message in messages:
        source = source_of(message)
        output = outputs[source.topic]
        batch.records[output.name] = batch.records.get(output.name, 0) + 1
        batch.next_offsets[source.topic, source.partition] = source.offset + 1
        reader = source.headers.get(headers.REDRIVE_FOR)
        if reader is not None and reader != f"sink:{mapper.topology}".encode():
            continue  # a topology that reads this output failed on it; this sink did not
        try:
            batch.writes += mapper.writes(output, source, now_ms)
        except RecordError as error:
            batch.malformed.append((source, error))
        except (PlantstreamError, ValueError, TypeError, ArithmeticError, LookupError) as error:
            # A record no decoder foresaw must not stop the sink either.
            found = RecordError(f"{type(error).__name__}: {error}")
            batch.malformed.append((source, found))
    return batch


def source_of(message: Message) -> Source:
    """The record as the mapping reads it. Headers that cannot be read name no schema."""
    return Source(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        _bytes(message.key()),
        _bytes(message.value()),
        read_headers(message),
    )


def _bytes(given: object) -> bytes | None:
    return given if isinstance(given, bytes) else None
