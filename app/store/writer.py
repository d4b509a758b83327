"""Bulk writes: each document is stored, or known to be no newer than what is there, or rejected."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import InsertOne, ReplaceOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError, PyMongoError

from app.store.client import Document, StoreAway, StoreRefused, remove, translate
from app.store.documents import Write
from app.store.failures import DUPLICATE_KEY, meaning, meaning_of_code, reason
from app.store.pool import DaemonPool
from models.time import NS_PER_S

Trouble = Callable[[str], None]


class Cancelled(Exception):
    """The caller gave up on a batch; what was written of it is written."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    #: Documents stored, and samples in them.
    stored: int = 0
    samples: int = 0
    #: Older than another revision in the store or in the batch, or the same.
    unchanged: int = 0
    #: Documents the store does not take, and why.
    rejected: list[tuple[Write, str]] = field(default_factory=list)
    #: Documents that were tried again.
    retried: int = 0


@dataclass(slots=True)
class _Chunk:
    """What became of one bulk write."""

    stored: list[Write] = field(default_factory=list)
    unchanged: int = 0
    rejected: list[tuple[Write, str]] = field(default_factory=list)
    again: list[Write] = field(default_factory=list)
    trouble: str = ""


class BulkWriter:
    """Writes batches into the collections of one topology.

    ``names`` gives the collection of each output. A store that is away is waited for, with pauses
    between ``backoff`` (shortest, longest; ns) with jitter, for as long as it takes.
    """

    def __init__(
        self,
        database: Database[Document],
        names: Mapping[str, str],
        *,
        writers: int,
        bulk_documents: int,
        backoff: tuple[int, int],
    ) -> None:
        self._collections = {output: database[name] for output, name in names.items()}
        self._pool = DaemonPool(writers, "bulk-write")
        self._bulk = bulk_documents
        self._backoff = tuple(ns / NS_PER_S for ns in backoff)

    def close(self) -> None:
        """Let the writing threads end."""
        self._pool.close()

    def store(
        self, writes: Iterable[Write], cancelled: threading.Event, trouble: Trouble
    ) -> Outcome:
        """Write until nothing is left; ``trouble`` hears of each time the store was away.

        Raises Cancelled, or StoreRefused when waiting would not help.
        """
        outcome = Outcome()
        todo, older = _newest(writes)
        outcome.unchanged += sum(map(len, older.values()))
        shortest, pause = self._backoff[0], self._backoff[0]
        while todo:
            if cancelled.is_set():
                raise Cancelled
            again: list[Write] = []
            reasons: list[str] = []
            for chunk in self._round(todo):
                outcome.stored += len(chunk.stored)
                outcome.samples += sum(write.samples for write in chunk.stored)
                outcome.unchanged += chunk.unchanged
                for write, why in chunk.rejected:
                    outcome.rejected.append((write, why))
                    # One of the same id that came before it stands now.
                    if before := older.get((write.output, write.id)):
                        again.append(before.pop())
                        outcome.unchanged -= 1
                again += chunk.again
                if chunk.trouble:
                    reasons.append(chunk.trouble)
                outcome.retried += len(chunk.again)
            if reasons:
                if len(again) < len(todo):
                    pause = shortest  # some got through
                trouble(reasons[0])
                if cancelled.wait(pause * random.uniform(0.5, 1.0)):
                    raise Cancelled
                pause = min(pause * 2, self._backoff[1])
            todo = again
        return outcome

    def _round(self, writes: Sequence[Write]) -> list[_Chunk]:
        """One attempt at all writes, in parallel."""
        by_output: dict[str, list[Write]] = {}
        for write in writes:
            by_output.setdefault(write.output, []).append(write)
        chunks = [
            group[at : at + self._bulk]
            for group in by_output.values()
            for at in range(0, len(group), self._bulk)
        ]
        futures = [
            self._pool.submit(lambda chunk=chunk: self._attempt(chunk))  # type: ignore[misc]
            for chunk in chunks
        ]
        return [future.result() for future in futures]

    def _attempt(self, writes: list[Write]) -> _Chunk:
        try:
            chunk, doubtful = self._bulk_write(writes, first=True)
            if doubtful:
                # The document is there already, perhaps only since another writer made it a
                # moment ago: now it is replaced, if its revision is lower.
                second, doubtful = self._bulk_write(doubtful, first=False)
                chunk.stored += second.stored
                chunk.rejected += second.rejected
                chunk.again += second.again
                chunk.trouble = chunk.trouble or second.trouble
                newer = [write for write in doubtful if write.revision is not None]
                chunk.unchanged += len(newer)
                chunk.rejected += [
                    (write, "a unique index of the collection has its values already")
                    for write in doubtful
                    if write.revision is None
                ]
            return chunk
        except StoreAway as error:
            return _Chunk(again=writes, trouble=str(error))

    def _bulk_write(self, writes: list[Write], *, first: bool) -> tuple[_Chunk, list[Write]]:
        """One bulk write; also those writes that failed on an ``_id`` that is there already.

        Raises StoreAway or StoreRefused where nothing is known of any of them.
        """
        operations = [_operation(write, first) for write in writes]
        try:
            self._collections[writes[0].output].bulk_write(operations, ordered=False)
        except BulkWriteError as error:
            return _judged(writes, error.details)
        except PyMongoError as error:
            if meaning(error) == "bad":
                return self._halves(writes, error), []
            raise translate(error) from error
        return _Chunk(stored=writes), []

    def _halves(self, writes: list[Write], error: PyMongoError) -> _Chunk:
        """A command failed as a whole: find the document that made it fail.

        Raises StoreAway where the store takes no other document either: then it was not this one.
        """
        if len(writes) == 1:
            self._probe(writes[0].output)
            return _Chunk(rejected=[(writes[0], reason(error))])
        middle = len(writes) // 2
        merged = _Chunk()
        for half in (writes[:middle], writes[middle:]):
            chunk = self._attempt(half)
            merged.stored += chunk.stored
            merged.unchanged += chunk.unchanged
            merged.rejected += chunk.rejected
            merged.again += chunk.again
            merged.trouble = merged.trouble or chunk.trouble
        return merged

    def _probe(self, output: str) -> None:
        """Raise StoreAway unless a document that is surely good is taken, beside the collection."""
        beside = self._collections[output]
        probe = beside.database[f"{beside.name}.probe"]
        try:
            probe.replace_one({"_id": "good"}, {"_id": "good"}, upsert=True)
            remove(probe)
        except PyMongoError as error:
            raise StoreAway(reason(error)) from error


