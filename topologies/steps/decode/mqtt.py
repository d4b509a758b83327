"""MQTT messages to blocks, by payload templates."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from models import quality
from models.errors import MalformedRecord
from models.records import block as blocks
from models.records import headers, raw, values
from models.records.block import Block
from models.records.raw import MqttMessage
from topologies.core.record import Record
from topologies.core.step import BoundDecoder, Context, Decoder
from topologies.steps.decode.common import check_times, expect, flag_absent
from topologies.steps.decode.payloads import NotText, Reader, Samples, make_reader, parse
from topologies.steps.decode.templates import Missing, MqttTemplate, compile_path, find


class Mqtt(Decoder):
    """``raw-mqtt/1``: verbatim messages, read by the first template that fits each.

    A template fits by its topic filter and, where it has ``when``, by a path that must exist. A
    null is MISSING; text where the template promises numbers is kept as text and FAIL. A message
    that no template fits, or that is not what its template says, makes the whole gathered record
    malformed, since a record takes effect whole or not at all: the dead letter names the template,
    the topic and the path, and can be sent through again once the template is mended.
    """

    kind: ClassVar[str] = "mqtt"

    templates: tuple[MqttTemplate, ...] = Field(
        min_length=1, description="Payload templates; the first that fits a message reads it"
    )

    @model_validator(mode="after")
    def _names(self) -> Mqtt:
        names = [template.name for template in self.templates]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two templates are called {twice[0]!r}")
        return self

    @property
    def summary(self) -> str:
        return ", ".join(template.name for template in self.templates)

    def bind(self, context: Context) -> BoundDecoder:
        schema, header = headers.RAW_MQTT, headers.RAW_MQTT.header
        known = [
            (template, make_reader(template), compile_path(template.when) if template.when else ())
            for template in self.templates
        ]

        @lru_cache(maxsize=4096)
        def candidates(topic: str) -> list[tuple[MqttTemplate, Reader, tuple[str, ...]]]:
            return [entry for entry in known if entry[0].matches(topic)]

        def read(message: MqttMessage) -> Samples:
            fits = candidates(message.topic)
            documents: dict[str, Any] = {}
            for template, reader, when in fits:
                if template.format not in documents:
                    documents[template.format] = parse(template, message)
                document = documents[template.format]
                if when and not _exists(document, when):
                    continue
                return reader(message, document)
            why = (
                f"has none of the paths that templates {', '.join(t.name for t, *_ in fits)} need"
                if fits
                else f"fits none of the templates {', '.join(t.name for t in self.templates)}"
            )
            raise MalformedRecord(f"raw-mqtt: the message on {message.topic!r:.100} {why:.400}")

        def decode(record: Record, asset: str) -> Block:
            expect(record, schema, header)
            messages = raw.decode_mqtt(record.value)
            if len(messages) == 1:
                tags, times, found = read(messages[0])
            else:
                tags, times, found = _joined([read(message) for message in messages])
            received = max((message.received for message in messages), default=0)
            if not tags:
                return blocks.empty(asset, received)
            block = _block(asset, tags, times, found, received)
            check_times(block.t, "raw-mqtt")
            return block

        return decode


def _exists(document: Any, path: tuple[str, ...]) -> bool:
    try:
        find(document, path)
    except Missing:
        return False
    return True


def _joined(parts: list[Samples]) -> Samples:
    tags: list[str] = []
    times: list[int] = []
    found: list[Any] = []
    for more_tags, more_times, more_found in parts:
        tags += more_tags
        times += more_times
        found += more_found
    return tags, times, found


def _block(asset: str, tags: Any, times: Any, found: Any, received: int) -> Block:
    index: dict[str, int] = {}
    tag = [index.setdefault(name, len(index)) for name in tags]
    v, typed = values.split(found)
    q = flag_absent(quality.all_good(len(tag)), v, typed)
    wrong = [place for place, kind, _ in typed if kind == "s" and type(found[place]) is NotText]
    if wrong:
        q = q.copy()
        q[wrong] = quality.FAIL
    return Block(
        asset,
        tuple(index),
        np.array(tag, dtype=np.int32),
        np.array(times, dtype=np.int64),
        v,
        q,
        typed=tuple(
            (place, kind, str(value) if kind == "s" else value) for place, kind, value in typed
        ),
        received=received,
    )
