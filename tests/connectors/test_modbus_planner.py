"""The plan reads every field whole, in requests that a device takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.modbus.grid import Grid
from connectors.modbus.planner import MAX_BITS, Range, plan
from models.modbus import REGISTERS, ModbusTemplate


def template(fields: dict[str, dict[str, object]], **more: object) -> ModbusTemplate:
    return ModbusTemplate.model_validate({"fields": fields, **more})


@st.composite
def templates(draw: st.DrawFn) -> ModbusTemplate:
    fields = {}
    for number in range(draw(st.integers(1, 40))):
        table = draw(st.sampled_from(["coil", "discrete", "input", "holding"]))
        bits = table in ("coil", "discrete")
        kind = "bool" if bits else draw(st.sampled_from([*REGISTERS, "string"]))
        length = draw(st.integers(1, 30)) if kind == "string" else 1
        address = draw(st.integers(0, draw(st.sampled_from([50, 3000, 65000]))))
        fields[f"f{number}"] = {
            "table": table, "address": address, "type": kind, "length": length,
        }  # fmt: skip
    longest = draw(st.integers(30, 125))
    return template(fields, max_registers=longest, max_hole=draw(st.integers(0, 124)))


@given(templates())
def test_every_field_is_read_whole_by_requests_within_limits(made: ModbusTemplate) -> None:
    ranges = plan(made)
    for field in made.fields.values():
        assert any(
            each.table == field.table
            and each.address <= field.address
            and field.address + field.registers <= each.stop
            for each in ranges
        )
    for each in ranges:
        bits = each.table in ("coil", "discrete")
        assert each.count <= (MAX_BITS if bits else made.max_registers)
        used = set()
        for field in made.fields.values():
            if field.table == each.table:
                used |= set(range(field.address, field.address + field.registers))
        # never more unused registers in a row than allowed, and none at the ends
        assert {each.address, each.stop - 1} <= used
        hole = 0
        for address in range(each.address, each.stop):
            hole = 0 if address in used else hole + 1
            assert hole <= made.max_hole * (16 if bits else 1)


def test_neighbours_share_a_request_and_a_hole_may_split_them() -> None:
    fields: dict[str, dict[str, object]] = {
        "a": {"address": 0, "type": "float32"},
        "b": {"address": 2, "type": "int64"},
        "c": {"address": 10, "type": "uint16"},
    }
    assert plan(template(fields)) == (Range("holding", 0, 11),)
    assert plan(template(fields, max_hole=3)) == (Range("holding", 0, 6), Range("holding", 10, 1))


def test_field_that_does_not_fit_is_not_split() -> None:
    fields: dict[str, dict[str, object]] = {
        "a": {"address": 0, "type": "uint16"},
        "b": {"address": 1, "type": "float64"},
    }
    assert plan(template(fields, max_registers=4)) == (
        Range("holding", 0, 1),
        Range("holding", 1, 4),
    )


@given(st.integers(1, 1000), st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_grid_stays_on_its_points_and_counts_what_it_missed(
    interval: int, waits: list[int]
) -> None:
    grid, now, done = Grid(interval, 100), 100, 0
    for wait in waits:
        now = max(now + wait, grid.due)
        done += 1 + grid.take(now)
        assert (grid.due - 100) % interval == 0
        assert now < grid.due <= now + interval
        assert grid.due == 100 + done * interval


@pytest.mark.parametrize(("late", "missed"), [(0, 0), (99, 0), (100, 1), (350, 3)])
def test_late_polls(late: int, missed: int) -> None:
    assert Grid(100, 1000).take(1000 + late) == missed
