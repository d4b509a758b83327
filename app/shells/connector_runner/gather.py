"""Gathers small messages of an asset into batches, without delaying any for longer than asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.base import Message

_Key = tuple[str, str]


@dataclass(slots=True)
class _Batch:
    deadline: int
    messages: list[Message] = field(default_factory=list)
    size: int = 0


class Gatherer:
    """Batches by (asset, group), in order. Times are ns of one clock, whichever the caller's."""

    def __init__(self, delay: int, max_messages: int, max_bytes: int) -> None:
        self._delay, self._max_messages, self._max_bytes = delay, max_messages, max_bytes
        #: In order of their deadlines: all are given the same delay.
        self._batches: dict[_Key, _Batch] = {}

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def deadline(self) -> int | None:
        """When the next batch is due."""
        for batch in self._batches.values():
            return batch.deadline
        return None

    def add(self, message: Message, now: int) -> list[list[Message]]:
        """Add a message; the batches that are complete with it (or because of it), in order."""
        key = (message.asset, message.group)
        batch = self._batches.get(key)
        done: list[list[Message]] = []
        if batch is not None and batch.size + message.size > self._max_bytes:
            done.append(self._batches.pop(key).messages)
            batch = None
        if batch is None:
            batch = self._batches[key] = _Batch(now + self._delay)
        batch.messages.append(message)
        batch.size += message.size
        if len(batch.messages) >= self._max_messages or batch.size >= self._max_bytes:
            done.append(self._batches.pop(key).messages)
        return done

    def due(self, now: int) -> list[list[Message]]:
        """The batches whose time has come."""
        keys = []
        for key, batch in self._batches.items():
            if batch.deadline > now:
                break
            keys.append(key)
        return [self._batches.pop(key).messages for key in keys]

    def flush(self) -> list[list[Message]]:
        """All batches."""
        batches = [batch.messages for batch in self._batches.values()]
        self._batches.clear()
        return batches
