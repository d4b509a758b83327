"""What a connector knows of assets, as it is kept on pages."""

from __future__ import annotations

import pytest

from app.shells.connector_runner.heartbeats import Known
from app.shells.connector_runner.known import Pages, decode, encode, page_key, page_of
from models.errors import MalformedRecord

S = 10**9


def test_a_page_comes_back_as_written() -> None:
    assets = [Known("glass/öfen", 5, 6), Known("fan", None, None)]
    assert list(decode(encode("line", assets))) == assets


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"name":"a","assets":[["b"]]}'])
def test_a_malformed_page_is_refused(value: bytes | None) -> None:
    with pytest.raises(MalformedRecord, match="connector-assets"):
        decode(value)


def test_keys_of_pages_are_no_names_of_connectors() -> None:
    assert page_of(page_key("line-1", 12)) == ("line-1", 12)
    assert page_of("line-1") is None
    assert page_of("line/assets/x") is None


def test_all_assets_are_on_pages_that_kafka_takes() -> None:
    known = [Known(f"{number:06}" + "\0" * 506, number, number) for number in range(1000)]
    written = Pages("line", 3 * S).changed(known, 0)
    assert max(len(value or b"") for _, value in written) < 500_000
    assert sorted(each for _, value in written for each in decode(value)) == known
    assert [key for key, _ in written] == [f"line/assets/{n}" for n in range(len(written))]


def test_only_what_changed_is_written_and_the_more_the_rarer() -> None:
    many = [Known(f"asset-{number}", S, S) for number in range(9000)]
    pages = Pages("line", 3 * S)
    first = pages.changed(many, 0)
    assert len(first) > 3
    size = sum(len(value or b"") for _, value in first)
    assert pages.changed(many, 3 * S) == []
    later = size * S // 16_000
    many[0] = Known("asset-0", 2 * S, 2 * S)
    assert pages.changed(many, later - 1) == []
    assert [key for key, _ in pages.changed(many, later)] == ["line/assets/0"]
    many[0] = Known("asset-0", 3 * S, 3 * S)
    # its last word waits for nothing
    assert [key for key, _ in pages.changed(many, later, at_once=True)] == ["line/assets/0"]


def test_pages_of_an_earlier_session_that_are_not_needed_are_deleted() -> None:
    pages = Pages("line", 3 * S, pages=3)
    written = pages.changed([Known("a", 1, 1)], 0)
    assert [(key, value is None) for key, value in written] == [
        ("line/assets/0", False), ("line/assets/1", True), ("line/assets/2", True),
    ]  # fmt: skip
    assert pages.changed([Known("a", 1, 1)], 3 * S) == []
