"""What the gateway and ``status`` ask the store. Times are int64 ns; ranges are half-open.

The embedded store compares dates by the second, so dates choose the documents (with an index) and
the exact times in them decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from bson.datetime_ms import DatetimeMS
from numpy.typing import NDArray
from pymongo import DESCENDING
from pymongo.collection import Collection
from pymongo.database import Database

from app.store.client import Document, translated
from app.store.collections import collection_name
from app.store.documents import LONG
from app.store.reading import read_alarm, read_anomaly, read_block
from models.records.block import Block
from models.records.events import Alarm, Anomaly

#: Documents fetched at once.
_BATCH = 200


class Sample(NamedTuple):
    """One sample of a tag: event time, value as Python holds it, QARTOD flag, protocol's code."""

    t: int
    value: Any
    q: int
    code: int


@dataclass(frozen=True, slots=True)
class Row:
    """One window of a tag."""

    window: str
    asset: str
    tag: str
    start: int
    end: int
    count: int
    bad: int
    stats: Mapping[str, float | None]
    partial: int
    #: Whether it has closed: others are what was known of it at a time.
    final: bool = True


class Queries:
    """Reads one topology's collections. All methods raise StoreAway, StoreRefused or StoreError."""

    def __init__(self, database: Database[Document], topology: str, prefix: str = "") -> None:
        self._database = database
        self._topology = topology
        self._prefix = prefix

    def _collection(self, output: str) -> Collection[Document]:
        return self._database[collection_name(self._prefix, self._topology, output)]

    def assets(self, output: str = "readings") -> list[str]:
        """Names of all assets of which there is something, sorted."""
        with translated():
            return sorted(self._collection(output).distinct("asset"))

    def tags(self, asset: str, output: str = "readings") -> list[str]:
        """Names of all tags of an asset, sorted."""
        with translated():
            return sorted(self._collection(output).distinct("tags", {"asset": asset}))

    def latest(
        self, asset: str, tags: Iterable[str] | None = None, output: str = "readings"
    ) -> dict[str, Sample]:
        """The sample with the newest event time of each tag; tags without any are left out."""
        wanted = self.tags(asset, output) if tags is None else list(tags)
        found = {tag: self._latest(asset, tag, output) for tag in wanted}
        return {tag: sample for tag, sample in found.items() if sample is not None}

    def _latest(self, asset: str, tag: str, output: str) -> Sample | None:
        best: Sample | None = None
        with translated():
            cursor = self._collection(output).find({"asset": asset, "tags": tag})
            for document in cursor.sort("end", DESCENDING).batch_size(4):
                # The newest sample of a block may be another tag's; by the second, see above.
                if best is not None and document["end_ns"] + 1_000_000_000 <= best.t:
                    break
                for sample in _samples(read_block(document), tag):
                    if best is None or sample.t >= best.t:
                        best = sample
        return best

    def readings(
        self,
        asset: str,
        tag: str,
        start: int,
        stop: int,
        *,
        limit: int = 100_000,
        output: str = "readings",
    ) -> list[Sample]:
        """Samples with ``start <= t < stop`` in order of event time, at most the first ``limit``.

        Samples that are there twice (a device sent them again) are there twice.
        """
        samples: list[Sample] = []
        with translated():
            for document in self._find(output, {"asset": asset, "tags": tag}, start, stop):
                samples += _samples(read_block(document), tag, start, stop)
        samples.sort(key=lambda sample: sample.t)
        return samples[:limit]

    def features(
        self,
        asset: str,
        start: int,
        stop: int,
        *,
        tag: str | None = None,
        window: str | None = None,
        output: str = "features",
    ) -> list[Row]:
        """Windows that end in ``start < end <= stop``, in order of their end."""
        given: dict[str, Any] = {"asset": asset}
        if tag is not None:
            given["tag"] = tag
        if window is not None:
            given["window"] = window
        given["end"] = {"$gt": _date(start - 1_000_000_000), "$lte": _date(stop)}
        given["end_ns"] = {"$gt": start, "$lte": stop}
        with translated():
            rows = [_row(d) for d in self._collection(output).find(given).batch_size(_BATCH)]
        return sorted(rows, key=lambda row: (row.end, row.tag, row.window, row.start))

    def open_alarms(self, asset: str | None = None, output: str = "alarms") -> list[Alarm]:
        """Alarms that are raised and not cleared, newest first."""
        return self._events(read_alarm, output, "raised", "raised", asset)

    def open_anomalies(self, asset: str | None = None, output: str = "anomalies") -> list[Anomaly]:
        """Anomalies that last, newest first."""
        return self._events(read_anomaly, output, "open", "onset", asset)

    def alarms(self, limit: int = 100, output: str = "alarms") -> list[Alarm]:
        """The alarms raised last, open or not, newest first."""
        return self._events(read_alarm, output, None, "raised", None, limit)

    def anomalies(self, limit: int = 100, output: str = "anomalies") -> list[Anomaly]:
        """The anomalies that began last, open or not, newest first."""
        return self._events(read_anomaly, output, None, "onset", None, limit)

    def _events(
        self,
        read: Callable[[Mapping[str, Any]], Any],
        output: str,
        state: str | None,
        by: str,
        asset: str | None,
        limit: int = 0,
    ) -> list[Any]:
        given: dict[str, Any] = {}
        if state is not None:
            given["state"] = state
        if asset is not None:
            given["asset"] = asset
        with translated():
            cursor = self._collection(output).find(given).sort(by, DESCENDING).limit(limit)
            found = [read(document) for document in cursor]
        return sorted(found, key=lambda event: (-getattr(event, by), event.id))

    def counts(self, outputs: Sequence[str]) -> dict[str, int]:
        """Documents in the collection of each output; quick, from its metadata."""
        with translated():
            return {o: self._collection(o).estimated_document_count() for o in outputs}

    def sample_count(self, output: str = "readings") -> int:
        """Samples in all readings documents. Reads one number of each document."""
        with translated():
            found = self._collection(output).find({}, {"n": 1}).batch_size(10_000)
            return sum(int(document["n"]) for document in found)

    def _find(
        self, output: str, given: Mapping[str, Any], start: int, stop: int
    ) -> Iterator[Document]:
        """Blocks that overlap a range: those that end in it or soon after it, and the long ones."""
        exact = {"start_ns": {"$lt": stop}, "end_ns": {"$gte": start}}
        dates = {"$gte": _date(start), "$lte": _date(stop + LONG)}
        ending = {**given, "end": dates, **exact, "long": {"$exists": False}}
        spanning = {**given, "start": {"$lte": _date(stop)}, **exact, "long": True}
        for choice in (ending, spanning):
            yield from self._collection(output).find(choice).batch_size(_BATCH)


def _samples(
    block: Block, tag: str, start: int | None = None, stop: int | None = None
) -> list[Sample]:
    if tag not in block.tags:
        return []
    chosen: NDArray[np.bool_] = block.tag == block.tags.index(tag)
    if start is not None and stop is not None:
        chosen &= (block.t >= start) & (block.t < stop)
    taken = block.take(chosen)
    codes = taken.code.tolist() if taken.code.size else [0] * len(taken)
    columns = (taken.t.tolist(), taken.exact(), taken.q.tolist(), codes)
    return [Sample(*entry) for entry in zip(*columns, strict=True)]


def _row(document: Mapping[str, Any]) -> Row:
    return Row(
        window=document["window"],
        asset=document["asset"],
        tag=document["tag"],
        start=document["start_ns"],
        end=document["end_ns"],
        count=document["count"],
        bad=document["bad"],
        stats=dict(document["stats"]),
        partial=document["partial"],
        final=document.get("final", True),
    )


def _date(ns: int) -> DatetimeMS:
    return DatetimeMS(ns // 1_000_000)
