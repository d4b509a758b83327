"""Bulk writes where a command fails as a whole, which the stores at hand do only for a while."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest
from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from app.store.documents import Source, Write
from app.store.writer import BulkWriter, Cancelled, Outcome

_SOURCE = Source("t", 0, 0, 0, None, None, {})
_UNKNOWN = 2


class _Store(dict[str, Any]):
    """A database that fails every command which holds a document called bad, or every command."""

    def __init__(self, down: bool = False) -> None:
        super().__init__()
        self.down = down
        self.taken: list[str] = []
        self.database, self.name = self, "c"

    def __getitem__(self, name: str) -> Any:
        return self

    def bulk_write(self, operations: list[Any], ordered: bool) -> None:
        ids = [operation._doc["_id"] for operation in operations]
        if self.down or any(each.startswith("bad") for each in ids):
            raise OperationFailure("nobody knows this error", _UNKNOWN)
        self.taken += ids

    def replace_one(self, *_: object, upsert: bool) -> None:
        if self.down:
            raise OperationFailure("nobody knows this error", _UNKNOWN)

    def drop(self) -> None:
        pass


def _store(store: _Store, ids: list[str]) -> tuple[Outcome, int]:
    """What became of documents, and how often the store was thought away; at most ten times."""
    writer = BulkWriter(
        cast(Any, store), {"o": "c"}, writers=1, bulk_documents=100, backoff=(1000, 1000)
    )
    cancelled, troubles = threading.Event(), 0

    def trouble(_why: str) -> None:
        nonlocal troubles
        troubles += 1
        if troubles >= 10:
            cancelled.set()

    writes = [
        Write("o", name, None, RawBSONDocument(encode({"_id": name})), 1, 0, _SOURCE)
        for name in ids
    ]
    try:
        return writer.store(writes, cancelled, trouble), troubles
    finally:
        writer.close()


@pytest.mark.parametrize("bad", [1, 2, 3])
def test_neighbouring_bad_documents_are_rejected_and_the_good_ones_kept(bad: int) -> None:
    store = _Store()
    wrong = [f"bad{n}" for n in range(bad)]
    outcome, troubles = _store(store, [*wrong, "good1", "good2"])
    assert sorted(write.id for write, _ in outcome.rejected) == wrong
    assert (outcome.stored, sorted(store.taken), troubles) == (2, ["good1", "good2"], 0)


@pytest.mark.parametrize("ids", [["one"], ["one", "two"]])
def test_a_store_that_takes_nothing_is_waited_for(ids: list[str]) -> None:
    """An error nobody knows that hits every document says nothing about any of them."""
    with pytest.raises(Cancelled):
        _store(_Store(down=True), ids)
