"""Which assets a connector knows and when each was last heard, kept on the ``connectors`` topic.

A connector that starts again reads them back: an asset that fell silent around the restart is
still expected, and its silence goes on. A watchdog speaks for them when the connector has died.
They stand on pages beside the status (key ``<connector>/assets/<number>``), so that the status
stays small; the more there are, the less often a page is written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson
import pydantic
from pydantic import BaseModel, ConfigDict

from app.shells.connector_runner.heartbeats import Known
from models.errors import MalformedRecord
from models.records import headers
from models.records.headers import Schema
from models.time import NS_PER_S

SCHEMA = Schema("connector-assets", 1)
HEADERS = [(headers.SCHEMA, SCHEMA.header), (headers.CONTENT_TYPE, headers.JSON)]

#: A page is written when the next asset would make it larger; far below any limit of Kafka's.
_PAGE_BYTES = 200_000
#: All pages together are written anew at most at this rate, bytes/s.
_RATE = 16_000
_PART = "/assets/"


class Remembered(NamedTuple):
    """What was read back."""

    assets: Sequence[Known] = ()
    #: How many pages there are.
    pages: int = 0


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Of the connector.
    name: str
    #: Asset, event time and receive time of what was heard last, ns; both None: nothing yet.
    assets: tuple[tuple[str, int | None, int | None], ...]


def page_key(name: str, number: int) -> str:
    """Key of a page; names of connectors hold no '/'."""
    return f"{name}{_PART}{number}"


def page_of(key: str) -> tuple[str, int] | None:
    """The connector and number of a page; None where the key is no page's."""
    name, part, number = key.rpartition(_PART)
    return (name, int(number)) if part and number.isdecimal() and len(number) < 9 else None


def encode(name: str, assets: Sequence[Known]) -> bytes:
    """JSON of schema ``connector-assets/1``."""
    return orjson.dumps({"name": name, "assets": [list(each) for each in assets]})


def decode(value: bytes | None) -> Sequence[Known]:
    """The assets of a page. Raises MalformedRecord with the reason."""
    try:
        page = _Page.model_validate_json(value or b"")
    except pydantic.ValidationError as error:
        found = error.errors()[0]
        place = ".".join(map(str, found["loc"]))
        raise MalformedRecord(f"{SCHEMA.id}: {place}: {found['msg']}") from None
    return [Known(*each) for each in page.assets]


class Pages:
    """What is written of one connector, and when. Times are ns of a monotonic clock."""

    def __init__(self, name: str, interval: int, pages: int = 0) -> None:
        self._name, self._interval = name, interval
        #: The last content of each page; empty where it is not known.
        self._written = [b""] * pages
        self._due = 0

    def changed(
        self, known: Iterable[Known], now: int, *, at_once: bool = False
    ) -> list[tuple[str, bytes | None]]:
        """Key and value of the pages to write now (None: to delete): none before they are due."""
        if now < self._due and not at_once:
            return []
        pages = [encode(self._name, part) for part in _parts(sorted(known))]
        size = sum(map(len, pages))
        self._due = now + max(self._interval, size * NS_PER_S // _RATE)
        before = self._written
        self._written = pages
        new: list[tuple[str, bytes | None]] = [
            (page_key(self._name, number), page)
            for number, page in enumerate(pages)
            if number >= len(before) or page != before[number]
        ]
        gone = range(len(pages), len(before))
        return new + [(page_key(self._name, number), None) for number in gone]


def _parts(known: Sequence[Known]) -> Iterable[Sequence[Known]]:
    part: list[Known] = []
    size = 0
    for each in known:
        # control characters take six bytes in JSON, two times about twenty
        length = 6 * len(each.asset) + 50
        if part and size + length > _PAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    if part:
        yield part
