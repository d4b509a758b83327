"""Payloads that no good connector sends: each must become a dead letter, and stop nothing.

    for name, key, value, headers in hostile("raw-opcua"): ...

All of ``hostile(schema)`` are malformed for a reader of that schema, whatever the catalogue says.
``strange(schema)`` are odd but readable: they must not be refused, nor do any harm.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

KEY = b"plant/hostile"
T = 1_700_000_000_000_000_000
SCHEMAS = ("raw-opcua", "raw-modbus", "raw-mqtt", "heartbeat", "block")
#: A payload template that reads the messages here: see ``MESSAGE``.
MESSAGE = {"ts": 1_700_000_000, "temperature": 21.5}


class Hostile(NamedTuple):
    """One record: a name for test ids, Kafka key, value and headers."""

    name: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


def good(schema: str) -> dict[str, Any]:
    """The document of a good record, to be spoiled."""
    documents: dict[str, dict[str, Any]] = {
        "raw-opcua": {
            "received": T,
            "tags": ["x", "y"],
            "nodes": ["ns=2;s=x", "ns=2;s=y"],
            "tag": [0, 1, 0],
            "t": [T, T, T + 1],
            "server_t": [T, T, T + 1],
            "status": [0, 0, 2147483648],
            "v": [1.0, 2.0, None],
        },
        "raw-modbus": {
            "received": T,
            "template": "meter",
            "polls": [{"t": T, "reads": [["holding", 0, [1, 2], 0, 2]]}],
        },
        "raw-mqtt": {
            "messages": [
                {
                    "topic": "site/hostile",
                    "received": T,
                    "qos": 1,
                    "retain": False,
                    "payload": json.dumps(MESSAGE),
                }
            ]
        },
        "heartbeat": {
            "asset": KEY.decode(),
            "state": "alive",
            "t": T,
            "received": T,
            "elapsed": 1000,
        },
        "block": {
            "asset": KEY.decode(),
            "received": T,
            "tags": ["x", "y"],
            "tag": [0, 1, 0],
            "t": [T, T, T + 1],
            "v": [1.0, 2.0, None],
            "q": [1, 1, 9],
        },
    }
    return documents[schema]


def _json(document: Any) -> bytes:
    """Not by orjson, which refuses integers beyond 64 bits."""
    return json.dumps(document).encode()


def _header(schema: str, version: str = "1") -> dict[str, bytes]:
    return {"schema": f"{schema}/{version}".encode(), "content-type": b"application/json"}


#: Bytes that are no record of any schema.
GARBAGE: dict[str, bytes | None] = {
    "tombstone": None,
    "empty": b"",
    "blank": b"   ",
    "null": b"null",
    "number": b"42",
    "text": b'"a record"',
    "list": b"[]",
    "empty-object": b"{}",
    "not-json": b"temperature=21.5",
    "xml": b"<?xml version='1.0'?><a/>",
    "cut-off": b'{"received": 17000000',
    "two-documents": b"{}{}",
    "trailing-comma": b'{"a": 1,}',
    "single-quotes": b"{'a': 1}",
    "binary": bytes(range(256)),
    "zeros": bytes(64),
    "invalid-utf8": b'{"tags": ["\xff\xfe"]}',
    "utf16": '{"a": 1}'.encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbf{}",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "nan-literal": b'{"v": NaN}',
    "infinity-literal": b'{"v": Infinity}',
    "number-beyond-float64": b'{"v": 1e400}',
    "lone-surrogate": b'{"tags": ["\\ud800"]}',
    "deep-list": b"[" * 100_000 + b"]" * 100_000,
    "deep-object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "900-kb-text": b'"' + b"x" * 900_000 + b'"',
    "900-kb-field": b'{"received": "' + b"9" * 900_000 + b'"}',
    "long-number": b'{"received": ' + b"9" * 5000 + b"}",
}

#: Values that no field of any schema takes; put in place of every field in turn.
WRONG: dict[str, Any] = {
    "null": None,
    "bool": True,
    "float": 1.5,
    "object": {"a": 1},
    "nested": [[1]],
    "texts": ["1", "2", "3"],
}

Place = tuple[Any, ...]


def _spoiled(schema: str) -> Iterator[tuple[str, Place, Any]]:
    """(name, where, what): one wrong value each."""
    big = 2**64
    common: dict[str, list[tuple[str, Place, Any]]] = {
        "raw-opcua": [
            *_columns(("tag", "t")),
            ("status-short", ("status",), [0]),
            ("status-negative", ("status",), [0, 0, -1]),
            ("status-too-large", ("status",), [0, 0, 2**32]),
            ("nodes-short", ("nodes",), ["ns=2;s=x"]),
            ("server-times-short", ("server_t",), [T]),
            *_values(),
            *_names(),
        ],
        "raw-modbus": [
            ("unknown-template", ("template",), "no such device"),
            ("template-with-nul", ("template",), "meter\0"),
            ("polls-of-numbers", ("polls",), [1, 2]),
            ("time-too-large", ("polls", 0, "t"), big),
            ("time-is-the-mark", ("polls", 0, "t"), -(2**63)),
            ("time-is-bool", ("polls", 0, "t"), True),
            ("read-is-short", ("polls", 0, "reads", 0), ["holding", 0]),
            ("read-is-object", ("polls", 0, "reads", 0), {"table": "holding"}),
            ("table-unknown", ("polls", 0, "reads", 0, 0), "registers"),
            ("table-unhashable", ("polls", 0, "reads", 0, 0), ["holding"]),
            ("address-negative", ("polls", 0, "reads", 0, 1), -1),
            ("address-too-large", ("polls", 0, "reads", 0, 1), 65536),
            ("register-negative", ("polls", 0, "reads", 0, 2), [1, -1]),
            ("register-too-large", ("polls", 0, "reads", 0, 2), [1, 65536]),
            ("register-is-bool", ("polls", 0, "reads", 0, 2), [1, True]),
            ("register-is-text", ("polls", 0, "reads", 0, 2), [1, "2"]),
            ("registers-short", ("polls", 0, "reads", 0, 2), [1]),
            ("exception-too-large", ("polls", 0, "reads", 0, 3), 256),
            ("count-too-large", ("polls", 0, "reads", 0, 4), 10**9),
            ("bit-too-large", ("polls", 0, "reads", 0), ["coil", 0, [2], 0, 1]),
        ],
        "raw-mqtt": [
            ("message-is-text", ("messages", 0), "21.5"),
            ("topic-missing", ("messages", 0, "topic"), None),
            ("received-too-large", ("messages", 0, "received"), big),
            ("received-is-bool", ("messages", 0, "received"), True),
            ("qos-is-bool", ("messages", 0, "qos"), True),
            ("retain-is-number", ("messages", 0, "retain"), 0),
            ("payload-missing", ("messages", 0, "payload"), None),
            ("base64-is-none", ("messages", 0, "base64"), "*not base64*"),
            ("base64-not-ascii", ("messages", 0, "base64"), "ä"),
            *(
                (f"payload-{name}", ("messages", 0, "payload"), payload)
                for name, payload in PAYLOADS.items()
            ),
            (
                "payload-binary",
                ("messages", 0, "base64"),
                base64.b64encode(bytes(range(256))).decode(),
            ),
        ],
        "heartbeat": [
            ("state-unknown", ("state",), "asleep"),
            ("state-number", ("state",), 1),
            ("another-asset", ("asset",), "plant/other"),
            ("time-too-large", ("t",), big),
            ("elapsed-negative", ("elapsed",), -1),
            ("elapsed-too-large", ("elapsed",), big),
            ("elapsed-text", ("elapsed",), "5s"),
        ],
        "block": [
            *_columns(("tag", "t", "q")),
            ("another-asset", ("asset",), "plant/other"),
            ("flag-unknown", ("q",), [1, 1, 5]),
            ("flag-zero", ("q",), [1, 1, 0]),
            ("flag-too-large", ("q",), [1, 1, 257]),
            ("code-short", ("code",), [1]),
            ("code-negative", ("code",), [0, 0, -1]),
            ("why-too-large", ("why",), [0, 0, 2**32]),
            *_values(),
            *_names(),
        ],
    }
    yield from common[schema]
    optional = {"status", "elapsed", "code", "why"}
    for field in good(schema):
        for name, value in WRONG.items():
            # Lists of texts are what some fields are; the server's times are not read.
            listed = name == "texts" and field in ("tags", "nodes", "server_t")
            if not listed and not (value is None and field in optional):
                yield f"{field}-{name}", (field,), value


#: MQTT payloads that no template for ``MESSAGE`` reads.
PAYLOADS: dict[str, str] = {
    "empty": "",
    "not-json": "21.5 degrees",
    "list": "[1, 2]",
    "number": "21.5",
    "nan": '{"ts": 1700000000, "temperature": NaN}',
    "beyond-float64": '{"ts": 1700000000, "temperature": 1e400}',
    "cut-off": '{"ts": 1700000000, "temp',
    "deep": "[" * 3000 + "]" * 3000,
    "lone-surrogate": '{"ts": 1700000000, "temperature": "\\ud800"}',
    "no-time": '{"temperature": 21.5}',
    "time-null": '{"ts": null, "temperature": 21.5}',
    "time-bool": '{"ts": true, "temperature": 21.5}',
    "time-text": '{"ts": "yesterday", "temperature": 21.5}',
    "time-list": '{"ts": [1700000000], "temperature": 21.5}',
    "time-too-large": '{"ts": 1e300, "temperature": 21.5}',
    "time-beyond-64-bits": '{"ts": 99999999999999999999, "temperature": 21.5}',
    "time-in-ns-for-s": '{"ts": 1700000000000000000, "temperature": 21.5}',
    "time-too-small": '{"ts": -1e18, "temperature": 21.5}',
    "time-long-text": '{"ts": "' + "9" * 10_000 + '", "temperature": 21.5}',
    "time-huge-exponent": '{"ts": "1e999999999", "temperature": 21.5}',
    "empty-tag": '{"ts": 1700000000, "": 21.5}',
    "nul-in-tag": '{"ts": 1700000000, "a\\u0000b": 21.5}',
}


def _columns(names: tuple[str, ...]) -> list[tuple[str, Place, Any]]:
    found: list[tuple[str, Place, Any]] = []
    for name in names:
        found += [
            (f"{name}-short", (name,), [0, 1]),
            (f"{name}-long", (name,), [0, 1, 0, 1]),
            (f"{name}-empty", (name,), []),
            (f"{name}-bools", (name,), [True, False, True]),
            (f"{name}-floats", (name,), [0.0, 1.0, 0.0]),
            (f"{name}-nulls", (name,), [None, None, None]),
            (f"{name}-beyond-64-bits", (name,), [0, 1, 2**64 - 1]),
        ]
    return [
        *found,
        ("index-negative", ("tag",), [0, -1, 0]),
        ("index-too-large", ("tag",), [0, 2, 0]),
        ("time-is-the-mark", ("t",), [T, T, -(2**63)]),
    ]


def _values() -> list[tuple[str, Place, Any]]:
    return [
        ("values-short", ("v",), [1.0]),
        ("value-is-bool", ("v",), [1.0, True, 2.0]),
        ("value-is-text", ("v",), [1.0, "2.0", 2.0]),
        ("value-is-list", ("v",), [1.0, [2.0], 2.0]),
        ("typed-is-object", ("typed",), {"0": "text"}),
        ("typed-is-short", ("typed",), [[0, "s"]]),
        ("typed-index-negative", ("typed",), [[-1, "s", "text"]]),
        ("typed-index-too-large", ("typed",), [[3, "s", "text"]]),
        ("typed-index-is-bool", ("typed",), [[True, "s", "text"]]),
        ("typed-kind-unknown", ("typed",), [[0, "z", "text"]]),
        ("typed-kind-unhashable", ("typed",), [[0, ["s"], "text"]]),
        ("typed-integer-is-number", ("typed",), [[0, "i", 2**60]]),
        ("typed-integer-is-text", ("typed",), [[0, "i", "12x"]]),
        ("typed-integer-is-long", ("typed",), [[0, "i", "9" * 5000]]),
        ("typed-float-is-number", ("typed",), [[0, "f", 1.5]]),
        ("typed-float-is-list", ("typed",), [[0, "f", ["nan"]]]),
    ]


def _names() -> list[tuple[str, Place, Any]]:
    return [
        ("tag-name-empty", ("tags",), ["x", ""]),
        ("tag-name-with-nul", ("tags",), ["x", "y\0z"]),
        ("tag-twice", ("tags",), ["x", "x"]),
        ("tag-is-number", ("tags",), ["x", 1]),
        ("tag-is-null", ("tags",), ["x", None]),
        ("no-tags", ("tags",), []),
    ]


def _put(document: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    part: Any = document
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    return document


def hostile(schema: str) -> list[Hostile]:
    """Records that a reader of ``schema`` must refuse, each with another fault."""
    head = _header(schema)
    fine = _json(good(schema))
    found = [Hostile(f"{schema}-{name}", KEY, value, head) for name, value in GARBAGE.items()]
    found += [
        Hostile(f"{schema}-{name}", KEY, _json(_put(good(schema), place, value)), head)
        for name, place, value in _spoiled(schema)
    ]
    for field in good(schema):
        if field not in ("status", "elapsed"):
            without = {name: value for name, value in good(schema).items() if name != field}
            found.append(Hostile(f"{schema}-without-{field}", KEY, _json(without), head))
    keys: dict[str, bytes | None] = {
        "none": None,
        "empty": b"",
        "invalid-utf8": b"\xff\xfeplant",
        "newline": b"plant\nhostile",
        "nul": b"plant\0",
        "long": b"k" * 10_000,
    }
    found += [Hostile(f"{schema}-key-{name}", key, fine, head) for name, key in keys.items()]
    headers: dict[str, dict[str, bytes]] = {
        "missing": {},
        "empty": {"schema": b""},
        "unknown": {"schema": b"telemetry/1"},
        "without-version": {"schema": schema.encode()},
        "version-of-tomorrow": _header(schema, "2"),
        "version-huge": _header(schema, "9" * 5000),
        "version-negative": _header(schema, "-1"),
        "version-not-ascii": {"schema": f"{schema}/".encode() + "١".encode()},
        "binary": {"schema": b"\xff\x00\xff"},
    }
    found += [Hostile(f"{schema}-schema-{name}", KEY, fine, h) for name, h in headers.items()]
    return found


def strange(schema: str) -> list[Hostile]:
    """Records that are odd, and yet what the schema allows."""
    head = _header(schema)
    changes: dict[str, list[tuple[str, Place, Any]]] = {
        "raw-opcua": [
            ("times-at-the-ends", ("t",), [-(2**63) + 1, 2**63 - 1, 0]),
            ("huge-values", ("v",), [1.7e308, -1.7e308, 5e-324]),
            ("typed-everything", ("typed",), [[0, "s", "\u0000"], [1, "j", {"a": []}]]),
            ("unknown-field", ("colour",), "blue"),
        ],
        "raw-modbus": [
            ("no-polls", ("polls",), []),
            ("no-reads", ("polls", 0, "reads"), []),
            ("exception", ("polls", 0, "reads", 0), ["holding", 0, [], 2, 2]),
            ("other-registers", ("polls", 0, "reads", 0), ["input", 60000, [1], 0, 1]),
            ("times-at-the-ends", ("polls", 0, "t"), 2**63 - 1),
        ],
        "raw-mqtt": [
            ("no-messages", ("messages",), []),
            (
                "time-at-the-end",
                ("messages", 0, "payload"),
                '{"ts": 9223372036, "temperature": 1}',
            ),
            ("value-null", ("messages", 0, "payload"), '{"ts": 1700000000, "temperature": null}'),
            ("twice", ("messages", 0, "payload"), '{"ts": 1700000000, "a": 1, "a": 2}'),
            ("only-time", ("messages", 0, "payload"), '{"ts": 1700000000}'),
        ],
        "heartbeat": [
            ("without-elapsed", ("elapsed",), None),
            ("long-silence", ("elapsed",), 2**63 - 1),
            ("far-future", ("t",), 2**63 - 1),
        ],
        "block": [
            ("times-at-the-ends", ("t",), [-(2**63) + 1, 2**63 - 1, 0]),
            ("huge-values", ("v",), [1.7e308, -1.7e308, 5e-324]),
            ("received-at-the-end", ("received",), 2**63 - 1),
        ],
    }
    return [
        Hostile(f"{schema}-{name}", KEY, _json(_put(good(schema), place, value)), head)
        for name, place, value in changes[schema]
    ]
