"""Laws of versions, for every topology found: of records, of declarations and of state."""

from __future__ import annotations

from collections import Counter

import pytest

from models.records import headers
from models.records.headers import Schema
from tests.cases import Case, feed, find_cases, run
from topologies.core import Emission, Topology
from topologies.core.boundary import Boundary
from topologies.core.declaration import Declaration
from topologies.core.record import DEAD_LETTERS
from topologies.core.step import Step
from topologies.core.upgrade import Upgrade

by_case = pytest.mark.parametrize("case", find_cases(), ids=lambda case: case.name)


def newer(monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    """Make this code one whose every schema is ``by`` versions on."""
    for name, schema in vars(headers).copy().items():
        if isinstance(schema, Schema):
            monkeypatch.setattr(headers, name, Schema(schema.id, schema.version + by))


def good(emissions: list[Emission]) -> list[bytes]:
    return [each.value for each in emissions if each.output != DEAD_LETTERS]


@by_case
def test_the_next_version_of_every_schema_reads_the_records_of_today(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, today = case.records(), run(case)
    newer(monkeypatch, 1)
    driver = case.driver()
    for record in records:
        feed(driver, record)
    assert good(driver.emissions) == good(today)


@by_case
def test_the_version_after_that_says_what_it_cannot_read(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = case.records()
    newer(monkeypatch, 2)
    driver = case.driver()
    for record in records:
        feed(driver, record)
    assert not good(driver.emissions)
    assert all("expected" in letter.error for letter in driver.dead_letters())


@by_case
def test_whatever_keeps_state_says_so(case: Case) -> None:
    driver = case.driver()
    for record in case.records():
        feed(driver, record)
    stateful = {step.name for step in driver.topology.steps if step.state_version}
    for record in case.records():
        names = driver.state(record.source, (record.key or b"").decode("utf-8", "replace"))
        assert {name.partition("/")[0] for name in names} <= stateful | {"time"}


@by_case
def test_a_restart_under_the_same_declaration_changes_nothing(case: Case) -> None:
    records = case.records()
    driver = case.driver()
    assert Upgrade(Declaration.of(driver.topology), driver.topology).idle
    for number, record in enumerate(records):
        if number == len(records) // 2:
            assert driver.deploy(driver.topology).compatible
        feed(driver, record)
    assert driver.emissions == run(case)


def renamed(topology: Topology) -> Topology:
    """The same with every step called otherwise."""
    new = {s.name: f"{s.name}_2" for s in topology.steps if not isinstance(s, Boundary)}

    def again(step: Step) -> Step:
        changed: dict[str, object] = {}
        if step.name in new:
            changed = {"name": new[step.name], "was": step.name}
        of = getattr(step, "of", None)
        if isinstance(of, str):
            changed["of"] = new.get(of, of)
        elif of is not None:
            changed["of"] = tuple(new.get(name, name) for name in of)
        return step.model_copy(update=changed)

    outputs = tuple(
        output.model_copy(update={"of": tuple(new.get(name, name) for name in output.of)})
        for output in topology.outputs
    )
    fields = {name: getattr(topology, name) for name in Topology.model_fields}
    steps = tuple(again(step) for step in topology.steps)
    return Topology(**{**fields, "steps": steps, "outputs": outputs})


@by_case
def test_renaming_every_step_in_the_middle_loses_nothing(case: Case) -> None:
    records = case.records()
    driver = case.driver()
    for number, record in enumerate(records):
        if number == len(records) // 2:
            verdict = driver.deploy(renamed(driver.topology))
            assert {step.outcome for step in verdict.steps} <= {"reused", "stateless"}
        feed(driver, record)
    straight = run(case)
    assert Counter(e.output for e in driver.emissions) == Counter(e.output for e in straight)

    def readings(emissions: list[Emission]) -> list[bytes]:
        return [each.value for each in emissions if each.output == "readings"]

    assert readings(driver.emissions) == readings(straight)
