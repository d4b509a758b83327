"""Reading the times that sources write: Unix numbers, ISO 8601, and formats of their own.

Everything is read exactly to the nanosecond; digits beyond the ninth are cut. No float arithmetic
touches a time: ``1699999999.123`` is the number its shortest text says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, tzinfo
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from functools import partial
from zoneinfo import ZoneInfo

from models.time import MAX_NS, MIN_NS, NS_PER_MS, NS_PER_S, NS_PER_US, from_datetime

#: A reader of times: gives ns since 1970 UTC, or raises ValueError with the reason.
TimeParser = Callable[[object], int]

#: Nanoseconds in the unit of each Unix format.
UNIX = {"unix_s": NS_PER_S, "unix_ms": NS_PER_MS, "unix_us": NS_PER_US, "unix_ns": 1}
FORMATS = (*UNIX, "iso8601")

_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,30}))?)?"
    r" ?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
#: Source texts longer than this are not looked at.
_LONGEST = 100


def parser(form: str, timezone: str = "UTC") -> TimeParser:
    """The reader of a format: one of :data:`FORMATS`, or a ``strptime`` format.

    ``timezone`` (IANA name) is where times without an offset belong; a time that occurs twice
    when clocks go back is taken as the first. Raises ValueError for an unknown format or zone.
    """
    zone = _zone(timezone)
    if form in UNIX:
        return partial(unix, unit=UNIX[form])
    if form == "iso8601":
        return partial(iso8601, zone=zone)
    if "%" in form:
        return partial(_strptime, form=form, zone=zone)
    raise ValueError(
        f"{form!r} is no time format: one of {', '.join(FORMATS)}, or a strptime format such as"
        " '%d.%m.%Y %H:%M:%S'"
    )


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone such as 'UTC' or 'Europe/Berlin'") from error


def unix(value: object, unit: int) -> int:
    """A number (or its text) of ``unit`` ns since 1970, cut to whole ns."""
    if type(value) is int:
        return _checked(value * unit, value)
    if isinstance(value, float):
        text = repr(value)
    elif isinstance(value, str):
        text = value.strip()
    else:
        raise ValueError(f"a time must be a number, not {_shown(value)}")
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        raise ValueError(f"{_shown(value)} is no number")
    try:
        exact = Decimal(text) * unit
        whole = int(exact.to_integral_value(ROUND_FLOOR))
    except InvalidOperation as error:
        raise ValueError(f"the time {_shown(value)} is out of range") from error
    return _checked(whole, value)


def iso8601(value: object, zone: tzinfo) -> int:
    """Date and time of day by ISO 8601, extended or basic, ``T`` or a blank between them.

    Without an offset it is local time of ``zone``. A leap second (``:60``) counts as the next one.
    """
    text = _text(value)
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"{_shown(value)} is no ISO 8601 time")
    year, month, day, hour, minute, second, fraction, utc, sign, off_hour, off_minute = (
        match.groups()
    )
    seconds = int(second or 0)
    leap = seconds == 60
    moment = datetime(
        int(year), int(month), int(day), int(hour), int(minute), 59 if leap else seconds
    )
    if sign:
        east = int(off_hour) * 3600 + int(off_minute or 0) * 60
        offset = -east if sign == "-" else east
    elif utc:
        offset = 0
    else:
        offset = _offset(moment, zone)
    days = moment.toordinal() - _EPOCH_DAY
    whole = days * 86400 + moment.hour * 3600 + moment.minute * 60 + moment.second + leap - offset
    ns = int(fraction[:9].ljust(9, "0")) if fraction else 0
    return _checked(whole * NS_PER_S + ns, value)


def _offset(moment: datetime, zone: tzinfo) -> int:
    offset = zone.utcoffset(moment.replace(tzinfo=zone))
    return 0 if offset is None else offset.days * 86400 + offset.seconds


def _strptime(value: object, form: str, zone: tzinfo) -> int:
    text = _text(value)
    moment = datetime.strptime(text, form)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return _checked(from_datetime(moment), value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a time must be text, not {_shown(value)}")
    text = value.strip()
    if len(text) > _LONGEST:
        raise ValueError(f"{_shown(value)} is no time")
    return text


def _checked(ns: int, value: object) -> int:
    if not MIN_NS <= ns <= MAX_NS:
        raise ValueError(f"the time {_shown(value)} is out of range (years 1677 to 2262)")
    return ns


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
