"""What merging stages do when somebody is silent, away, late, new, broken, or far too much."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.shells.driver import Driver
from models import quality
from models.errors import ConfigError, MalformedRecord, StepError
from models.records import between, headers
from models.records.features import ABSENT, EARLY
from models.records.heartbeat import State
from tests.conftest import ROOT
from tests.laws.test_merging import T0, S, block
from tests.merge_topology import lines
from tests.worker_topology import Blocks
from topologies.core import Input, Output, Topology, describe
from topologies.core.flow import Flow
from topologies.core.state import CHUNK, Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps import combine, detect, extract

PLC, LAB, RECIPES = "plc.readings", "lab.readings", "recipes.readings"
PRESS, OVEN = "north/press", "north/oven"


class Plant:
    """One line, fed second by second."""

    def __init__(self, **merge: Any) -> None:
        expects = merge.pop("expects", ("plc:{line}/press", "lab:{line}/press"))
        self.driver = Driver(lines(expects=expects, **merge))

    def press(self, second: float, force: float = 1.0, power: float | None = None) -> None:
        t = T0 + round(second * S)
        rows = [("force", t, force)] + ([("power", t, power)] if power is not None else [])
        self.driver.block(PLC, block(PRESS, rows, t))

    def lab(self, second: float, purity: float) -> None:
        t = T0 + round(second * S)
        self.driver.block(LAB, block(PRESS, [("purity", t, purity)], t))

    def beat(
        self, source: str, second: float, state: State = State.ALIVE, silent: float | None = None
    ) -> None:
        self.driver.heartbeat(
            source, PRESS, state, received=T0 + round(second * S),
            elapsed=None if silent is None else round(silent * S),
        )  # fmt: skip

    def joined(self) -> list[tuple[float, float | None, int]]:
        """(second, purity, its quality) of every reading of the press so far."""
        return [
            ((t - T0) / S, v, q)
            for _, tag, t, v, q in self.driver.readings("joined")
            if tag == "purity"
        ]


def test_what_is_beside_a_silent_input_waits_until_a_heartbeat_says_it_is_alive() -> None:
    plant = Plant()
    plant.lab(0, 7.5)
    for second in range(1, 6):
        plant.press(second)
    assert plant.joined() == []
    plant.beat(LAB, 3.5, silent=3.5)
    assert plant.joined() == [(1.0, 7.5, 1), (2.0, 7.5, 1), (3.0, 7.5, 1)]
    plant.lab(20, 9.0)
    # The newest is not released before its own input has moved past it: more of it may come.
    assert plant.joined()[3:] == [(4.0, 7.5, 1)]
    plant.press(6)
    assert plant.joined()[4:] == [(5.0, 7.5, 1)]


def test_values_older_than_the_tolerance_are_missing() -> None:
    plant = Plant()
    plant.lab(0, 7.5)
    for second in (10, 30, 31):
        plant.press(second)
    plant.beat(LAB, 31, silent=31)
    assert plant.joined() == [(10.0, 7.5, 1), (30.0, None, quality.MISSING)]


def test_nothing_of_a_key_goes_on_before_all_that_it_expects_were_heard() -> None:
    plant = Plant()
    for second in range(100):
        plant.press(second)
    assert plant.joined() == []
    plant.lab(50, 1.0)
    assert [row[:2] for row in plant.joined()] == [(float(s), None) for s in range(50)]


def test_a_full_buffer_releases_early_and_says_so() -> None:
    plant = Plant(max_bytes=65_536, together=True)
    plant.lab(0, 7.5)
    for second in range(1, 400):
        plant.press(second, power=2.0)
    early = plant.joined()
    assert 0 < len(early) < 399
    assert {q for _, v, q in early if v is not None} == {quality.SUSPECT}
    assert plant.driver.counts["overflow"] >= len(early)
    held = sum(
        len(value)
        for name, value in plant.driver.state("line", "north").items()
        if name.startswith("line/page")
    )
    assert held < 65_536 + CHUNK
    # What comes too late for them is left out, and counted.
    plant.lab(2, 8.0)
    assert plant.driver.counts["late"] == 1
    rows = plant.driver.features("by_line")
    assert {row["partial"] for row in _features(plant.driver, "by_line")} == {EARLY}
    assert all(row["count"] == 10 for row in rows[1:])


def _features(driver: Driver, output: str) -> list[dict[str, Any]]:
    return [
        {"end": int(end), "partial": int(partial)}
        for record in driver.feature_records(output)
        for end, partial in zip(record.end, record.partial, strict=True)
    ]


def test_who_is_disconnected_beyond_the_horizon_holds_nobody_back_until_it_returns() -> None:
    plant = Plant(horizon="10s")
    plant.lab(0.5, 7.5)
    for second in range(1, 40):
        plant.press(second, power=1.0)
    for second in (1.5, 11):
        plant.beat(LAB, second, State.DISCONNECTED)
    assert plant.joined() == []
    plant.beat(LAB, 30, State.DISCONNECTED)  # for 28.5 s
    there = plant.joined()
    assert [second for second, _, _ in there] == [float(s) for s in range(1, 30)]
    assert {q for s, _, q in there if s <= 20} == {quality.SUSPECT}
    assert {row["partial"] for row in _features(plant.driver, "by_line")} == {ABSENT}
    plant.lab(35.5, 9.0)  # back: it counts and holds again
    assert [row for row in plant.joined() if row[0] > 30.5] == [
        (float(s), None, quality.MISSING) for s in range(31, 36)
    ]
    plant.lab(50, 9.5)
    assert plant.joined()[-1] == (38.0, 9.0, quality.GOOD)
    plant.lab(31, 1.0)  # while it was away, time had gone on without this
    assert plant.driver.counts["late.line"] == 1


def test_what_a_source_kept_while_it_was_away_is_joined_as_if_it_had_come_in_time() -> None:
    def told(plant: Plant, *values: float) -> None:
        for second in values:
            plant.lab(second, second * 10)

    calm, away = Plant(), Plant()
    for plant in (calm, away):
        plant.lab(0.5, 5.0)
        for second in range(1, 12):
            plant.press(second)
    told(calm, 2.5, 3.5, 8.5, 9.5)
    away.beat(LAB, 1, State.DISCONNECTED)
    away.beat(LAB, 9, State.BACKFILLING)
    told(away, 9.5, 2.5, 3.5, 8.5)  # the newest first, then what was kept
    assert len(away.joined()) == 0
    for plant in (calm, away):
        plant.beat(LAB, 10.7, State.ALIVE, silent=1.2)
    assert away.joined() == calm.joined()
    assert [v for _, v, _ in away.joined()] == [5.0, 5.0, 25.0, *[35.0] * 5, 85.0, 95.0]


def test_who_was_never_heard_holds_for_the_horizon_only() -> None:
    plant = Plant(horizon="10s")
    plant.press(1)
    plant.press(2)
    plant.beat(LAB, 5, State.DISCONNECTED)
    assert plant.joined() == []
    plant.beat(LAB, 20, State.DISCONNECTED)
    assert plant.joined() == [(1.0, None, quality.MISSING)]


def test_who_was_not_expected_joins_when_it_is_first_heard() -> None:
    plant = Plant(expects=("plc:{line}/press",))
    for second in range(1, 11):
        plant.press(second)
    assert len(plant.joined()) == 9
    plant.lab(5, 7.0)
    assert plant.driver.counts["late"] == 1
    plant.press(11)
    assert len(plant.joined()) == 9  # from now on it is waited for
    plant.lab(10.5, 8.0)
    plant.lab(12, 8.0)
    assert plant.joined()[-1] == (10.0, None, quality.MISSING)
    plant.press(20)
    assert plant.joined()[-1] == (11.0, 8.0, 1)


def test_rows_of_a_table_are_valid_from_their_time_on() -> None:
    plant = Plant()
    plant.driver = Driver(_with_recipes())

    def recipe(second: float, value: Any, received: float) -> None:
        made = block("north/table", [("recipe", T0 + round(second * S), 0.0)], 0)
        typed = ((0, "s", value),)
        plant.driver.block(
            RECIPES,
            type(made)(made.asset, made.tags, made.tag, made.t, made.v * float("nan"), made.q,
                       typed=typed, received=T0 + round(received * S)),
        )  # fmt: skip

    recipe(3, "clear", 0)
    recipe(4000, "amber", 0)  # more than any clock may be wrong by
    for second in (1, 2, 3, 4, 5):
        plant.press(second)
    recipe(2, "green", 6)  # comes late, and is older than what is valid
    recipe(4.5, "brown", 6)  # comes late: valid from the next reading on
    for second in (3999, 4000, 4001):
        plant.press(second)
    assert _recipes(plant.driver) == [
        (1.0, None), (2.0, None), (3.0, "clear"), (4.0, "clear"), (5.0, "brown"),
        (3999.0, "brown"), (4000.0, "amber"),
    ]  # fmt: skip
    assert plant.driver.counts["retroactive"] == 1
    assert plant.driver.readings() == [  # a table is not a reading of the first stage
        row for row in plant.driver.readings() if row[0] == PRESS
    ]


def _with_recipes() -> Topology:
    return Topology(
        name="recipes",
        inputs=(
            Input(source=PLC, decode=Blocks()),
            Input(source=RECIPES, decode=Blocks(), table=True),
        ),
        steps=(
            combine.Merge(name="line", keys={"{line}/*": "{line}"}, expects=(PRESS,)),
            combine.AsOf(left=("*:force",), columns={"recipe": "*:recipe"}),
        ),
        outputs=(Output(kind="readings"), Output(kind="readings", name="joined", of=("line",))),
    )


def _recipes(driver: Driver) -> list[tuple[float, Any]]:
    return [
        ((t - T0) / S, v) for _, tag, t, v, _ in driver.readings("joined") if tag == "recipe"
    ]


class FailOn(Step):
    """Fails on a value."""

    kind: ClassVar[str] = "fail_on"
    value: float

    def bind(self, context: Context) -> Bound:
        def fail(flow: Flow, memory: Memory) -> None:
            if (flow.block.v == self.value).any():
                raise StepError(f"met {self.value}")

        return fail


def test_a_unit_that_fails_is_left_out_and_its_records_are_dead_letters() -> None:
    topology = Topology(
        name="guarded",
        inputs=(Input(source=PLC, decode=Blocks()),),
        steps=(combine.Merge(name="line", keys={"{line}/*": "{line}"}), FailOn(value=3.0)),
        outputs=(Output(kind="readings", name="merged", of=("line",)),),
    )
    driver = Driver(topology)
    for second in range(6):
        t = T0 + second * S
        driver.block(PLC, block(PRESS, [("force", t, float(second))], t))
    assert [row[3] for row in driver.readings("merged")] == [0.0, 1.0, 2.0, 4.0]
    (letter,) = driver.dead_letters()
    assert (letter.step, letter.topic, letter.offset) == ("fail_on", "guarded.line.in", 3)
    assert between.decode(letter.value).block is not None
    assert letter.headers["schema"] == b"between/1"
    # Sent back, it is too late: what came after it is out.
    driver.raw("line", letter.key, letter.value, letter.headers)
    assert driver.counts["late"] == 1


def test_records_larger_than_a_state_value_wait_in_pieces() -> None:
    plant = Plant()
    plant.lab(0, 1.0)
    rows = [(f"tag-{n:05}", T0 + n, float(n)) for n in range(15_000)]
    plant.driver.block(PLC, block(PRESS, rows, T0 + S))
    texts = block(PRESS, [("force", T0 + 2 * S, 0.0)], T0 + 2 * S)
    large = "x" * 600_000
    plant.driver.block(
        PLC, type(texts)(texts.asset, texts.tags, texts.tag, texts.t, texts.v * float("nan"),
                         texts.q, typed=((0, "s", large),), received=texts.received),
    )  # fmt: skip
    for value in plant.driver.state("line", "north").values():
        assert 0 < len(value) <= CHUNK
        assert len(value) != 8
    plant.press(3)
    plant.lab(3, 1.0)
    assert large in [row[3] for row in plant.driver.readings("joined")]
    plant.press(10)
    plant.lab(10, 1.0)
    plant.press(11)
    plant.lab(11, 1.0)
    left = [name for name in plant.driver.state("line", "north") if name.startswith("line/page.")]
    assert len(left) == 1


# ---------------------------------------------------------------- bytes
GOOD: dict[str, Any] = {
    "source": "plc_readings",
    "asset": PRESS,
    "lane": "readings",
    "received": T0,
    "time": T0,
    "block": {
        "asset": PRESS, "received": T0, "tags": ["force"], "tag": [0, 0], "t": [T0, T0 + 1],
        "v": [1.0, 2.0], "q": [1, 1],
    },
}  # fmt: skip

BAD = {
    "other-asset": {"asset": "north/oven"},
    "empty-source": {"source": ""},
    "unprintable": {"asset": "a\nb"},
    "unit-separator": {"source": "a\x1fb"},
    "time-text": {"time": "now"},
    "time-too-large": {"time": 2**63},
    "time-bool": {"time": True},
    "received-missing": {"received": None},
    "absent-number": {"absent": 1},
    "table-text": {"table": "yes"},
    "block-null": {"block": None},
    "both": {"features": {}},
    "unsorted": {"block": {**GOOD["block"], "t": [T0 + 1, T0]}},
    "time-is-the-mark": {"block": {**GOOD["block"], "t": [-(2**63), T0]}},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_records_in_between_that_are_none_are_refused(change: dict[str, Any]) -> None:
    assert between.decode(orjson.dumps(GOOD)).block is not None
    with pytest.raises(MalformedRecord, match=r"between|block|features"):
        between.decode(orjson.dumps({**GOOD, **change}))


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from(sorted(GOOD)), st.sampled_from(sorted(GOOD["block"])), junk, st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_is_in_a_record_in_between_nothing_but_a_refusal_comes_of_it(
    field: str, inner: str, value: Any, deep: bool
) -> None:
    spoiled = {**GOOD, "block": {**GOOD["block"], inner: value}} if deep else {**GOOD, field: value}
    try:
        payload = orjson.dumps(spoiled)
    except orjson.JSONEncodeError:
        return
    driver = Driver(lines(expects=()))
    driver.raw("line", b"north", payload, {headers.SCHEMA: between.SCHEMA.header})
    for letter in driver.dead_letters():
        assert letter.reason == "malformed", letter.error
    if driver.dead_letters():
        assert driver.state("line", "north") == {}


@pytest.mark.parametrize(
    ("key", "value", "head"),
    [
        (b"north", b"\x00", {"schema": b"between/1"}),
        (b"north", None, {"schema": b"between/1"}),
        (b"north", orjson.dumps(GOOD), {}),
        (b"north", orjson.dumps(GOOD), {"schema": b"block/1"}),
        (b"north", orjson.dumps(GOOD), {"schema": b"between/9"}),
        (None, orjson.dumps(GOOD), {"schema": b"between/1"}),
        (b"north", orjson.dumps({**GOOD, "source": "nobody"}), {"schema": b"between/1"}),
        (b"north", orjson.dumps({**GOOD, "lane": "nothing"}), {"schema": b"between/1"}),
    ],
)
def test_garbage_between_stages_is_a_dead_letter(
    key: bytes | None, value: bytes | None, head: dict[str, bytes]
) -> None:
    driver = Driver(lines(expects=()))
    driver.raw("line", key, value, head)
    (letter,) = driver.dead_letters()
    assert letter.reason == "malformed"
    assert driver.state("line", "north") == {}


# ---------------------------------------------------------------- declarations
def _declare(*steps: Step, outputs: tuple[Output, ...] = (Output(kind="readings"),)) -> Topology:
    return Topology(
        name="probe", inputs=(Input(source=PLC, decode=Blocks()),), steps=steps, outputs=outputs
    )


MERGE = combine.Merge(name="line", keys={"{line}/*": "{line}"})
WINDOWS = combine.Merge(name="line", keys={"{line}/*": "{line}"}, of=("window",))


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((WINDOWS,), r"'line' is of 'window', which no step before it makes; there are readings"),
        (
            (extract.Window(size="1s"), MERGE, combine.Aggregate()),
            r"'aggregate' reads 'window', which no step before it makes; there are readings",
        ),
        (
            (extract.Window(size="1s"), WINDOWS, combine.AsOf(columns={"a": "b"})),
            r"'as_of' reads 'readings', which no step before it makes; there are window",
        ),
        (
            (extract.Window(size="1s", statistics=("mean",)), WINDOWS, combine.Aggregate()),
            r"folds 'min', for which 'window' must give min; it gives mean",
        ),
        (
            (detect.Limits(), combine.Merge(name="line", keys={"*": "x"}, of=("limits",))),
            r"'line' is of 'limits', which is scores: readings and features can go through",
        ),
        (
            (
                extract.CountWindow(size=3),
                combine.Merge(name="line", keys={"*": "x"}, of=("count_window",)),
            ),
            r"'line' is of 'count_window', but 'count_window' closes its windows by their number",
        ),
        (
            (
                extract.CountWindow(size=3),
                combine.Aggregate(of="count_window"),
                combine.Merge(name="line", keys={"*": "x"}, of=("aggregate",)),
            ),
            r"'line' is of 'aggregate', but 'count_window' closes its windows by their number",
        ),
        (
            (
                extract.Window(size="1s"),
                MERGE,
                combine.Merge(name="all", keys={"*": "x"}, of=("readings", "window")),
            ),
            r"'all' is of readings and window, which are of different stages",
        ),
        ((combine.Merge(name="plc_readings", keys={"*": "x"}),), r"called as an input is"),
        (
            (combine.Merge(name="line", keys={"*": "x"}, expects=("plc:press",)),),
            r"expects 'plc:press'; .* one of plc_readings or \*",
        ),
        ((combine.Merge(name="line", was="row", keys={"*": "x"}),), r"topic probe.row.in"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_what_can(steps: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _declare(*steps)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"keys": {}}, "at least one rule"),
        ({"keys": {"{line}/*": "{plant}"}}, r"names \{plant\}.*allowed are \{line\}, \{asset\}"),
        ({"keys": {"{line}/*": "{line}/*"}}, r"without '\*'"),
        ({"keys": {"{Line}/*": "x"}}, "no field name"),
        ({"keys": {"a{": "x"}}, "brace"),
        ({"keys": {"{asset}": "x"}}, "whole asset already"),
        ({"keys": {"*": "x"}, "of": ("readings", "readings")}, "twice"),
        ({"keys": {"{line}/*": "{line}"}, "expects": ("{press}",)}, r"allowed are \{key\}, \{line"),
        ({"keys": {"*": "x"}, "max_bytes": 10}, "greater than or equal to 65536"),
    ],
)
def test_what_a_merge_cannot_be_is_refused_with_what_it_can(fields: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        combine.Merge(name="line", **fields)


def test_parameters_of_a_merge_can_be_overridden_like_those_of_a_step() -> None:
    changed = lines().with_overrides({"line": {"grace": "5s", "max_bytes": 70_000}})
    (merge,) = [step for step in changed.steps if step.name == "line"]
    assert isinstance(merge, combine.Merge)
    assert (merge.grace, merge.max_bytes) == (5 * S, 70_000)
    with pytest.raises(ConfigError, match=r"topologies.lines.steps.line.keys.*brace"):
        lines().with_overrides({"line": {"keys": {"}": "x"}}}, file="plantstream.toml")
    with pytest.raises(ConfigError, match="did you mean 'horizon'"):
        lines().with_overrides({"line": {"horizont": "5s"}})


def test_describe_shows_where_records_change_key() -> None:
    for drawn in (describe.text(lines()), describe.mermaid(lines())):
        for name in ("line", "plant", "line_power", "plant_power", "by_plant", "{line}/* → {line}"):
            assert name in drawn
    edges = {(edge.source, edge.target) for edge in describe.graph(lines()).edges}
    assert {("line_windows", "line_power"), ("plant", "plant_power")} <= edges


def test_the_topology_of_the_page_joins_and_folds_as_the_page_says() -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/merging.md").read_text(), re.DOTALL)
    assert code is not None
    scope: dict[str, Any] = {}
    exec(code[1], scope)
    driver = Driver(scope["topology"])
    made = block("north/recipes", [("glass", T0, 4.0)], T0)
    driver.block(RECIPES, made)
    for second in range(40):
        t = T0 + second * S
        driver.opcua("north/press", [("force", t, 10.0 + second), ("power", t, 2.0)])
        driver.opcua("north/oven", [("power", t, 3.0), ("temperature", t - S // 2, second + 0.5)])
    joined = [row for row in driver.readings("joined") if row[2] == T0 + 20 * S]
    assert {(tag, v) for _, tag, _, v, _ in joined} == {
        ("north/press:force", 30.0), ("oven", 20.5), ("glass", 4.0),
    }  # fmt: skip
    power = {(row["asset"], row["count"], row["sum"]) for row in driver.features("power")}
    assert power == {("north", 20, 50.0), ("plant", 20, 50.0)}
