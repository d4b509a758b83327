"""Reading of one MQTT payload by one template: a function per template, made once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import orjson

from models.errors import MalformedRecord
from models.records.columns import shown
from models.records.raw import MqttMessage
from models.timeparse import parser
from topologies.steps.decode.templates import Missing, MqttTemplate, Path, compile_path, find

#: Tags, times (ns) and values of one message, in the order of arrival.
Samples = tuple[Sequence[str], Sequence[int], Sequence[Any]]
Reader = Callable[[MqttMessage, Any], Samples]

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}", re.ASCII)
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_WORDS: dict[str, Any] = {
    "": None, "null": None, "none": None, "true": True, "false": False,
    "nan": math.nan, "inf": math.inf, "-inf": -math.inf,
}  # fmt: skip


class NotText(str):
    """Text where the template promises a number: kept, and flagged FAIL."""

    __slots__ = ()


def number(text: str, decimal: str) -> Any:
    """The value that a text stands for; NotText where it is no number."""
    text = text.strip()
    plain = text.replace(",", ".") if decimal == "," and text.count(",") == 1 else text
    if decimal == "," and "." in text:
        return NotText(text)
    if _INTEGER.fullmatch(plain):
        return int(plain)
    if _REAL.fullmatch(plain):
        return float(plain)
    word = text.lower()
    return _WORDS[word] if word in _WORDS else NotText(text)


def make_reader(template: MqttTemplate) -> Reader:
    """The function that reads a message's document (the parsed JSON, or the plain text)."""
    if template.format == "plain":
        read = _plain(template)
    elif template.items is not None:
        read = _items(template, template.items)
    elif template.columns is not None:
        read = _columns(template, template.columns)
    elif template.fields is not None:
        read = _fields(template, template.fields)
    elif template.tags:
        read = _tags(template)
    else:
        read = _single(template)
    rename, decimal = template.rename, template.decimal

    def reader(message: MqttMessage, document: Any) -> Samples:
        tags, times, values = read(message, document)
        if rename:
            tags = [rename.get(tag, tag) for tag in tags]
        if decimal and template.format == "json":
            values = [number(v, decimal) if type(v) is str else v for v in values]
        return tags, times, values

    return reader


def parse(template: MqttTemplate, message: MqttMessage) -> Any:
    """The document of a message; raises MalformedRecord where it is not of the format."""
    if template.format == "plain":
        try:
            return message.payload.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(template, message, "the payload is not UTF-8 text") from error
    try:
        return orjson.loads(message.payload)
    except orjson.JSONDecodeError as error:
        raise _wrong(template, message, f"the payload is not JSON: {error}") from error


def _wrong(template: MqttTemplate, message: MqttMessage, what: str) -> MalformedRecord:
    return MalformedRecord(
        f"raw-mqtt: template {template.name!r}, topic {message.topic!r:.100}: {what}"
    )


def _at(template: MqttTemplate, message: MqttMessage, document: Any, path: Path) -> Any:
    try:
        return find(document, path)
    except Missing:
        where = ".".join(path)
        raise _wrong(template, message, f"nothing at path {where!r}") from None


def _clock(template: MqttTemplate, path: str | None) -> Callable[[MqttMessage, Any], int]:
    """The function that gives the time of a document, by a path."""
    if path is None:
        return lambda message, document: message.received
    steps, parse_time = compile_path(path), parser(template.time_format, template.timezone)

    def clock(message: MqttMessage, document: Any) -> int:
        found = _at(template, message, document, steps)
        try:
            return parse_time(found)
        except ValueError as error:
            raise _wrong(template, message, f"at path {path!r}: {error}") from error

    return clock


def _tag(template: MqttTemplate, message: MqttMessage, name: Any) -> str:
    if type(name) is not str or not name or "\0" in name:
        raise _wrong(template, message, f"a tag's name is {shown(name)}, not text without NUL")
    return name


def _of_topic(template: MqttTemplate, message: MqttMessage) -> str:
    levels = message.topic.split("/")
    level = template.tag_level or 0
    if not -len(levels) <= level < len(levels):
        raise _wrong(template, message, f"the topic has no level {level}")
    return _tag(template, message, levels[level])


