"""Payload templates: how the messages of one kind of device are laid out, as a declared value."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.timeparse import parser


class MqttTemplate(BaseModel):
    """How payloads on some topics are read.

    A *path* leads into a JSON document: names and list positions joined by dots
    (``device.time``, ``readings.0.value``), or a JSON pointer where names hold dots
    (``/device/serial.no``). The samples are found in exactly one of these ways:

    - ``items``: a list of objects, each with a tag (``tag``) and a value (``value``);
    - ``tags``: a path for each tag;
    - ``fields``: all members of an object: ``"*"`` of the document, ``"values.*"`` of a part;
    - ``columns``: an object with a list of values for each tag; ``time`` is a list as well;
    - ``value``: one value, the tag named by a level of the topic (``tag_level``);
    - ``format = "plain"``: the whole payload is the value, the tag a level of the topic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="Named in dead letters")
    topic: str = Field("#", description="Topic filter with + and #; the first that matches is used")
    when: str | None = Field(
        None, description="Path that must exist, to tell several shapes on one topic apart"
    )
    format: Literal["json", "plain"] = Field("json", description="JSON, or a bare value as text")
    time: str | None = Field(None, description="Path of the time; none: the receive time")
    time_format: str = Field(
        "iso8601",
        description="unix_s, unix_ms, unix_us, unix_ns, iso8601, or a strptime format",
    )
    timezone: str = Field("UTC", description="Zone (IANA) of times that carry no offset")
    items: str | None = Field(None, description="Path of a list of objects, one a sample")
    item_time: str | None = Field(None, description="In an item: path of its own time")
    tag: str | None = Field(None, description="In an item: path of the tag's name")
    value: str | None = Field(None, description="In an item, or the document: path of the value")
    tags: dict[str, str] = Field(default_factory=dict, description="Path of each tag's value")
    fields: str | None = Field(None, description="'*', or a path that ends in '.*'")
    ignore: tuple[str, ...] = Field((), description="Members of `fields` that are no tags")
    columns: str | None = Field(None, description="Path of an object of lists")
    tag_level: int | None = Field(
        None, description="Topic level that names the tag: 0 the first, -1 the last"
    )
    decimal: Literal["", ".", ","] = Field(
        "", description="Numbers are text with this decimal sign; empty: text is text"
    )
    rename: dict[str, str] = Field(default_factory=dict, description="Source's name to tag")

    @field_validator("topic")
    @classmethod
    def _filter(cls, topic: str) -> str:
        levels = topic.split("/")
        for place, level in enumerate(levels):
            if (len(level) > 1 and ("+" in level or "#" in level)) or (
                level == "#" and place != len(levels) - 1
            ):
                raise ValueError(f"{topic!r} is no topic filter: + and # stand alone, # is last")
        return topic

    @field_validator("fields")
    @classmethod
    def _star(cls, fields: str | None) -> str | None:
        if fields is not None and fields != "*" and not fields.endswith((".*", "/*")):
            raise ValueError(f"fields is '*' or a path that ends in '.*', not {fields!r}")
        return fields

    @model_validator(mode="after")
    def _one_way(self) -> MqttTemplate:
        parser(self.time_format, self.timezone)
        ways = {
            "items": self.items is not None,
            "tags": bool(self.tags),
            "fields": self.fields is not None,
            "columns": self.columns is not None,
            "value": self.value is not None and self.items is None,
            "format = 'plain'": self.format == "plain",
        }
        given = [way for way, is_given in ways.items() if is_given]
        if len(given) != 1:
            raise ValueError(
                f"template {self.name!r} needs exactly one of {', '.join(ways)};"
                f" it has {', '.join(given) or 'none'}"
            )
        way = given[0]
        if way == "items" and (self.tag is None or self.value is None):
            raise ValueError(f"template {self.name!r}: items needs tag and value")
        if way == "columns" and self.time is None:
            raise ValueError(f"template {self.name!r}: columns needs the path of the times")
        if way in ("value", "format = 'plain'") and self.tag_level is None:
            raise ValueError(f"template {self.name!r}: {way} needs tag_level")
        if way == "format = 'plain'" and (self.time is not None or self.when is not None):
            raise ValueError(f"template {self.name!r}: a plain payload has no paths")
        return self

    def matches(self, topic: str) -> bool:
        """Whether a topic matches the filter (MQTT 5, 4.7)."""
        wanted, given = self.topic.split("/"), topic.split("/")
        if topic.startswith("$") and wanted[0] in ("+", "#"):
            return False
        for place, level in enumerate(wanted):
            if level == "#":
                return True
            if place >= len(given) or level not in ("+", given[place]):
                return False
        return len(wanted) == len(given)


Path = tuple[str, ...]


def compile_path(path: str) -> Path:
    """The steps of a path. A JSON pointer (RFC 6901) begins with ``/``."""
    if path.startswith("/"):
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
    return tuple(path.split(".")) if path else ()


class Missing(Exception):
    """Nothing is at a path."""


def find(document: object, path: Path) -> object:
    """What is at a path; raises Missing."""
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdecimal() and len(part) < 9:
            if int(part) >= len(document):
                raise Missing
            document = document[int(part)]
        else:
            raise Missing
    return document
