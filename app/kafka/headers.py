"""A message's headers, whatever bytes their names are made of."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

from models.records.headers import as_mapping

# confluent-kafka (2.12) gives a tuple with a NULL in it, and an exception set, where a
# header's name is not UTF-8. Bytecode that calls ``message.headers()`` may be specialised to a call
# that does not look whether an exception is set; the NULL is then touched and the process dies.
# This call always looks, drops what it was given, and raises SystemError.
_headers = methodcaller("headers")

#: In place of headers that cannot be read. It has no schema, so decoders refuse the record.
UNREADABLE = {"unreadable": b"a header's name is not UTF-8"}


def read_headers(message: Any) -> dict[str, bytes]:
    """Headers of a confluent-kafka message; the last of a repeated name wins."""
    try:
        return as_mapping(_headers(message))
    except (SystemError, UnicodeDecodeError):
        return UNREADABLE.copy()
