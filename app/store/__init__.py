"""The document store: what is written there, how, and how it is asked."""

from app.store.client import StoreAway, StoreRefused, abilities, address, connect
from app.store.collections import collection_name, prepare
from app.store.documents import Mapper, OutputSpec, Source, Write
from app.store.queries import Queries, Row, Sample
from app.store.settings import URI_VARIABLE, SinkSettings, StoreSettings
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
