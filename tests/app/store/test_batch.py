"""What a sink makes of records before they are written."""

from __future__ import annotations

from typing import Any, cast

from app.shells.sink.batch import gather
from app.store import Mapper, OutputSpec


class _Message:
    """A record whose header's name is not UTF-8, as confluent-kafka shows it."""

    def headers(self) -> Any:
        raise SystemError("returned a result with an exception set")

    def topic(self) -> str:
        return "glass.readings"

    def partition(self) -> int:
        return 1

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 5

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"{}"


def test_unreadable_headers_are_a_dead_letter_and_stop_nothing() -> None:
    output = OutputSpec("readings", "readings")
    batch = gather([cast(Any, _Message())], Mapper("glass"), {"glass.readings": output}, 0)
    [(source, error)] = batch.malformed
    assert (source.partition, source.offset, source.value) == (1, 7, b"{}")
    assert "schema" in str(error)
    assert batch.next_offsets == {("glass.readings", 1): 8}
