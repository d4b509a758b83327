"""State: compact, in chunks, exact over save and load."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import RecordTooLarge, StepError
from topologies.core.state import CHUNK, Column, Columns, DictState, Memory, Overlay, Table

COLUMNS = Columns(
    1, mean=Column(np.float64, np.nan), seen=Column(np.int64, -1), ring=Column(np.float64, 0.0, 5)
)


def work(state: DictState) -> tuple[Overlay, Table]:
    overlay = Overlay(state)
    return overlay, Memory(overlay, "step").table(COLUMNS)


names = st.text(st.characters(codec="utf-8", min_codepoint=33), min_size=1, max_size=8)


@given(st.lists(st.lists(names, unique=True, max_size=6), max_size=6))
def test_a_table_comes_back_as_it_was_saved(batches: list[list[str]]) -> None:
    state, expected = DictState(), {}
    for number, tags in enumerate(batches):
        overlay, table = work(state)
        rows = table.rows(tuple(tags))
        for tag, row in zip(tags, rows, strict=True):
            table["seen"][row] = number
            table["ring"][row] = np.arange(5) + number
            expected[tag] = number
        table.save()
        overlay.apply()
    _, table = work(state)
    assert dict(zip(table.tags, table["seen"].tolist(), strict=True)) == expected
    assert table["ring"][:, 4].tolist() == [number + 4.0 for number in expected.values()]
    assert np.isnan(table["mean"]).all()


def test_a_large_table_is_split_and_only_changed_chunks_are_written() -> None:
    state = DictState()
    tags = tuple(f"tag-{n:06d}" for n in range(20_000))
    overlay, table = work(state)
    table.rows(tags)
    table.save()
    overlay.apply()
    assert len(state.values) > 3
    assert max(map(len, state.values.values())) <= CHUNK
    before = dict(state.values)
    overlay, table = work(state)
    table["seen"][table.rows(tags[-1:])] = 7
    table.save()
    overlay.apply()
    changed = [key for key in before if before[key] != state.values[key]]
    assert changed == [f"step/{len(before) - 1}"]
    _, table = work(state)
    assert table.tags == tags
    assert table["seen"][-1] == 7


def test_saving_what_did_not_change_writes_nothing() -> None:
    state = DictState()
    overlay, table = work(state)
    table.rows(("x",))
    table.save()
    overlay.apply()
    overlay, table = work(state)
    table.rows(("x",))
    table.save()
    state.values.clear()
    overlay.apply()
    assert state.values == {}


def test_values_have_a_format_byte_and_are_never_eight_bytes() -> None:
    state = DictState()
    overlay, table = work(state)
    table.rows(("x",))
    table.save()
    overlay.apply()
    assert all(value[0] == 1 and len(value) > 8 for value in state.values.values())


def test_a_state_value_over_the_chunk_size_is_refused() -> None:
    overlay = Overlay(DictState())
    with pytest.raises(RecordTooLarge, match="step/blob"):
        Memory(overlay, "step").put(b"\x01" * (CHUNK + 1), "blob")


def test_state_of_another_layout_is_refused() -> None:
    state = DictState()
    overlay, table = work(state)
    table.rows(("x",))
    table.save()
    overlay.apply()
    other = Columns(2, mean=Column(np.float64))
    with pytest.raises(StepError, match=r"layout 1\.1, this code reads 1\.2"):
        Memory(Overlay(state), "step").table(other)


def test_long_names_make_more_chunks_and_no_larger_ones() -> None:
    state = DictState()
    for low in range(0, 6000, 500):
        overlay, table = work(state)
        table.rows(tuple(f"{n:05d}-{'long name ' * 9}" for n in range(low, low + 500)))
        table.save()
        overlay.apply()
    _, table = work(state)
    assert len(table) == 6000
    assert max(map(len, state.values.values())) <= CHUNK


def test_a_table_of_a_record_that_failed_is_not_met_again() -> None:
    state = DictState()
    overlay, table = work(state)
    rows = table.rows(("x",))
    table["seen"][rows] = 1
    table.save()
    overlay.apply()
    for number in (2, 3):
        overlay, table = work(state)
        assert table["seen"].tolist() == [1]
        table["seen"][0] = number
        table.save()  # and then another step refuses the record: nothing is applied
    overlay, table = work(state)
    table.save()
    table["seen"][0] = 4  # written to after it was saved: nobody else's business
    overlay.apply()
    assert work(state)[1]["seen"].tolist() == [1]


def test_a_table_that_is_kept_keeps_no_state_alive() -> None:
    class Watched(DictState):
        __slots__ = ("__weakref__",)

    state = Watched()
    for number in range(2):
        overlay = Overlay(state)
        table = Memory(overlay, "step").table(COLUMNS)
        rows = table.rows(("x",))
        table["seen"][rows] = number
        table.save()
        overlay.apply()
        overlay.close()
    gone = weakref.ref(state)
    del state, overlay, table
    assert gone() is None
