"""Records become documents that say all the record said, under an id that is theirs alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import bson
import numpy as np
import pytest
from bson import Decimal128
from hypothesis import given
from hypothesis import strategies as st

from app.store import Mapper, OutputSpec, Source
from app.store.reading import read_block, read_event
from models.errors import MalformedRecord, RecordTooLarge
from models.records import block as blocks
from models.records import events, features, headers, values
from models.records import late as late_records
from models.records.events import Alarm, Anomaly
from models.records.late import Late

READINGS = OutputSpec("readings", "readings")
FEATURES = OutputSpec("features", "features")
ANOMALIES = OutputSpec("anomalies", "anomalies")
ALARMS = OutputSpec("alarms", "alarms")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), min_size=1, max_size=9)
numbers = (
    st.floats(allow_nan=True, allow_infinity=True)
    | st.integers(-(2**63), 2**64 - 1)
    | st.booleans()
    | st.none()
    | texts
    | st.lists(st.integers(0, 9), max_size=3)
)
times = st.integers(-(2**63) + 1, 2**63 - 1)


def source(value: bytes | None, schema: headers.Schema, event_id: bytes | None = b"e:1") -> Source:
    head = {headers.SCHEMA: schema.header}
    if event_id is not None:
        head[headers.EVENT_ID] = event_id
    return Source("plant.readings", 3, 41, 0, b"pump", value, head)


def document(mapper: Mapper, output: OutputSpec, given: Source, **more: Any) -> dict[str, Any]:
    (write,) = mapper.writes(output, given, **more)
    return bson.decode(write.document.raw)


@st.composite
def block_of(draw: st.DrawFn) -> blocks.Block:
    size = draw(st.integers(0, 12))
    tags = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
    v, typed = values.split(draw(st.lists(numbers, min_size=size, max_size=size)))
    one = st.lists(st.integers(0, 2**32 - 1), min_size=size, max_size=size)
    return blocks.Block(
        asset=draw(names),
        tags=tags,
        tag=np.array([draw(st.integers(0, len(tags) - 1)) for _ in range(size)], np.int32),
        t=np.array([draw(times) for _ in range(size)], np.int64),
        v=v,
        q=np.array([draw(st.sampled_from([1, 2, 3, 4, 9])) for _ in range(size)], np.uint8),
        code=np.array(draw(one), np.uint32),
        why=np.array(draw(one), np.uint32),
        typed=typed,
        received=draw(times),
    )


@given(block_of(), st.sampled_from(["arrays", "packed"]), st.booleans())
def test_a_block_comes_back_as_it_was(block: blocks.Block, layout: Any, decimals: bool) -> None:
    encoded = blocks.encode(block)
    stored = document(Mapper("plant", layout, decimals), READINGS, source(encoded, headers.BLOCK))
    back = read_block(stored)
    assert blocks.encode(back) == encoded
    assert [repr(value) for value in back.exact()] == [
        repr(value) for value in blocks.decode(encoded).exact()
    ]
    assert stored["n"] == len(block)
    assert stored["received_ns"] == block.received
    if len(block):
        assert (stored["start_ns"], stored["end_ns"]) == (block.t.min(), block.t.max())
    else:
        assert stored["start"] is None


def test_values_that_are_no_plain_numbers_are_told_apart() -> None:
    given_values = [1.5, math.nan, math.inf, 2**53 + 1, 2**64 - 1, "off", True, [1, 2**64 - 1]]
    v, typed = values.split(given_values)
    size = len(given_values)
    block = blocks.Block(
        "pump",
        ("a",),
        np.zeros(size, np.int32),
        np.arange(size),
        v,
        np.ones(size, np.uint8),
        typed=typed,
    )
    stored = document(Mapper("plant"), READINGS, source(blocks.encode(block), headers.BLOCK))
    assert stored["v"] == [1.5, None, None, 2.0**53, 2.0**64, None, 1.0, None]
    assert [(e["i"], e["kind"], e["value"]) for e in stored["typed"]] == [
        (1, "f", "nan"),
        (2, "f", "inf"),
        (3, "i", 2**53 + 1),
        (4, "i", Decimal128(str(2**64 - 1))),
        (5, "s", "off"),
        (6, "b", True),
        (7, "j", "[1,18446744073709551615]"),
    ]
    # Equal entries are kept once, and still answer queries such as {q: 4}.
    assert stored["q"] == 1
    assert stored["tag"] == 0
    assert "code" not in stored
    text = document(
        Mapper("plant", decimals=False), READINGS, source(blocks.encode(block), headers.BLOCK)
    )
    assert text["typed"][3]["value"] == str(2**64 - 1)


def test_the_event_id_is_the_id_and_else_the_address() -> None:
    block = blocks.encode(blocks.empty("pump"))
    mapper = Mapper("plant")
    assert document(mapper, READINGS, source(block, headers.BLOCK))["_id"] == "e:1"
    none = source(block, headers.BLOCK, event_id=None)
    assert document(mapper, READINGS, none)["_id"] == "plant.readings:3:41"


def feature(asset: str, window: str, tag: str, start: int) -> Source:
    row = features.Features(
        asset,
        window,
        (tag,),
        np.zeros(1, np.int32),
        np.array([start]),
        np.array([start + 10]),
        np.array([3]),
        np.array([1]),
        {"mean": np.array([2.5]), "std": np.array([math.nan])},
        np.array([2], np.uint8),
    )
    return source(features.encode(row), headers.FEATURES)


places = st.tuples(*[st.text("ab/%2F", min_size=1, max_size=5)] * 3, st.integers(0, 3))


@given(places, places)
def test_two_windows_share_an_id_only_if_they_are_the_same(one: Any, other: Any) -> None:
    mapper = Mapper("plant")
    ids = [document(mapper, FEATURES, feature(*place))["_id"] for place in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


def test_a_row_is_a_document_with_its_window_and_statistics() -> None:
    stored = document(Mapper("plant"), FEATURES, feature("pump/1", "w10", "speed", 1_000_000_000))
    assert stored["_id"] == "plant/features/w10/pump%2F1/speed/1000000000"
    assert (stored["start_ns"], stored["end_ns"]) == (1_000_000_000, 1_000_000_010)
    assert (stored["count"], stored["bad"], stored["partial"]) == (3, 1, 2)
    assert stored["stats"] == {"mean": 2.5, "std": None}
    assert "stored" not in stored


def test_a_row_told_of_before_its_window_closes_has_a_revision() -> None:
    row = features.decode(feature("pump", "w", "speed", 0).value)
    mapper, found = Mapper("plant"), []
    for revision, final in ((4, False), (5, True)):
        told = replace(row, revision=np.array([revision]), final=final)
        (write,) = mapper.writes(FEATURES, source(features.encode(told), headers.FEATURES))
        stored = bson.decode(write.document.raw)
        assert (write.revision, stored["revision"], stored["final"]) == (revision, revision, final)
        found.append(write.id)
    assert found[0] == found[1]
    (plain,) = mapper.writes(FEATURES, source(features.encode(row), headers.FEATURES))
    assert plain.revision is None


def test_late_samples_of_a_record_are_a_document() -> None:
    late = Late(
        "pump",
        "w10",
        ("a", "b"),
        np.array([0, 1, 1], np.int32),
        np.array([5, 6, 17]),
        np.array([1.0, math.nan, 2.0]),
        np.array([1, 1, 4], np.uint8),
        np.array([0, 0, 10]),
        np.array([10, 10, 20]),
    )
    given_source = source(late_records.encode(late), headers.LATE)
    stored = document(Mapper("plant"), OutputSpec("late", "late"), given_source)
    assert stored["_id"] == "plant/late/w10/e:1"
    assert (stored["window"], stored["asset"], stored["tags"]) == ("w10", "pump", ["a", "b"])
    assert (stored["start_ns"], stored["end_ns"], stored["n"]) == (5, 17, 3)
    assert stored["v"] == [1.0, None, 2.0]
    assert (stored["from_ns"], stored["to_ns"]) == ([0, 0, 10], [10, 10, 20])
    assert "stored" not in stored
    kept = document(Mapper("plant"), OutputSpec("late", "late", retention=10**9), given_source)
    assert "stored" in kept


def test_an_event_is_its_newest_revision_and_kept_while_it_is_open() -> None:
    open_one = Anomaly(
        "z/pump/a/5", 0, "plant", "z", "pump", "a", "open", 5, None, 1.0, 9.0, 3.0, 9.0, 1, "why"
    )
    closed = Anomaly(
        "z/pump/a/5", 1, "plant", "z", "pump", "a", "closed", 5, 9, 1.0, None, 3.0, 9.5, 4, "why"
    )
    kept = OutputSpec("anomalies", "anomalies", retention=10**9)
    mapper = Mapper("plant")
    found = []
    for event in (open_one, closed):
        given_source = source(events.encode(event), headers.ANOMALY)
        (write,) = mapper.writes(kept, given_source, 1_700_000_000_000)
        stored = bson.decode(write.document.raw)
        assert (write.id, write.revision) == ("plant/anomalies/z/pump/a/5", event.revision)
        assert stored["_id"] == write.id
        assert read_event(Anomaly, stored) == event
        found.append(stored)
    assert "stored" not in found[0]
    assert found[1]["stored"].timestamp() > 0
    alarm = Alarm(
        "hi/pump/a/5", 2, "plant", "hi", "pump", "a", "raised", "low", 5, 7, None, 1.0, None, 2.0,
        "z", "why",
    )  # fmt: skip
    stored = document(Mapper("plant"), ALARMS, source(events.encode(alarm), headers.ALARM))
    assert read_event(Alarm, stored) == alarm
    assert stored["cleared"] is None


def test_what_cannot_be_a_document_is_refused_with_the_reason() -> None:
    mapper = Mapper("plant")
    with pytest.raises(MalformedRecord, match="schema is alarm/1, expected block/1"):
        mapper.writes(READINGS, source(b"{}", headers.ALARM))
    with pytest.raises(MalformedRecord, match="not JSON"):
        mapper.writes(FEATURES, source(b"{", headers.FEATURES))
    big = blocks.Block(
        "pump",
        ("a",),
        np.zeros(1, np.int32),
        np.zeros(1, np.int64),
        np.full(1, np.nan),
        np.ones(1, np.uint8),
        typed=((0, "s", "x" * (17 << 20)),),
    )
    with pytest.raises(RecordTooLarge, match="takes at most 16777216"):
        mapper.writes(READINGS, source(blocks.encode(big), headers.BLOCK))