def _plain(template: MqttTemplate) -> Reader:
    decimal = template.decimal or "."

    def read(message: MqttMessage, document: Any) -> Samples:
        value = number(document, decimal)
        if type(value) is NotText and not template.decimal:
            value = str(value)
        return (_of_topic(template, message),), (message.received,), (value,)

    return read


def _single(template: MqttTemplate) -> Reader:
    path, clock = compile_path(template.value or ""), _clock(template, template.time)

    def read(message: MqttMessage, document: Any) -> Samples:
        value = _at(template, message, document, path)
        return (_of_topic(template, message),), (clock(message, document),), (value,)

    return read


def _tags(template: MqttTemplate) -> Reader:
    clock = _clock(template, template.time)
    paths = [(tag, compile_path(path)) for tag, path in template.tags.items()]

    def read(message: MqttMessage, document: Any) -> Samples:
        t = clock(message, document)
        found: dict[str, Any] = {}
        for tag, path in paths:
            try:
                found[tag] = find(document, path)
            except Missing:
                continue
        if not found:
            raise _wrong(template, message, "none of the paths of `tags` exists")
        return list(found), [t] * len(found), list(found.values())

    return read


def _fields(template: MqttTemplate, fields: str) -> Reader:
    clock, path = _clock(template, template.time), compile_path(fields)[:-1]
    times = compile_path(template.time) if template.time else ()
    ignored = frozenset(template.ignore) | (
        frozenset(times[-1:]) if times[:-1] == path else frozenset()
    )

    def read(message: MqttMessage, document: Any) -> Samples:
        t = clock(message, document)
        members = _at(template, message, document, path)
        if not isinstance(members, dict):
            where = ".".join(path) or "the document"
            raise _wrong(template, message, f"{where!r} is not an object")
        # A part of the document with parts of its own is no measured point.
        tags = [
            name
            for name, value in members.items()
            if name not in ignored and type(value) is not dict and type(value) is not list
        ]
        for name in tags:
            _tag(template, message, name)
        return tags, [t] * len(tags), [members[name] for name in tags]

    return read


def _items(template: MqttTemplate, items: str) -> Reader:
    path = compile_path(items)
    clock = _clock(template, template.time) if template.item_time is None else None
    item_clock = None if clock else _clock(template, template.item_time)
    tag, value = compile_path(template.tag or ""), compile_path(template.value or "")

    def read(message: MqttMessage, document: Any) -> Samples:
        entries = _at(template, message, document, path)
        if not isinstance(entries, list):
            raise _wrong(template, message, f"{items!r} is not a list")
        t = clock(message, document) if clock else 0
        tags = [_tag(template, message, _at(template, message, e, tag)) for e in entries]
        values = [_at(template, message, e, value) for e in entries]
        times = [item_clock(message, e) for e in entries] if item_clock else [t] * len(tags)
        return tags, times, values

    return read


def _columns(template: MqttTemplate, columns: str) -> Reader:
    path, times_at = compile_path(columns), compile_path(template.time or "")
    parse_time = parser(template.time_format, template.timezone)

    def read(message: MqttMessage, document: Any) -> Samples:
        stamps = _at(template, message, document, times_at)
        data = _at(template, message, document, path)
        if not isinstance(stamps, list) or not isinstance(data, dict):
            where = f"{template.time!r} is not a list, or {columns!r} not an object"
            raise _wrong(template, message, where)
        tags = [_tag(template, message, name) for name in data if name not in template.ignore]
        lists = [data[name] for name in tags]
        for name, values in zip(tags, lists, strict=True):
            if not isinstance(values, list) or len(values) != len(stamps):
                wrong = f"{name!r:.80} is not a list of {len(stamps)} values, one a time"
                raise _wrong(template, message, wrong)
        try:
            t = [parse_time(stamp) for stamp in stamps]
        except ValueError as error:
            raise _wrong(template, message, f"at path {template.time!r}: {error}") from error
        # Row by row: that is how the device measured, and how lateness is judged.
        rows = list(chain.from_iterable(zip(*lists, strict=True)))
        return tags * len(t), [stamp for stamp in t for _ in tags], rows

    return read