def _newest(
    writes: Iterable[Write],
) -> tuple[list[Write], dict[tuple[str, str], list[Write]]]:
    """The write that counts for each document, and those of the same id before it, in order.

    In an unordered bulk two of one id could be applied in either order.
    """
    newest: dict[tuple[str, str], Write] = {}
    older: dict[tuple[str, str], list[Write]] = {}
    for write in writes:
        key = (write.output, write.id)
        known = newest.get(key)
        if known is None:
            newest[key] = write
        elif (known.revision or 0) <= (write.revision or 0):
            older.setdefault(key, []).append(known)
            newest[key] = write
        else:
            older.setdefault(key, []).append(write)
    for before in older.values():
        before.sort(key=lambda write: write.revision or 0)
    return list(newest.values()), older


def _operation(write: Write, first: bool) -> InsertOne[Any] | ReplaceOne[Any]:
    # Almost all documents are new: an insert costs half of an upsert, and fails where one is there.
    if first and not write.revision:
        return InsertOne(write.document)
    # Where the stored revision is not lower nothing matches, and the upsert fails on the _id: an
    # error that says "unchanged". A pipeline update would need none, but the embedded store has
    # no such.
    given: dict[str, Any] = {"_id": write.id}
    if write.revision is not None:
        given["revision"] = {"$lt": write.revision}
    return ReplaceOne(given, write.document, upsert=True)


def _judged(writes: list[Write], details: Mapping[str, Any]) -> tuple[_Chunk, list[Write]]:
    if concerns := details.get("writeConcernErrors"):
        # Written, but perhaps not by a majority: a repeat changes nothing and asks again.
        raise StoreAway(reason(concerns[0]))
    failed: set[int] = set()
    chunk = _Chunk()
    doubtful: list[Write] = []
    for error in details["writeErrors"]:
        index, code = error["index"], error["code"]
        failed.add(index)
        write, text = writes[index], reason(error)
        what = meaning_of_code(code, text)
        if what == "refused":
            raise StoreRefused(text)
        if what == "retry":
            chunk.again.append(write)
            chunk.trouble = text
        elif _same_id(error):
            doubtful.append(write)
        else:
            chunk.rejected.append((write, text))
    chunk.stored = [write for index, write in enumerate(writes) if index not in failed]
    return chunk, doubtful


def _same_id(error: Mapping[str, Any]) -> bool:
    """Whether a write failed on the ``_id`` of its own document, not on a site's unique index."""
    if error["code"] != DUPLICATE_KEY:
        return False
    if "keyPattern" in error:
        return list(error["keyPattern"]) == ["_id"]
    # The embedded store says which only in words: "UNIQUE constraint failed: collection._id".
    return str(error.get("errmsg", "")).endswith("._id")
