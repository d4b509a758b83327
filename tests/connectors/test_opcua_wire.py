"""Publish responses as asyncua writes them, and as other servers do."""

from __future__ import annotations

import math
import struct
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import given
from hypothesis import strategies as st

from connectors.opcua.wire import Change, NotificationMessage, read_publish_response, time_ns
from models.time import from_datetime

MOMENT = datetime(2020, 3, 9, 10, 14, 33, 123456, tzinfo=UTC)


def response(*values: ua.DataValue, extra: list[Any] | None = None) -> bytes:
    notification = ua.DataChangeNotification(
        MonitoredItems=[
            ua.MonitoredItemNotification(ClientHandle=ua.UInt32(n), Value=value)
            for n, value in enumerate(values, 1)
        ]
    )
    result = ua.PublishResult(SubscriptionId=ua.UInt32(77), MoreNotifications=False)
    result.AvailableSequenceNumbers = [ua.UInt32(4), ua.UInt32(5)]
    result.NotificationMessage.SequenceNumber = ua.UInt32(5)
    result.NotificationMessage.NotificationData = [notification, *(extra or [])]
    return bytes(struct_to_binary(ua.PublishResponse(Parameters=result)))


def read(raw: bytes) -> NotificationMessage:
    answer = read_publish_response(Buffer(raw))
    assert answer.Parameters.SubscriptionId == 77
    message = answer.Parameters.NotificationMessage
    assert message.SequenceNumber == 5
    return message


def changes(*values: ua.DataValue) -> list[Change]:
    return read(response(*values)).changes


def good(value: Any, kind: ua.VariantType) -> ua.DataValue:
    return ua.DataValue(
        Value=ua.Variant(value, kind), SourceTimestamp=MOMENT, ServerTimestamp=MOMENT
    )


T = ua.VariantType
GUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (T.Boolean, True, True),
        (T.SByte, -5, -5),
        (T.Byte, 250, 250),
        (T.Int16, -(2**15), -(2**15)),
        (T.UInt16, 2**16 - 1, 2**16 - 1),
        (T.Int32, -(2**31), -(2**31)),
        (T.UInt32, 2**32 - 1, 2**32 - 1),
        (T.Int64, -(2**63), -(2**63)),
        (T.UInt64, 2**64 - 1, 2**64 - 1),
        (T.Float, 0.5, 0.5),
        (T.Double, -1e-300, -1e-300),
        (T.String, "Öl \u2713", "Öl \u2713"),
        (T.String, "", ""),
        (T.String, None, None),
        (T.DateTime, MOMENT, "2020-03-09T10:14:33.123456+00:00"),
        (T.Guid, GUID, str(GUID)),
        (T.ByteString, b"\x00\xff", "AP8="),
        (T.NodeId, ua.NodeId("a", 2), "ns=2;s=a"),
        (T.QualifiedName, ua.QualifiedName("a", 2), "2:a"),
        (T.LocalizedText, ua.LocalizedText("Ofen"), "Ofen"),
        (T.StatusCode, ua.StatusCode(ua.UInt32(0x80340000)), 0x80340000),
    ],
)
def test_built_in_types(kind: ua.VariantType, value: Any, expected: Any) -> None:
    [(handle, found, status, source, server)] = changes(good(value, kind))
    assert (handle, status) == (1, 0)
    assert type(found) is type(expected)
    assert found == expected
    assert source == server == from_datetime(MOMENT)


def test_arrays_structures_and_what_follows_them() -> None:
    found = changes(
        good([1, 2**63], T.UInt64),
        good(["a", None], T.String),
        good(ua.Range(Low=1.0, High=2.0), T.ExtensionObject),
        good(5.0, T.Double),
    )
    assert [change[1] for change in found] == [
        [1, 2**63],
        ["a", None],
        {"Low": 1.0, "High": 2.0},
        5.0,
    ]


def test_not_a_number_stays() -> None:
    [(_, value, *_)] = changes(good(math.nan, T.Double))
    assert math.isnan(value)


def test_bad_status_carries_no_old_value() -> None:
    bad = good(5.0, T.Double)
    bad.StatusCode = ua.StatusCode(ua.UInt32(0x80050000))
    uncertain = good(6.0, T.Double)
    uncertain.StatusCode = ua.StatusCode(ua.UInt32(0x40000000))
    assert [(value, status) for _, value, status, *_ in changes(bad, uncertain)] == [
        (None, 0x80050000),
        (6.0, 0x40000000),
    ]


def test_absent_parts() -> None:
    value = ua.DataValue(Value=ua.Variant(1.0, T.Double))
    value.StatusCode = None
    assert changes(value) == [(1, 1.0, 0, None, None)]


def handmade(mask: int, body: bytes) -> list[Change]:
    """A data change with a data value that asyncua would not write."""
    raw = response(ua.DataValue(Value=ua.Variant(1.0, T.Double)))
    old = response(ua.DataValue(Value=ua.Variant(1.0, T.Double)))
    item = struct.pack("<iIB", 1, 1, mask) + body + struct.pack("<i", -1)
    start = old.index(struct.pack("<iI", 1, 1))
    stop = len(old) - 8  # Results and DiagnosticInfos of the response, both empty
    raw = old[: start - 4] + struct.pack("<i", len(item)) + item + old[stop:]
    return read(raw).changes


def test_hundred_nanoseconds_and_picoseconds_are_kept() -> None:
    ticks = 132_281_000_731_234_567  # 2020-03-09
    source = (ticks - 116_444_736_000_000_000) * 100
    # source time, its picoseconds (units of 10), server time: the order of Part 6
    body = struct.pack("<qHq", ticks, 4200, ticks + 1)
    assert handmade(0x04 | 0x10 | 0x08, body) == [(1, None, 0, source + 42, source + 100)]


@pytest.mark.parametrize("ticks", [0, -1, 2**63 - 1, 2_650_467_743_990_000_000])
def test_times_that_mean_none(ticks: int) -> None:
    assert time_ns(ticks) is None


@given(st.datetimes(datetime(1678, 1, 1), datetime(2262, 1, 1)))
def test_times_equal_asyncuas(moment: datetime) -> None:
    ticks = ua.datetime_to_win_epoch(moment.replace(tzinfo=UTC))
    assert time_ns(ticks) == from_datetime(moment)


def test_status_change_and_keep_alive() -> None:
    closed = ua.StatusChangeNotification(Status=ua.StatusCode(ua.UInt32(0x800A0000)))
    message = read(response(good(1.0, T.Double), extra=[closed]))
    assert message.status == 0x800A0000
    assert len(message.changes) == 1
    assert message.NotificationData
    result = ua.PublishResult(SubscriptionId=ua.UInt32(77), MoreNotifications=False)
    result.NotificationMessage.SequenceNumber = ua.UInt32(5)
    raw = struct_to_binary(ua.PublishResponse(Parameters=result))
    assert not read(raw).NotificationData


@given(st.data())
def test_cut_messages_raise_and_never_hang(data: st.DataObject) -> None:
    raw = response(good(5.0, T.Double), good("text", T.String))
    cut = data.draw(st.integers(0, len(raw) - 9))
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, the line counts it
        read_publish_response(Buffer(raw[:cut]))
