"""What is released together: the rows of all contributors up to one event time, in order.

Where a unit ends depends on the contributors' own records alone, never on the order in which those
of different contributors arrived. So the same records give the same units, and the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.records.between import Between, decode
from models.records.block import Block, empty
from models.records.features import Features, take
from models.time import NEVER
from topologies.core.flow import Origins
from topologies.core.merge.pages import TABLE, TICK, Entry

Ints = NDArray[np.int64]


@dataclass(slots=True)
class Unit:
    """Rows at or before ``cut`` that were not in an earlier unit."""

    cut: int
    #: The key's time after it.
    now: int
    received: int
    block: Block
    features: dict[str, Features] = field(default_factory=dict)
    origins: dict[str, Origins] = field(default_factory=dict)
    #: The records that its rows are of.
    entries: list[Entry] = field(default_factory=list)


def cut_up(key: str, entries: Iterable[Entry], released: int, until: int) -> list[Unit]:
    """The units after ``released`` up to ``until``, in order."""
    waiting = list(entries)
    ends: dict[int, Unit] = {}
    for entry in waiting:
        if released < entry.cut <= until and entry.kind != TABLE:
            unit = ends.get(entry.cut)
            if unit is None:
                unit = ends[entry.cut] = Unit(entry.cut, entry.cut, NEVER, empty(key))
            if entry.kind == TICK:
                unit.now = entry.cut + 1
                unit.received = max(unit.received, entry.received)
    units = [ends[cut] for cut in sorted(ends)]
    if not units:
        return []
    last = units[-1].cut
    parts = [_Part.of(entry, released, last) for entry in waiting if entry.kind != TICK]
    parts = [part for part in parts if part.high > part.low]
    if not parts:
        return units
    cuts = np.array([unit.cut for unit in units], np.int64)
    who = {name: rank for rank, name in enumerate(sorted({part.who for part in parts}))}
    blocks = [part for part in parts if part.record.block is not None]
    if blocks:
        _readings(key, blocks, who, units, cuts)
    for lane in sorted({part.record.lane for part in parts if part.record.features is not None}):
        _windows(key, lane, [part for part in parts if part.record.lane == lane], who, units, cuts)
    for part in parts:
        for number in np.unique(np.searchsorted(cuts, part.t[part.low : part.high])).tolist():
            unit = units[number]
            unit.received = max(unit.received, part.record.received)
            unit.entries.append(part.entry)
    for unit in units:
        if unit.entries:  # a heartbeat is not hearing data
            unit.block = _received(unit.block, unit.received)
    return units


@dataclass(slots=True)
class _Part:
    """The rows ``low`` to ``high`` of one record."""

    entry: Entry
    record: Between
    t: Ints
    low: int
    high: int

    @property
    def who(self) -> tuple[str, str]:
        return self.record.source, self.record.asset

    @classmethod
    def of(cls, entry: Entry, released: int, until: int) -> _Part:
        record = decoded(entry.payload)
        t = record.event_time
        low, high = np.searchsorted(t, (released, until), side="right").tolist()
        if entry.kind == TABLE and entry.floor == released:
            low = 0  # what was valid before it came is valid from now on
        return cls(entry, record, t, low, high)


def decoded(payload: bytes | None) -> Between:
    """What is in a record; one that waits is looked at again and again. Raises MalformedRecord."""
    return decode(payload) if payload is None or len(payload) > _LARGE else _known(payload)


#: Larger payloads would fill the memory of those that are known.
_LARGE = 65_536
_known = lru_cache(maxsize=256)(decode)


def _readings(
    key: str, parts: Sequence[_Part], who: dict[tuple[str, str], int], units: list[Unit], cuts: Ints
) -> None:
    found = [(part, part.record.block) for part in parts]
    blocks = [(part, block) for part, block in found if block is not None]
    names = sorted({_name(key, b.asset, tag) for _, b in blocks for tag in b.tags})
    place = {name: number for number, name in enumerate(names)}
    tags, ranks, typed, size = [], [], [], 0
    for part, block in blocks:
        own = np.array([place[_name(key, block.asset, tag)] for tag in block.tags], np.int32)
        tags.append(own[block.tag[part.low : part.high]])
        ranks.append(np.full(part.high - part.low, who[part.who]))
        typed += [
            (size + index - part.low, kind, value)
            for index, kind, value in block.typed
            if part.low <= index < part.high
        ]
        size += part.high - part.low

    def column(name: str) -> NDArray[Any]:
        columns = [getattr(block, name) for _, block in blocks]
        if not any(one.size for one in columns):
            return np.empty(0, columns[0].dtype)
        pieces = [
            one[part.low : part.high] if one.size else np.zeros(part.high - part.low, one.dtype)
            for one, (part, _) in zip(columns, blocks, strict=True)
        ]
        joined: NDArray[Any] = np.concatenate(pieces)
        return joined

    t = column("t")
    order = np.lexsort((np.concatenate(ranks), t))
    every = Block(
        key,
        tuple(names),
        np.concatenate(tags),
        t,
        column("v"),
        column("q"),
        column("code"),
        column("why"),
        tuple(typed),
    )
    bounds = [0, *np.searchsorted(t[order], cuts, side="right").tolist()]
    for unit, low, high in zip(units, bounds[:-1], bounds[1:], strict=True):
        if high > low:
            unit.block = _of_these_tags(every.take(order[low:high]))


def _windows(
    key: str,
    lane: str,
    parts: Sequence[_Part],
    who: dict[tuple[str, str], int],
    units: list[Unit],
    cuts: Ints,
) -> None:
    rows = [
        (part, take(part.record.features, slice(part.low, part.high)))
        for part in parts
        if part.record.features is not None
    ]
    contributors = tuple(sorted({part.who for part, _ in rows}))
    plain = tuple(sorted({tag for _, r in rows for tag in r.tags}))
    names = tuple(sorted({_name(key, r.asset, tag) for _, r in rows for tag in r.tags}))
    statistics = _statistics([r for _, r in rows])

    def concatenated(columns: Iterable[NDArray[Any]]) -> NDArray[Any]:
        joined: NDArray[Any] = np.concatenate(list(columns))
        return joined

    def tagged(tags: tuple[str, ...], full: bool) -> NDArray[np.int32]:
        place = {name: number for number, name in enumerate(tags)}
        return concatenated(
            np.array(
                [place[_name(key, r.asset, tag) if full else tag] for tag in r.tags], np.int32
            )[r.tag]
            for _, r in rows
        )

    def statistic(name: str) -> NDArray[Any]:
        return concatenated(
            r.stats[name] if name in r.stats else np.full(len(r), np.nan) for _, r in rows
        )

    every = Features(
        key,
        lane,
        names,
        tagged(names, True),
        concatenated(r.start for _, r in rows),
        concatenated(r.end for _, r in rows),
        concatenated(r.count for _, r in rows),
        concatenated(r.bad for _, r in rows),
        {name: statistic(name) for name in statistics},
        concatenated(r.partial for _, r in rows),
    )
    place = {name: number for number, name in enumerate(contributors)}
    contributor = concatenated(np.full(len(r), place[part.who]) for part, r in rows)
    tag = tagged(plain, False)
    order = np.lexsort((contributor, every.end))
    bounds = [0, *np.searchsorted(every.end[order], cuts, side="right").tolist()]
    for unit, low, high in zip(units, bounds[:-1], bounds[1:], strict=True):
        if high > low:
            some = order[low:high]
            unit.features[lane] = _of_these_rows(take(every, some))
            unit.origins[lane] = Origins(contributors, contributor[some], plain, tag[some])


def _statistics(rows: list[Features]) -> tuple[str, ...]:
    """Names of all statistics; in their own order where all records agree."""
    names = {tuple(r.stats) for r in rows}
    return names.pop() if len(names) == 1 else tuple(sorted({n for some in names for n in some}))


def _name(key: str, asset: str, tag: str) -> str:
    """What a tag of an asset is called under a key."""
    return tag if asset == key else f"{asset}:{tag}"


def _of_these_tags(block: Block) -> Block:
    """The block with those of its tags that occur in it."""
    present, tag = np.unique(block.tag, return_inverse=True)
    names = tuple(block.tags[place] for place in present.tolist())
    return Block(
        block.asset, names, tag.astype(np.int32), block.t, block.v, block.q, block.code, block.why,
        block.typed,
    )  # fmt: skip


def _of_these_rows(rows: Features) -> Features:
    present, tag = np.unique(rows.tag, return_inverse=True)
    names = tuple(rows.tags[place] for place in present.tolist())
    return Features(
        rows.asset, rows.window, names, tag.astype(np.int32), rows.start, rows.end, rows.count,
        rows.bad, rows.stats, rows.partial,
    )  # fmt: skip


def _received(block: Block, received: int) -> Block:
    if not len(block):
        return empty(block.asset, received)
    return Block(
        block.asset, block.tags, block.tag, block.t, block.v, block.q, block.code, block.why,
        block.typed, received,
    )  # fmt: skip
