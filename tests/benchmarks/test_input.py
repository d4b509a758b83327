"""The benchmark's input is what connectors write, and its expected results are ours."""

from __future__ import annotations

import dataclasses

import numpy as np
import orjson
import pytest

from benchmarks import plant, shapes, watch
from benchmarks.shapes import SHAPES, Shape
from benchmarks.worker import aggregate
from models.catalogue import Knowledge
from models.records import headers, raw
from topologies.core import Record, compile_topology
from topologies.core.state import DictState

by_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def results(shape: Shape, windows: int) -> watch.Seen:
    """What our topology gives for an input, without Kafka."""
    (stage,) = compile_topology(aggregate("bench")).stages
    states: dict[bytes, DictState] = {}
    seen = watch.Seen()
    for number, (key, value, head, stamp) in enumerate(shapes.records(shape, windows)):
        record = Record("raw.opcua", 0, number, stamp, key, value, head)
        emissions, counts = stage(record, states.setdefault(key, DictState()), Knowledge())
        assert not counts.get("late")
        assert all(emission.output == "features" for emission in emissions)
        seen.payloads += [emission.value for emission in emissions]
    return seen


@by_shape
def test_records_are_those_a_connector_writes(shape: Shape) -> None:
    for _, value, head, _ in shapes.records(shape, 2):
        if head[headers.SCHEMA] != headers.RAW_OPCUA.header:
            continue
        got = raw.decode_opcua(value)
        status = got.status if got.status.size else np.zeros(got.t.size, np.uint32)
        changes = [
            raw.OpcUaChange(got.tags[tag], got.nodes[tag], int(t), int(t), int(code), float(v))
            for tag, t, code, v in zip(got.tag, got.t, status, got.v, strict=True)
        ]
        assert value == raw.encode_opcua(changes, got.received)


@by_shape
def test_our_windows_are_the_expected_ones(shape: Shape) -> None:
    expected = shapes.expect(shape, 2)
    seen = results(shape, 2)
    assert len(seen.payloads) == expected.results
    assert watch.differences(seen, expected) == []
    assert expected.rows[..., 1].sum() > 0, "some samples are bad"


@pytest.mark.parametrize("statistic", ["mean", "std", "min", "max", "count"])
def test_a_wrong_value_is_found(statistic: str) -> None:
    expected = shapes.expect(SHAPES[0], 2)
    seen = results(SHAPES[0], 2)
    wrong = orjson.loads(seen.payloads[7])
    column = wrong["count"] if statistic == "count" else wrong["stats"][statistic]
    column[3] *= 1.0001 if statistic != "count" else 2
    seen.payloads[7] = orjson.dumps(wrong)
    (said,) = watch.differences(seen, expected)
    assert f"values of {statistic} differ" in said


def test_missing_and_repeated_results_are_found() -> None:
    expected = shapes.expect(SHAPES[0], 2)
    seen = results(SHAPES[0], 2)
    seen.payloads[5] = seen.payloads[6]
    said = watch.differences(seen, expected)
    assert said[0] == "10 results missing, 10 given twice"


def test_the_rate_is_that_after_warming_up() -> None:
    seen = watch.Seen([b""] * 100, [(0.0, 10), (10.0, 40), (11.0, 70), (12.0, 100)])
    assert seen.rate(0.4) == 30.0


def test_the_plant_has_the_anomalies_that_latency_counts_on() -> None:
    from benchmarks.traffic import knowledge
    from topologies.core.discover import get

    compiled = compile_topology(get("glass"))
    stage = next(stage for stage in compiled.stages if stage.name == "opcua")
    assets, known = 20, knowledge(20)
    states: dict[bytes, DictState] = {}
    for number, (key, value, head, stamp) in enumerate(plant.records(assets, 6)):
        turn, place = divmod(number, assets)
        record = Record("raw.opcua", 0, number, stamp, key, value, head)
        emissions, _ = stage(record, states.setdefault(key, DictState()), known)
        found = [emission for emission in emissions if emission.output == "anomalies"]
        assert bool(found) == (place % plant.HOT_EVERY == 0 and turn > 0)
        assert all(one.headers[headers.EVENT_ID] == head[headers.EVENT_ID] for one in found)


def test_shapes_hold_the_same_samples() -> None:
    blocks, single = (shapes.expect(dataclasses.replace(SHAPES[n]), 2) for n in (0, 2))
    good = blocks.rows[..., 1] + single.rows[..., 1] == 0
    np.testing.assert_array_equal(blocks.rows[good], single.rows[good])
