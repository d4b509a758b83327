"""A store whose user may not drop collections."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from app.embedded import EmbeddedStack
from app.store import abilities

pytestmark = pytest.mark.integration


def test_what_a_store_can_do_is_found_without_the_right_to_drop(
    stack: EmbeddedStack,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refused(_self: Collection[Any], *_: object, **__: object) -> None:
        raise OperationFailure("not authorized to execute command drop", 13)

    monkeypatch.setattr(Collection, "drop", refused)
    caplog.set_level(logging.INFO, "plantstream.store")
    with MongoClient[dict[str, Any]](stack.endpoints.mongodb_uri) as client:
        database = client["probes"]
        prefix = "p" + "".join(c for c in topic_prefix if c.isalnum())
        first = abilities(database, prefix)
        assert abilities(database, prefix) == first
        assert database[f"{prefix}plantstream_probe"].count_documents({}) <= 2
    assert [r.getMessage() for r in caplog.records] == 2 * [
        f"{prefix}plantstream_probe is left in the store: not authorized to execute command drop"
    ]
