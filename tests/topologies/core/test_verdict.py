"""What becomes of state under another declaration: the verdict, and that state then does so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.shells.driver import Driver
from topologies.core import Input, Output, Topology
from topologies.core.declaration import Declaration
from topologies.core.step import Step
from topologies.core.upgrade import Upgrade
from topologies.core.verdict import compare
from topologies.steps import alarm, decode, detect, extract, transform, validate

S = 1_000_000_000
T0 = 1_700_000_000 * S


def topology(*steps: Step, version: int = 1) -> Topology:
    return Topology(
        name="line",
        version=version,
        inputs=(Input(source="opcua", decode=decode.OpcUa()),),
        steps=steps,
        outputs=(Output(kind="readings"),),
    )


# ------------------------------------------------------------ any pair of declarations
#: By name: (what state depends on, what it does not).
CHANGES: dict[str, tuple[dict[str, st.SearchStrategy[Any]], dict[str, st.SearchStrategy[Any]]]] = {
    "window": (
        {"size": st.sampled_from([10 * S, 20 * S, 60 * S])},
        {"grace": st.sampled_from([0, S]), "statistics": st.just(("mean", "std", "max"))},
    ),
    "drift": (
        {"statistic": st.sampled_from(["mean", "std"])},
        {"threshold": st.floats(1, 9), "tau": st.integers(S, 1000 * S)},
    ),
    "unrest": (
        {"window": st.integers(20, 60), "statistic": st.sampled_from(["mean", "std"])},
        {"threshold": st.floats(1, 9)},
    ),
    "limits": ({}, {"low": st.floats(-9, -1), "deadband": st.floats(0, 2)}),
    "bell": (
        {"of": st.sampled_from(["drift", "unrest"])},
        {"on_delay": st.integers(0, S), "severity": st.sampled_from(["low", "high"])},
    ),
}
KINDS: dict[str, type[Step]] = {
    "window": extract.Window,
    "drift": detect.Ewma,
    "unrest": detect.RobustZ,
    "limits": detect.Limits,
    "bell": alarm.Alarm,
}
NEEDED = {"window", "drift", "unrest"}
FIXED: dict[str, dict[str, Any]] = {
    "window": {"size": 10 * S},
    "drift": {"of": "window"},
    "unrest": {"of": "window", "window": 30, "statistic": "std"},
    "limits": {},
    "bell": {"of": "drift"},
}


@st.composite
def declarations(draw: st.DrawFn) -> Topology:
    """Some of the steps, with some of their parameters changed."""
    steps: list[Step] = [transform.Scale(), validate.Qartod()]
    for name, kind in KINDS.items():
        if name not in NEEDED and draw(st.booleans()):
            continue
        depends, free = CHANGES[name]
        given = dict(FIXED[name])
        for field, values in (depends | free).items():
            if draw(st.integers(0, 3)) == 0:
                given[field] = draw(values)
        steps.append(kind(name=name, **given))
    return topology(*steps)


@given(declarations())
def test_the_same_declaration_is_compatible_and_reuses_everything(made: Topology) -> None:
    deployed = Declaration.of(made)
    assert Declaration.decode(deployed.encode()) == deployed
    verdict = compare(deployed, made)
    assert verdict.compatible
    assert {step.outcome for step in verdict.steps} <= {"reused", "stateless"}
    assert not verdict.changes
    assert Upgrade(deployed, made).idle


@given(declarations(), declarations())
def test_a_verdict_names_every_step_once_and_for_a_reason(old: Topology, new: Topology) -> None:
    verdict = compare(Declaration.of(old), new)
    names = [step.name for step in verdict.steps]
    assert sorted(names) == sorted({*old.step_names, *new.step_names})
    before = {step.name: step for step in old.steps}
    for step in new.steps:
        given = verdict.of(step.name)
        if not step.state_version:
            assert given.outcome == "stateless"
        elif step.name not in before:
            assert given.outcome == "added"
        else:
            was = before[step.name]
            depends = CHANGES.get(step.name, ({}, {}))[0]
            changed = [f for f in depends if getattr(was, f) != getattr(step, f)]
            if not changed:
                assert given.outcome == "reused"
            elif changed == ["window"]:
                assert given.outcome == "migrated"
            else:
                assert given.outcome == "reset"
                assert all(field in given.why for field in changed)
    for name in before.keys() - set(new.step_names):
        assert verdict.of(name).outcome == "dropped"
    assert verdict.compatible == ("reset" not in {step.outcome for step in verdict.steps})


def fed(driver: Driver, seconds: range) -> None:
    for second in seconds:
        t = T0 + second * S
        samples = [("a", t, float(second % 7)), ("b", t, float(second % 5) + 50 * (second % 11))]
        driver.opcua("press", [*samples])


@settings(max_examples=20)
@given(declarations(), declarations())
def test_state_does_what_the_verdict_says_and_goes_on(old: Topology, new: Topology) -> None:
    driver = Driver(old)
    fed(driver, range(25))
    before = dict(driver.state("opcua", "press"))
    verdict = driver.deploy(new)
    after = driver.state("opcua", "press")

    def of(values: Any, step: str) -> dict[str, bytes]:
        return {name: value for name, value in values.items() if name.startswith(f"{step}/")}

    assert of(after, "time") == of(before, "time")
    for step in verdict.steps:
        if step.outcome == "reused":
            assert of(after, step.name) == of(before, step.name)
        elif step.outcome == "migrated":
            assert of(after, step.name).keys() == of(before, step.name).keys()
        else:
            assert not of(after, step.name)
    fed(driver, range(25, 50))
    assert not driver.dead_letters()


# ------------------------------------------------------------ renames
def renamed(was: str = "window") -> Topology:
    return topology(
        extract.Window(name="minute", was=was, size=10 * S),
        detect.Ewma(name="drift", of="minute"),
        alarm.Alarm(name="bell", of="drift"),
    )


def original() -> Topology:
    return topology(
        extract.Window(size=10 * S),
        detect.Ewma(name="drift", of="window"),
        alarm.Alarm(name="bell", of="drift"),
    )


def test_a_renamed_step_takes_its_state_along_and_its_readers_follow() -> None:
    verdict = compare(Declaration.of(original()), renamed())
    assert [(step.name, step.outcome, step.was) for step in verdict.steps] == [
        ("minute", "reused", "window"),
        ("drift", "reused", "drift"),
        ("bell", "reused", "bell"),
    ]
    assert compare(Declaration.of(renamed()), renamed()).compatible


def test_a_window_open_at_a_rename_closes_with_all_its_samples() -> None:
    driver = Driver(original())
    fed(driver, range(5))
    driver.deploy(renamed())
    fed(driver, range(5, 12))
    assert not any(name.startswith("window/") for name in driver.state("opcua", "press"))
    straight = Driver(renamed())
    fed(straight, range(12))
    # The last pane is open in both, with the same content under the same name.
    assert driver.state("opcua", "press") == straight.state("opcua", "press")


def test_a_rename_that_is_not_declared_is_refused_with_the_word_to_write() -> None:
    verdict = compare(Declaration.of(original()), renamed(was=""))
    assert verdict.of("minute").outcome == "incompatible"
    assert "was='window'" in verdict.of("minute").why
    assert verdict.of("drift").outcome == "reset"  # it read another step


def test_a_step_cannot_have_been_one_that_is_still_there() -> None:
    with pytest.raises(ValidationError, match="'minute' was 'other', which is still there"):
        topology(
            extract.Window(name="minute", was="other", size=10 * S),
            extract.Window(name="other", size=10 * S),
        )


# ------------------------------------------------------------ migrations
@pytest.mark.parametrize("now", [20, 45])
def test_robust_z_takes_the_newest_of_its_values_along(now: int) -> None:
    def of(window: int) -> Topology:
        return topology(detect.RobustZ(window=window, threshold=3, min_samples=20))

    moved, straight = Driver(of(30)), Driver(of(now))
    fed(moved, range(40))
    fed(straight, range(40))
    assert moved.deploy(of(now)).of("robust_z").outcome == "migrated"
    if now < 30:  # what a shorter memory holds, the longer one held
        fed(moved, range(40, 60))
        fed(straight, range(40, 60))
        table = "robust_z/0"
        assert moved.state("opcua", "press")[table] == straight.state("opcua", "press")[table]
    else:
        fed(moved, range(40, 60))
        assert not moved.dead_letters()


def test_panes_make_shorter_windows_of_the_same_hop() -> None:
    def of(size: int) -> Topology:
        return topology(extract.Window(size=size, hop=5 * S)).model_copy(
            update={"outputs": (Output(kind="features"),)}
        )

    moved, straight = Driver(of(20 * S)), Driver(of(10 * S))
    fed(moved, range(33))
    fed(straight, range(33))
    assert moved.deploy(of(10 * S)).of("window").outcome == "migrated"
    done = len(straight.features())
    before = len(moved.features())
    fed(moved, range(33, 60))
    fed(straight, range(33, 60))
    assert moved.features()[before:] == straight.features()[done:]
    assert compare(Declaration.of(of(10 * S)), of(20 * S)).of("window").outcome == "reset"


def test_an_equal_hop_may_be_said_or_left_out() -> None:
    said, left = extract.Window(size=10 * S, hop=10 * S), extract.Window(size=10 * S)
    assert compare(Declaration.of(topology(left)), topology(said)).compatible


def test_state_of_newer_code_and_of_another_kind_is_incompatible() -> None:
    deployed = Declaration.of(original())
    newer = deployed.model_copy(
        update={"steps": tuple(s.model_copy(update={"state_version": 7}) for s in deployed.steps)}
    )
    verdict = compare(newer, original())
    assert {step.outcome for step in verdict.steps} == {"incompatible"}
    assert "newer code" in verdict.of("drift").why
    other = topology(detect.RobustZ(name="window"), detect.Ewma(name="drift"))
    assert "another kind of step, window" in compare(deployed, other).of("window").why


def test_outputs_and_inputs_that_change_are_named() -> None:
    old = original()
    new = old.model_copy(
        update={
            "inputs": (Input(source="modbus", decode=decode.Modbus()),),
            "outputs": (Output(kind="features", name="readings"), Output(kind="alarms")),
        }
    )
    changes = {change.what: change for change in compare(Declaration.of(old), new).changes}
    assert changes.keys() == {"input modbus", "input opcua", "output readings", "output alarms"}
    assert not changes["output readings"].compatible
    assert all(c.compatible for what, c in changes.items() if what != "output readings")


def test_what_is_left_of_a_step_from_an_earlier_time_is_forgotten() -> None:
    values = {"time/": b"t" * 40, "bell/open": b"x" * 20, "window/0": b"w" * 20}
    without = original().model_copy(update={"steps": original().steps[:2]})
    changes = Upgrade(Declaration.of(without), original())(values)
    assert changes == {"bell/open": None}
