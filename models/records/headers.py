"""Kafka headers of every record, and the schemas they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from models.errors import MalformedRecord

SCHEMA = "schema"  # "<id>/<version>", for example "block/1"
CONNECTOR = "connector"  # name of the connector that landed the record
CONTENT_TYPE = "content-type"  # "application/json"
CONFIG_VERSION = "config-version"  # fingerprint of the configuration in force
EVENT_ID = "event-id"  # "<connector>:<session>:<sequence>"
REDRIVES = "redrives"  # how often the record was sent through again: "1"
REDRIVE_OF = "redrive-of"  # where it lay when it failed: "<topic>:<partition>:<offset>"
REDRIVE_FOR = "redrive-for"  # who is to take it: "<topology>", "sink:<topology>"; others skip it

JSON = b"application/json"

Headers = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Schema:
    """A record's schema. A reader of version N reads N-1 too."""

    id: str
    version: int

    def __str__(self) -> str:
        return f"{self.id}/{self.version}"

    @property
    def header(self) -> bytes:
        """The value of the ``schema`` header."""
        return str(self).encode()

    def accepts(self, other: Schema) -> bool:
        """Whether a reader of this schema reads records of ``other``."""
        return other.id == self.id and self.version - 1 <= other.version <= self.version


RAW_OPCUA = Schema("raw-opcua", 1)
RAW_MODBUS = Schema("raw-modbus", 1)
RAW_MQTT = Schema("raw-mqtt", 1)
HEARTBEAT = Schema("heartbeat", 1)
BLOCK = Schema("block", 1)
FEATURES = Schema("features", 1)
LATE = Schema("late", 1)
ANOMALY = Schema("anomaly", 1)
ALARM = Schema("alarm", 1)
DEAD_LETTER = Schema("dead-letter", 1)
CONNECTOR_STATUS = Schema("connector-status", 1)


def schema_of(headers: Headers) -> Schema:
    """The schema a record's headers name; raises MalformedRecord where they name none."""
    value = headers.get(SCHEMA)
    if value is None:
        raise MalformedRecord("no 'schema' header")
    return _parse(bytes(value))


@lru_cache(maxsize=1024)
def _parse(value: bytes) -> Schema:
    try:
        identifier, _, version = value.decode("ascii").rpartition("/")
    except UnicodeDecodeError:
        identifier, version = "", ""
    if identifier and version.isdigit() and len(version) < 6:
        return Schema(identifier, int(version))
    raise MalformedRecord(f"'schema' header is not <id>/<version>: {value[:64]!r}")


def expect(headers: Headers, schema: Schema) -> None:
    """Raise MalformedRecord unless the record is of a schema that ``schema``'s reader reads."""
    found = schema_of(headers)
    if not schema.accepts(found):
        raise MalformedRecord(f"schema is {found}, expected {schema}")


def as_mapping(headers: Iterable[tuple[str, bytes | None]] | None) -> dict[str, bytes]:
    """Kafka's header list as a mapping; the last of a repeated name wins."""
    return {name: value for name, value in headers or () if value is not None}
