"""The document store: what is written there, how, and how it is asked.

Its parts are loaded when they are asked for: whoever needs the settings alone, which is every
process of a site, is spared pymongo.
"""

from typing import TYPE_CHECKING, Any

from app.store.settings import URI_VARIABLE, SinkSettings, StoreSettings

if TYPE_CHECKING:
    from app.store.client import StoreAway, StoreRefused, abilities, address, connect
    from app.store.collections import collection_name, prepare
    from app.store.documents import Mapper, OutputSpec, Source, Write
    from app.store.queries import Queries, Row, Sample
    from app.store.writer import BulkWriter, Cancelled, Outcome

__all__ = [
    "URI_VARIABLE",
    "BulkWriter",
    "Cancelled",
    "Mapper",
    "Outcome",
    "OutputSpec",
    "Queries",
    "Row",
    "Sample",
    "SinkSettings",
    "Source",
    "StoreAway",
    "StoreRefused",
    "StoreSettings",
    "Write",
    "abilities",
    "address",
    "collection_name",
    "connect",
    "prepare",
]

_WHERE = {
    "client": ("StoreAway", "StoreRefused", "abilities", "address", "connect"),
    "collections": ("collection_name", "prepare"),
    "documents": ("Mapper", "OutputSpec", "Source", "Write"),
    "queries": ("Queries", "Row", "Sample"),
    "writer": ("BulkWriter", "Cancelled", "Outcome"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for module, names in _WHERE.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
