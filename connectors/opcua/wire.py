"""Reads publish responses of the OPC UA binary encoding (OPC UA Part 6, 5.2).

asyncua cuts times to microseconds, which is all a Python datetime holds; here they keep the 100 ns
of the protocol, and the picoseconds where a server sends them. Scalars are read here, which is
also several times faster; everything else is left to asyncua.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.ua_binary import (
    extensionobject_from_binary,
    nodeid_from_binary,
    struct_from_binary,
    variant_from_binary,
)

from connectors.opcua.values import plain

#: 1601-01-01 in ns since 1970, the zero of OPC UA times (Part 6, 5.2.2.5).
_EPOCH_NS = -11_644_473_600_000_000_000
#: 9999-12-31 23:59:59 as ticks: this and later mean "no time known".
_LAST_TICK = 2_650_467_743_990_000_000
_BAD = 0x80000000
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_I64 = struct.Struct("<q")
_U16 = struct.Struct("<H")
_HEAD = struct.Struct("<IB")
#: Scalars of fixed size by built-in type id (Part 6, 5.1.2).
_SCALARS = {
    1: struct.Struct("<?"), 2: struct.Struct("<b"), 3: struct.Struct("<B"), 4: struct.Struct("<h"),
    5: struct.Struct("<H"), 6: struct.Struct("<i"), 7: struct.Struct("<I"), 8: struct.Struct("<q"),
    9: struct.Struct("<Q"), 10: struct.Struct("<f"), 11: struct.Struct("<d"),
}  # fmt: skip
_STRING = 12
_DATA_CHANGE = ua.NodeId(ua.Int32(ObjectIds.DataChangeNotification_Encoding_DefaultBinary))

#: One notification: client handle, value, status, source time, server time (ns, None: not sent).
Change = tuple[int, Any, int, int | None, int | None]


@dataclass(slots=True)
class NotificationMessage:
    """The parts of a notification message that asyncua's publish loop and we look at."""

    SequenceNumber: int
    #: Truthy where the message holds data and is to be acknowledged.
    NotificationData: bool
    changes: list[Change] = field(default_factory=list)
    #: Status of a StatusChangeNotification: the subscription is over, or was transferred.
    status: int | None = None


@dataclass(slots=True)
class PublishResult:
    """A publish response's parameters."""

    SubscriptionId: int
    NotificationMessage: NotificationMessage


@dataclass(slots=True)
class PublishResponse:
    """What takes the place of ``ua.PublishResponse``."""

    Parameters: PublishResult


def read_publish_response(data: Buffer) -> PublishResponse:
    """Raises an exception of struct, asyncua or Python where the bytes are malformed."""
    nodeid_from_binary(data)
    header = struct_from_binary(ua.ResponseHeader, data)
    header.ServiceResult.check()
    subscription = _u32(data)
    for _ in range(_i32(data)):  # AvailableSequenceNumbers
        data.skip(4)
    data.skip(1)  # MoreNotifications
    message = NotificationMessage(_u32(data), False)
    data.skip(8)  # PublishTime
    for _ in range(max(0, _i32(data))):
        message.NotificationData = True
        _notification(data, message)
    return PublishResponse(PublishResult(subscription, message))


def _u32(data: Buffer) -> int:
    return int(_U32.unpack(data.read(4))[0])


def _i32(data: Buffer) -> int:
    return int(_I32.unpack(data.read(4))[0])


def _notification(data: Buffer, message: NotificationMessage) -> None:
    start = data.copy()
    kind = nodeid_from_binary(data)
    encoding = data.read(1)[0]
    if kind == _DATA_CHANGE and encoding == 1:
        length = _i32(data)
        _data_changes(data.read(length), message.changes)
        return
    notification = extensionobject_from_binary(start)
    data.skip(len(data) - len(start))
    if isinstance(notification, ua.StatusChangeNotification):
        message.status = int(notification.Status.value)


def _data_changes(raw: bytes, changes: list[Change]) -> None:
    (count,) = _I32.unpack_from(raw, 0)
    place = 4
    for _ in range(count):
        handle, mask = _HEAD.unpack_from(raw, place)
        place += 5
        value: Any = None
        status, source, server = 0, None, None
        if mask & 0x01:
            value, place = _variant(raw, place)
        if mask & 0x02:
            (status,) = _U32.unpack_from(raw, place)
            place += 4
        # on the wire the picoseconds follow their own time (Part 6, 5.2.2.17)
        if mask & 0x04:
            source = time_ns(_I64.unpack_from(raw, place)[0])
            place += 8
        if mask & 0x10:
            source = _finer(source, raw, place)
            place += 2
        if mask & 0x08:
            server = time_ns(_I64.unpack_from(raw, place)[0])
            place += 8
        if mask & 0x20:
            server = _finer(server, raw, place)
            place += 2
        # a bad value is none: what is beside the status is old, or nothing (Part 4, 7.11)
        changes.append((handle, None if status & _BAD else value, status, source, server))


def time_ns(ticks: int) -> int | None:
    """ns since 1970 of 100 ns ticks since 1601; None for "no time" and what int64 cannot hold."""
    if ticks <= 0 or ticks >= _LAST_TICK:
        return None
    ns = ticks * 100 + _EPOCH_NS
    return ns if -(2**63) < ns < 2**63 else None


def _finer(time: int | None, raw: bytes, place: int) -> int | None:
    """Add a field of 10 ps units, 0..9999 (Part 6, 5.2.2.17), cut to ns."""
    (tens,) = _U16.unpack_from(raw, place)
    return time if time is None else time + min(tens, 9999) // 100


def _variant(raw: bytes, place: int) -> tuple[Any, int]:
    encoding = raw[place]
    scalar = _SCALARS.get(encoding)  # arrays have bit 7 set
    if scalar is not None:
        return scalar.unpack_from(raw, place + 1)[0], place + 1 + scalar.size
    if encoding == _STRING:
        (length,) = _I32.unpack_from(raw, place + 1)
        if length < 0:
            return None, place + 5
        stop = place + 5 + length
        if stop > len(raw):
            raise ValueError(f"a string of {length} bytes ends behind the message")
        return raw[place + 5 : stop].decode("utf-8", "replace"), stop
    buffer = Buffer(raw, place)
    value = plain(variant_from_binary(buffer).Value)
    return value, buffer.cur_pos
