"""Collections, their indexes, and how long documents are kept.

One collection an output, ``<prefix><topology>_<output>``. Retention counts from when data arrived,
never from its event time: data dated 2013 that is loaded today stays as long as today's. For
readings that is ``received``, which the connector wrote. The other records carry no such time, so
where a retention is declared the sink adds ``stored``, the time of its own write. A later revision
moves it, and an anomaly or alarm that is still open has none: it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure

from app.store.client import Document, translated
from app.store.documents import OutputSpec
from app.store.failures import meaning, reason
from models.time import NS_PER_S
from models.topics import collection

#: The longest time MongoDB's ``expireAfterSeconds`` holds.
_MAX_SECONDS = 2**31 - 1
_OTHER_OPTIONS = (85, 86)  # IndexOptionsConflict, IndexKeySpecsConflict

Keys = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Index:
    """An index, and the question it answers."""

    keys: Keys
    question: str
    only: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name in MongoDB."""
        return "_".join(key for key, _ in self.keys) + ("_of" if self.only else "")


INDEXES: dict[str, tuple[Index, ...]] = {
    "readings": (
        Index((("asset", ASCENDING), ("end", DESCENDING)), "an asset over a time range"),
        Index(
            (("asset", ASCENDING), ("tags", ASCENDING), ("end", DESCENDING)),
            "a tag over a time range, its latest value",
        ),
        Index((("asset", ASCENDING), ("start", ASCENDING)), "blocks of many days", {"long": True}),
    ),
    "features": (
        Index((("asset", ASCENDING), ("end", DESCENDING)), "an asset over a time range"),
        Index(
            (("asset", ASCENDING), ("tag", ASCENDING), ("end", DESCENDING)),
            "a tag over a time range, its latest window",
        ),
    ),
    "late": (Index((("asset", ASCENDING), ("end", DESCENDING)), "an asset over a time range"),),
    "anomalies": (
        Index((("asset", ASCENDING), ("onset", DESCENDING)), "an asset over a time range"),
        Index((("onset", DESCENDING),), "open anomalies", {"state": "open"}),
    ),
    "alarms": (
        Index((("asset", ASCENDING), ("raised", DESCENDING)), "an asset over a time range"),
        Index((("raised", DESCENDING),), "open alarms", {"state": "raised"}),
    ),
}


def collection_name(prefix: str, topology: str, output: str) -> str:
    """``glass_readings``, with the prefix in front. See `app.settings.collisions`."""
    return prefix + collection(topology, output)


def kept_from(kind: str) -> str:
    """The field from which retention counts."""
    return "received" if kind == "readings" else "stored"


def prepare(
    database: Database[Document], prefix: str, topology: str, outputs: Iterable[OutputSpec]
) -> list[str]:
    """Create what indexes are missing and set retention; safe to repeat, from several processes.

    Returns what this store cannot do, or has otherwise, one sentence each. Raises StoreAway,
    StoreRefused.
    """
    warnings: dict[str, None] = {}
    with translated():
        for output in outputs:
            collection = database[collection_name(prefix, topology, output.name)]
            for index in INDEXES[output.kind]:
                warnings.update(dict.fromkeys(_create(collection, index)))
            warnings.update(dict.fromkeys(_retain(collection, output)))
    return list(warnings)


def _create(collection: Collection[Document], index: Index) -> list[str]:
    options: dict[str, Any] = {"partialFilterExpression": dict(index.only)} if index.only else {}
    try:
        collection.create_index(list(index.keys), name=index.name, **options)
    except OperationFailure as error:
        if error.code in _OTHER_OPTIONS:
            return [f"{collection.name}: index {index.name} is left as it is: {reason(error)}"]
        raise
    found = _find(collection, index.keys)
    if found is None:
        return [f"the store made no index for {index.question}"]
    if index.only and "partialFilterExpression" not in found:
        return ["the store has no partial indexes: they hold all documents"]
    return []


def _retain(collection: Collection[Document], output: OutputSpec) -> list[str]:
    field_name = kept_from(output.kind)
    keys: Keys = ((field_name, ASCENDING),)
    found = _find(collection, keys)
    if output.retention is None:
        if found is not None and "expireAfterSeconds" in found:
            collection.drop_index(found["name"])
        return []
    # Rounded up: 0 would delete at once.
    seconds = min(max(-(-output.retention // NS_PER_S), 1), _MAX_SECONDS)
    if _seconds(found) == seconds:
        return []
    if found is not None:
        _modify(collection, field_name, seconds)
        found = _find(collection, keys)
        if found is not None and _seconds(found) != seconds:
            collection.drop_index(found["name"])
            found = None
    if found is None:
        collection.create_index(list(keys), name="retention", expireAfterSeconds=seconds)
    if _seconds(_find(collection, keys)) != seconds:
        return ["the store deletes nothing by age: documents are kept for ever"]
    return []


def _modify(collection: Collection[Document], field_name: str, seconds: int) -> None:
    change = {"keyPattern": {field_name: 1}, "expireAfterSeconds": seconds}
    try:
        collection.database.command("collMod", collection.name, index=change)
    except OperationFailure as error:
        # It may not be a TTL index yet; then it is made anew.
        if meaning(error) != "bad":
            raise


def _seconds(found: Mapping[str, Any] | None) -> int | None:
    value = None if found is None else found.get("expireAfterSeconds")
    return None if value is None else int(value)


def _find(collection: Collection[Document], keys: Sequence[tuple[str, int]]) -> Any:
    """The index over these fields. Fields only: the embedded store forgets directions and names."""
    fields = [name for name, _ in keys]
    for index in collection.list_indexes():
        if list(index["key"]) == fields:
            return index
    return None
