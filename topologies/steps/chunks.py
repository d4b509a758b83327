"""Bytes of any length in a step's memory, cut so that no state value grows past its limit."""

from __future__ import annotations

import struct
from typing import Any

import orjson

from topologies.core.state import CHUNK, Memory

#: Format, padding, pieces in all. Longer than 8 bytes, as state values must be.
_HEAD = struct.Struct("<B7xQ")
_FORMAT = 1
_SIZE = CHUNK - _HEAD.size


def get(memory: Memory, name: str) -> bytes | None:
    """What :func:`put` kept under the name, or None."""
    first = memory.get(name)
    if first is None:
        return None
    pieces = int(_HEAD.unpack_from(first)[1])
    if pieces == 1:
        return first[_HEAD.size :]
    rest = [memory.get(f"{name}.{number}") or b"" for number in range(1, pieces)]
    return b"".join(piece[_HEAD.size :] for piece in (first, *rest))


def put(memory: Memory, name: str, data: bytes) -> None:
    """Keep bytes under a name; no bytes at all forgets it."""
    before = memory.get(name)
    pieces = -(-len(data) // _SIZE)
    head = _HEAD.pack(_FORMAT, pieces)
    for number in range(pieces):
        piece = data[number * _SIZE : (number + 1) * _SIZE]
        memory.put(head + piece, f"{name}.{number}" if number else name)
    if before is not None:
        for number in range(pieces, int(_HEAD.unpack_from(before)[1])):
            memory.drop(f"{name}.{number}" if number else name)


def get_json(memory: Memory, name: str) -> dict[str, Any]:
    """A dict kept by :func:`put_json`; empty where there is none."""
    data = get(memory, name)
    return dict(orjson.loads(data)) if data is not None else {}


def put_json(memory: Memory, name: str, value: dict[str, Any]) -> None:
    """Keep a dict; an empty one leaves nothing behind. Equal dicts give equal bytes."""
    put(memory, name, orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if value else b"")
