"""Records that no well-behaved client writes, through librdkafka's C interface."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

_VTYPE_TOPIC, _VTYPE_VALUE, _VTYPE_KEY, _VTYPE_TIMESTAMP, _VTYPE_HEADERS = 1, 4, 5, 8, 10
_PRODUCER = 0


def produce(
    bootstrap: str,
    topic: str,
    key: bytes,
    value: bytes,
    headers: list[tuple[bytes, bytes]],
    timestamp_ms: int,
) -> None:
    """Write one record; header names may be any bytes, the timestamp any number but 0."""
    lib = _library()
    text = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
    lib.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), text, 512)
    lib.rd_kafka_conf_set(conf, b"partitioner", b"murmur2_random", text, 512)
    client = ctypes.c_void_p(lib.rd_kafka_new(_PRODUCER, conf, text, 512))
    assert client, text.value
    list_ = ctypes.c_void_p(lib.rd_kafka_headers_new(len(headers)))
    for name, content in headers:
        lib.rd_kafka_header_add(
            list_, name, ctypes.c_ssize_t(len(name)), content, ctypes.c_ssize_t(len(content))
        )
    error = lib.rd_kafka_producev(
        client,
        *(_VTYPE_TOPIC, topic.encode()),
        *(_VTYPE_KEY, key, ctypes.c_size_t(len(key))),
        *(_VTYPE_VALUE, value, ctypes.c_size_t(len(value))),
        *(_VTYPE_TIMESTAMP, ctypes.c_int64(timestamp_ms)),
        *(_VTYPE_HEADERS, list_),
        ctypes.c_int(0),
    )
    assert error == 0, error
    assert lib.rd_kafka_flush(client, 15_000) == 0
    lib.rd_kafka_destroy(client)


def _library() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka brings."""
    package = Path(confluent_kafka.__file__).parent
    places = [package.parent / "confluent_kafka.libs", package / ".dylibs", package]
    [found] = [
        p for place in places for p in (place.glob("librdkafka*") if place.is_dir() else [])
    ][:1]
    lib = ctypes.CDLL(str(found))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    return lib
