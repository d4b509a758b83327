"""Laws of every topology found, on the records of its cases."""

from __future__ import annotations

import random
import re

import pytest

from models.records import headers
from tests.cases import Case, Fed, feed, find_cases, run
from topologies.core import Emission, Topology, describe
from topologies.core.discover import find
from topologies.core.record import DEAD_LETTERS
from topologies.steps import transform

CASES = find_cases()
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_topology = pytest.mark.parametrize("topology", find().values(), ids=lambda t: t.name)

GARBAGE: list[tuple[bytes | None, dict[str, bytes]]] = [
    (None, {}),
    (b"", {headers.SCHEMA: headers.RAW_OPCUA.header}),
    (b"\x00\xff\xfe", {headers.SCHEMA: headers.RAW_MQTT.header}),
    (b"[]", {headers.SCHEMA: headers.RAW_MODBUS.header}),
    (b"{}", {headers.SCHEMA: headers.HEARTBEAT.header}),
    (b"{}", {headers.SCHEMA: b"block/99999"}),
    (b"{}", {headers.SCHEMA: b"\xff"}),
]


@by_case
def test_running_twice_gives_the_same_bytes(case: Case) -> None:
    assert run(case) == run(case)


@by_case
def test_a_crash_anywhere_changes_nothing(case: Case) -> None:
    records = case.records()
    calm = run(case)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    driver = case.driver(commit_every=chance.randint(2, 20))
    for record in records:
        feed(driver, record)
        if chance.random() < 0.1:
            driver.crash()
    driver.commit()
    assert driver.emissions == calm, f"seed {seed}"


@by_case
def test_the_interleaving_of_keys_does_not_matter(case: Case) -> None:
    records = case.records()
    seed = random.randrange(2**32)
    lines: dict[tuple[str, bytes | None], list[Fed]] = {}
    for record in records:
        lines.setdefault((record.source, record.key), []).append(record)
    chance, mixed = random.Random(seed), []
    while lines:
        place = chance.choice(list(lines))
        mixed.append(lines[place].pop(0))
        if not lines[place]:
            del lines[place]
    driver = case.driver()
    for record in mixed:
        feed(driver, record)

    def by_key(emissions: list[Emission]) -> dict[tuple[str, bytes], list[bytes]]:
        found: dict[tuple[str, bytes], list[bytes]] = {}
        for emission in emissions:
            if emission.output != DEAD_LETTERS:
                found.setdefault((emission.output, emission.key), []).append(emission.value)
        return {place: sorted(values) for place, values in found.items()}

    assert by_key(driver.emissions) == by_key(run(case)), f"seed {seed}"


@by_case
def test_garbage_in_between_is_dead_lettered_and_changes_nothing_else(case: Case) -> None:
    records = case.records()
    clean = case.driver()
    dirty = case.driver()
    sent = 0
    for number, record in enumerate(records):
        feed(clean, record)
        feed(dirty, record)
        if number % 5 == 0:
            value, head = GARBAGE[number // 5 % len(GARBAGE)]
            dirty.raw(record.source, record.key, value, head)
            sent += 1
    wanted = [e.value for e in clean.emissions if e.output != DEAD_LETTERS]
    assert [e.value for e in dirty.emissions if e.output != DEAD_LETTERS] == wanted
    letters = dirty.dead_letters()
    assert len(letters) == sent + len(clean.dead_letters())
    assert all(letter.reason and letter.error for letter in letters)


@by_case
def test_a_dead_letter_of_another_topology_that_is_sent_again_changes_nothing(case: Case) -> None:
    driver = case.driver()
    for record in case.records():
        feed(driver, record)
        other = {**record.headers, headers.REDRIVE_FOR: b"another"}
        driver.raw(record.source, record.key, record.value, other)
    assert [e.value for e in driver.emissions] == [e.value for e in run(case)]


@by_topology
def test_describe_names_every_part_of_the_declaration(topology: Topology) -> None:
    picture = describe.graph(topology)
    nodes = {node.id: node for node in picture.nodes}
    reached = {edge.target for edge in picture.edges} | {edge.source for edge in picture.edges}
    for step in topology.steps:
        assert step.name in nodes
        assert step.name in reached
    for output in topology.outputs:
        assert any(edge.target == f"out:{output.name}" for edge in picture.edges), output.name
    labels = {node.label for node in picture.nodes}
    assert {f"raw.{source.source}" for source in topology.inputs} <= labels
    for drawn in (describe.text(topology), describe.mermaid(topology)):
        assert all(name in drawn for name in topology.step_names)


@by_topology
def test_a_declaration_comes_back_from_its_own_overrides(topology: Topology) -> None:
    overrides = {step.name: step.model_dump(exclude={"name"}) for step in topology.steps}
    assert topology.with_overrides(overrides) == topology


@by_topology
def test_no_id_of_a_picture_is_a_word_of_mermaid_or_that_of_another_node(
    topology: Topology,
) -> None:
    words = ("end", "style", "default", "out_readings", "topic_opcua", "dead_letters")
    steps = tuple(transform.Scale(name=word) for word in words)
    named = topology.model_copy(update={"steps": steps})
    picture = describe.graph(named)
    assert len({node.id for node in picture.nodes}) == len(picture.nodes)
    ids = re.findall(r"^  (\w+)[(\[]", describe.mermaid(named), re.MULTILINE)
    assert len(set(ids)) == len(ids) == len(picture.nodes)
    assert not {"end", "style", "default"} & {*ids}
