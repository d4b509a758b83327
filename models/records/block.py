"""A block: many samples of one asset in one record, as parallel arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.errors import MalformedRecord
from models.records import columns, values
from models.records.values import Typed

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WHAT = "block"


def _no_codes() -> NDArray[np.uint32]:
    return np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class Block:
    """Samples of one asset. All arrays have shape (n,); none is ever written to in place.

    In a running topology samples are grouped by tag, and in arrival order within a tag
    (``topologies.core.time.enter`` does it). ``clock`` and ``arrival`` exist only there.
    """

    asset: str
    tags: tuple[str, ...]
    #: Index into ``tags``.
    tag: NDArray[np.int32]
    #: Event time, ns.
    t: Ints
    #: Value, in the tag's unit; NaN where the value is not a number (see ``typed``).
    v: Floats
    #: QARTOD flag.
    q: NDArray[np.uint8]
    #: The protocol's own quality code (OPC UA StatusCode, Modbus exception), or empty: all 0.
    code: NDArray[np.uint32] = field(default_factory=_no_codes)
    #: One bit per validation test that did not pass (``topologies.steps.validate``), or empty.
    why: NDArray[np.uint32] = field(default_factory=_no_codes)
    #: Values float64 cannot hold, see :mod:`models.records.values`.
    typed: tuple[Typed, ...] = ()
    #: When the connector saw the newest of these samples, ns.
    received: int = 0
    #: Key time just before each sample arrived, ns (working column).
    clock: Ints | None = None
    #: Position of each sample in arrival order (working column).
    arrival: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return int(self.t.size)

    def take(self, index: NDArray[Any]) -> Block:
        """The samples at ``index`` (integer positions or a mask of shape (n,)), in that order."""
        if index.dtype == bool:
            index = np.flatnonzero(index)
        typed = self.typed
        if typed:
            place = {int(old): new for new, old in enumerate(index.tolist())}
            typed = tuple(
                sorted((place[i], kind, value) for i, kind, value in typed if i in place)
            )
        return replace(
            self,
            tag=self.tag[index],
            t=self.t[index],
            v=self.v[index],
            q=self.q[index],
            code=self.code[index] if self.code.size else self.code,
            why=self.why[index] if self.why.size else self.why,
            typed=typed,
            clock=None if self.clock is None else self.clock[index],
            arrival=None if self.arrival is None else self.arrival[index],
        )

    def changed(
        self, *, v: Floats | None = None, q: NDArray[np.uint8] | None = None
    ) -> Block:
        """The same samples with other values or flags (``typed`` stays as it is).

        What ``dataclasses.replace`` does, at a third of its cost: steps do it for every record.
        """
        return Block(
            self.asset,
            self.tags,
            self.tag,
            self.t,
            self.v if v is None else v,
            self.q if q is None else q,
            self.code,
            self.why,
            self.typed,
            self.received,
            self.clock,
            self.arrival,
        )

    def with_values(self, v: Floats) -> Block:
        """The same samples with other numbers; typed integers and floats are replaced by them."""
        typed = tuple(entry for entry in self.typed if entry[1] not in "if")
        bad = np.flatnonzero(~np.isfinite(v))
        if bad.size:
            named = {entry[0] for entry in typed}
            missing = np.isnan(self.v)
            typed += tuple(
                (int(i), "f", str(float(v[i])))
                for i in bad
                if i not in named and not (missing[i] and np.isnan(v[i]))
            )
            typed = tuple(sorted(typed))
        return replace(self, v=v, typed=typed)

    def exact(self) -> list[Any]:
        """Every value as Python holds it: 64-bit integers, text and truth values included."""
        return values.exact(self.v, self.typed)


def empty(asset: str, received: int = 0) -> Block:
    """A block without samples."""
    return Block(
        asset,
        (),
        np.empty(0, np.int32),
        np.empty(0, np.int64),
        np.empty(0, np.float64),
        np.empty(0, np.uint8),
        received=received,
        clock=np.empty(0, np.int64),
        arrival=np.empty(0, np.int32),
    )


def encode(block: Block) -> bytes:
    """JSON of a block (schema ``block/1``); :func:`decode` is its inverse."""
    record: dict[str, Any] = {
        "asset": block.asset,
        "received": block.received,
        "tags": block.tags,
        "tag": block.tag,
        "t": block.t,
        "v": block.v,
        "q": block.q,
    }
    if block.code.size and block.code.any():
        record["code"] = block.code
    if block.why.size and block.why.any():
        record["why"] = block.why
    if block.typed:
        record["typed"] = block.typed
    return columns.dumps(record)


def decode(payload: bytes | None) -> Block:
    """The block of a record's bytes; raises MalformedRecord with the reason."""
    return read(columns.loads(payload, WHAT))


def read(record: dict[str, Any]) -> Block:
    """The block of a JSON object; raises MalformedRecord with the reason."""
    asset = columns.field(record, "asset", str, WHAT)
    received = columns.time(record, "received", WHAT)
    tags = columns.strings(record.get("tags"), "block: 'tags'")
    tag = columns.indexes(record.get("tag"), "block: 'tag'", len(tags))
    size = int(tag.size)
    t = columns.integers(record.get("t"), "block: 't'")
    typed = values.read_typed(record.get("typed"), size)
    v = values.read_floats(record.get("v"), typed, size, "block: 'v'")
    columns.same_length(size, WHAT, t=t)
    try:
        q = quality.as_flags(columns.bounded(record.get("q"), "block: 'q'", 0, 255, np.uint8))
    except ValueError as error:
        raise MalformedRecord(f"block: 'q': {error}") from error
    code = _codes(record, "code")
    why = _codes(record, "why")
    columns.same_length(size, WHAT, q=q)
    for name, column in (("code", code), ("why", why)):
        if column.size:
            columns.same_length(size, WHAT, **{name: column})
    return Block(asset, tags, tag, t, v, q, code, why, typed, received)


def _codes(record: dict[str, Any], name: str) -> NDArray[np.uint32]:
    given = record.get(name)
    if given is None:
        return _no_codes()
    return columns.bounded(given, f"block: {name!r}", 0, 2**32 - 1, np.uint32)
