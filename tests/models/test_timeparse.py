"""Times of sources are read exactly, or refused with a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.time import MAX_NS, MIN_NS, from_datetime, iso
from models.timeparse import parser

NS = st.integers(MIN_NS, MAX_NS)


@pytest.mark.parametrize(
    ("form", "value", "ns"),
    [
        ("unix_s", 1699999999, 1699999999 * 10**9),
        ("unix_s", 1699999999.123, 1699999999123 * 10**6),
        ("unix_s", "1699999999.123456789", 1699999999123456789),
        ("unix_s", "1699999999.1234567899", 1699999999123456789),
        ("unix_s", -0.5, -500_000_000),
        ("unix_s", " 1.5e9 ", 15 * 10**17),
        ("unix_ms", 1699999999123, 1699999999123 * 10**6),
        ("unix_ms", "1699999999123.5", 16999999991235 * 10**5),
        ("unix_us", 1699999999123456, 1699999999123456 * 10**3),
        ("unix_ns", 1699999999123456789, 1699999999123456789),
        ("unix_ns", "1699999999123456789", 1699999999123456789),
        ("iso8601", "1970-01-01T00:00:00Z", 0),
        ("iso8601", "2013-12-02T21:15:00Z", 1386018900 * 10**9),
        ("iso8601", "2013-12-02T21:15:00.123456789Z", 1386018900123456789),
        ("iso8601", "2013-12-02T21:15:00,5z", 1386018900500000000),
        ("iso8601", "2013-12-02 22:15:00+01:00", 1386018900 * 10**9),
        ("iso8601", "2013-12-02T17:45-0330", 1386018900 * 10**9),
        ("iso8601", "20131202T211500Z", 1386018900 * 10**9),
        ("iso8601", "2016-12-31T23:59:60Z", 1483228800 * 10**9),
        ("%d.%m.%Y %H:%M:%S", "02.12.2013 21:15:00", 1386018900 * 10**9),
        ("%Y-%m-%d %H:%M:%S.%f", "2013-12-02 21:15:00.25", 1386018900250000000),
        ("%d/%b/%Y:%H:%M:%S %z", "02/Dec/2013:22:15:00 +0100", 1386018900 * 10**9),
    ],
)
def test_formats(form: str, value: object, ns: int) -> None:
    assert parser(form)(value) == ns


@given(NS)
def test_every_time_comes_back_from_its_iso_text_and_its_number(ns: int) -> None:
    assert parser("iso8601")(iso(ns)) == ns
    assert parser("unix_ns")(ns) == ns
    sign = "-" if ns < 0 else ""
    seconds, fraction = divmod(abs(ns), 10**9)
    assert parser("unix_s")(f"{sign}{seconds}.{fraction:09d}") == ns


@given(st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_offsets_as_datetime_has_them(moment: datetime, minutes: int) -> None:
    moment = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert parser("iso8601")(moment.isoformat()) == from_datetime(moment)


@pytest.mark.parametrize("form", ["iso8601", "%Y-%m-%dT%H:%M:%S"])
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2023-01-15T12:00:00", "2023-01-15T11:00:00"),
        ("2023-07-15T12:00:00", "2023-07-15T10:00:00"),
        # Clocks go back: the first of both.
        ("2023-10-29T02:30:00", "2023-10-29T00:30:00"),
    ],
)
def test_a_time_without_offset_belongs_to_the_zone(form: str, text: str, utc: str) -> None:
    wanted = from_datetime(datetime.fromisoformat(utc).replace(tzinfo=UTC))
    assert parser(form, "Europe/Berlin")(text) == wanted


@pytest.mark.parametrize(
    ("form", "value", "reason"),
    [
        ("unix_s", True, "must be a number"),
        ("unix_s", None, "must be a number"),
        ("unix_s", [1], "must be a number"),
        ("unix_s", "", "no number"),
        ("unix_s", "1_000", "no number"),
        ("unix_s", "١٢٣", "no number"),
        ("unix_s", "9" * 10_000, "no number"),
        ("unix_s", "1e99", "out of range"),
        ("unix_s", float("nan"), "no number"),
        ("unix_s", float("inf"), "no number"),
        ("unix_s", 1e300, "out of range"),
        ("unix_s", 9223372037, "out of range"),
        ("unix_ms", 10**30, "out of range"),
        ("unix_ns", -(2**63), "out of range"),
        ("iso8601", 1699999999, "must be text"),
        ("iso8601", "yesterday", "no ISO 8601"),
        ("iso8601", "2013-12-02", "no ISO 8601"),
        ("iso8601", "2013-02-30T00:00:00Z", "day"),
        ("iso8601", "2013-12-02T24:00:00Z", "hour"),
        ("iso8601", "0001-01-01T00:00:00Z", "out of range"),
        ("iso8601", "9999-12-31T23:59:59Z", "out of range"),
        ("iso8601", "2013-12-02T21:15:00Z" + " " * 500 + "x", "no time"),
        ("%H:%M", "noon", "does not match"),
        ("%Y", 2013, "must be text"),
        ("%d.%m.%Y", "01.01.0001", "out of range"),
    ],
)
def test_what_is_refused(form: str, value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        parser(form)(value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("form", "zone", "words"),
    [
        ("unix", "UTC", ["'unix'", "unix_s, unix_ms, unix_us, unix_ns, iso8601"]),
        ("iso8601", "Mars/Olympus", ["'Mars/Olympus'", "Europe/Berlin"]),
        ("iso8601", "../../etc/passwd", ["no time zone"]),
    ],
)
def test_what_may_be_declared(form: str, zone: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        parser(form, zone)
    for word in words:
        assert word in str(refused.value)
