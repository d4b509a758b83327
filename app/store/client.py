"""The connection to the store, and what that store can do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bson import Decimal128
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from app.store.failures import meaning, reason
from app.store.settings import StoreSettings
from models.errors import ConfigError, StoreError
from models.time import NS_PER_MS

LOG = logging.getLogger("plantstream.store")

Document = dict[str, Any]
Client = MongoClient[Document]

_PROBE = "plantstream_probe"


class StoreAway(StoreError):
    """The store does not answer now; the same request may work later."""


class StoreRefused(StoreError):
    """The store says no to everything: credentials, rights, its configuration."""


def connect(settings: StoreSettings, role: str) -> Client:
    """A client whose writes are acknowledged by a majority. Nothing is sent yet.

    Options of the URI win over ours. Raises ConfigError for a URI that is none.
    """
    uri = _uri(settings)
    options: dict[str, Any] = {
        "appname": f"plantstream-{role}",
        "w": "majority",
        "serverSelectionTimeoutMS": settings.connect_timeout // NS_PER_MS,
        "connectTimeoutMS": settings.connect_timeout // NS_PER_MS,
        "socketTimeoutMS": settings.request_timeout // NS_PER_MS,
    }
    try:
        given = {name.lower() for name in parse_uri(uri, validate=False)["options"]}
        options = {name: value for name, value in options.items() if name.lower() not in given}
        return MongoClient(uri, **options)
    except (PyMongoError, ValueError) as error:
        raise ConfigError(
            f"no connection string of MongoDB: {reason(error)}", field="store.uri"
        ) from error


def address(settings: StoreSettings) -> str:
    """Hosts of the store, without credentials, for messages."""
    return _uri(settings).split("://", 1)[-1].rsplit("@", 1)[-1].split("/", 1)[0]


def _uri(settings: StoreSettings) -> str:
    if settings.uri is None:
        raise ConfigError("no store is named", field="store.uri")
    return settings.uri.get_secret_value()


@dataclass(frozen=True, slots=True)
class Abilities:
    """What differs between MongoDB and the embedded store."""

    #: Decimal128 values, for integers beyond 64 bits.
    decimals: bool = True


def abilities(database: Database[Document], prefix: str = "") -> Abilities:
    """Find out by trying, in a collection of its own that is dropped again where it may be.

    Raises StoreAway or StoreRefused.
    """
    probe = database[f"{prefix}{_PROBE}"]
    with translated():
        probe.replace_one({"_id": "can"}, {"_id": "can"}, upsert=True)
        try:
            probe.replace_one({"_id": "decimal"}, {"v": Decimal128("1")}, upsert=True)
            decimals = True
        except PyMongoError as error:
            if meaning(error) != "bad":
                raise
            decimals = False
        remove(probe)
    return Abilities(decimals=decimals)


def remove(probe: Collection[Document]) -> None:
    """Drop a collection that was only made for a try; without the right to, it is left there.

    Its documents bear the same ids each time, so that it does not grow.
    """
    try:
        probe.drop()
    except PyMongoError as error:
        if meaning(error) == "retry":
            raise
        LOG.info("%s is left in the store: %s", probe.name, reason(error))


@contextmanager
def translated() -> Iterator[None]:
    """In it the driver's errors become ours: StoreAway, StoreRefused or StoreError."""
    try:
        yield
    except PyMongoError as error:
        raise translate(error) from error


def translate(error: PyMongoError) -> StoreError:
    """Our error for one of the driver's."""
    kinds = {"retry": StoreAway, "refused": StoreRefused, "bad": StoreError}
    return kinds[meaning(error)](reason(error))
