"""State as people see it: of every topology, after the records of its cases."""

from __future__ import annotations

import json

import pytest

from tests.cases import Case, find_cases, run
from topologies.core.inspect import shown


@pytest.mark.parametrize("case", find_cases(), ids=lambda case: case.name)
def test_every_step_that_keeps_state_is_shown_with_all_its_bytes(case: Case) -> None:
    driver = case.driver()
    run(case, driver)
    keeping = {step.name for step in case.topology.steps if step.state_version}
    seen = set()
    for source, key in {(record.source, record.key) for record in case.records()}:
        state = driver.state(source, (key or b"").decode())
        found = shown(state)
        json.dumps(found)
        assert sum(kept["bytes"] for kept in found.values()) == sum(map(len, state.values()))
        assert found["time"]["connector"] == "alive"
        for step, kept in found.items():
            tags = {row["tag"] for rows in kept.get("tables", {}).values() for row in rows}
            assert all(isinstance(tag, str) and tag for tag in tags)
            seen |= {step} if tags else set()
    assert seen
    assert seen <= keeping
    assert {"validate", "window"} <= seen


def test_what_nobody_can_read_is_a_number_of_bytes() -> None:
    assert shown({"mine/x": b"\x01" * 99}) == {"mine": {"bytes": 99, "values": {"x": "99 bytes"}}}
