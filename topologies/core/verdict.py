"""What becomes of the state and the topics of a deployed topology under another declaration.

State of a step is *reused* where its kind, its state version and the parameters that its state
depends on (``Step.state_parameters``) are what they were; everything else may change. Where they
are not, the step may declare a migration (``Step.migrates``). What remains would be lost: *reset*
where a changed parameter is the reason, *incompatible* where the state is of another kind of step
or of a version that this code does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from topologies.core.declaration import Declaration, DeclaredStep, declared
from topologies.core.step import Kept, Step
from topologies.core.topology import Topology

Outcome = Literal["stateless", "reused", "migrated", "added", "dropped", "reset", "incompatible"]
#: Outcomes by which state is lost that the declaration still wants.
LOSSES: frozenset[str] = frozenset({"reset", "incompatible"})


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """What becomes of one step's state."""

    name: str
    outcome: Outcome
    #: A sentence; empty where nothing changes.
    why: str = ""
    #: The name its state is kept under so far; empty: there is none.
    was: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an input or output, and what follows from it."""

    #: Such as ``input opcua``.
    what: str
    compatible: bool
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a whole topology: every step of the new declaration, and those that are gone."""

    steps: tuple[StepVerdict, ...]
    changes: tuple[Change, ...] = ()

    @property
    def lost(self) -> tuple[StepVerdict, ...]:
        """The steps that would begin anew without having been asked to."""
        return tuple(step for step in self.steps if step.outcome in LOSSES)

    @property
    def compatible(self) -> bool:
        """Whether the new declaration goes on where the deployed one stands."""
        return not self.lost and all(change.compatible for change in self.changes)

    def of(self, name: str) -> StepVerdict:
        """The verdict on a step; KeyError where there is none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)


def compare(deployed: Declaration, topology: Topology) -> Verdict:
    """The verdict on ``topology`` in the place of what is deployed."""
    renamed = renames(deployed, topology)
    taken = {renamed.get(step.name, step.name) for step in topology.steps}
    gone = [step for step in deployed.steps if step.name not in taken]
    verdicts = [_step(deployed, step, renamed, gone) for step in topology.steps]
    verdicts += [_dropped(step) for step in gone]
    return Verdict(tuple(verdicts), (*_inputs(deployed, topology), *_outputs(deployed, topology)))


def renames(deployed: Declaration, topology: Topology) -> Mapping[str, str]:
    """Old name by new name, of steps that say ``was`` and are deployed under it.

    Once the new name is deployed, ``was`` says nothing more.
    """
    names = {step.name for step in deployed.steps}
    return {
        step.name: step.was
        for step in topology.steps
        if step.was in names and step.name not in names
    }


def _step(
    deployed: Declaration, step: Step, renamed: Mapping[str, str], gone: Iterable[DeclaredStep]
) -> StepVerdict:
    was = renamed.get(step.name, step.name)
    old = deployed.step(was)
    if not step.state_version:
        if old is None or not old.state_version:
            return StepVerdict(step.name, "stateless")
        return StepVerdict(step.name, "stateless", "keeps nothing any more", was)
    if old is None or not old.state_version:
        alike = [each.name for each in gone if each.kind == step.kind and each.state_version]
        if alike and old is None:
            return StepVerdict(
                step.name,
                "incompatible",
                f"is new, and {alike[0]!r} of the same kind is gone: if it was renamed, declare"
                f" was={alike[0]!r}; if it is another one, its state begins empty",
            )
        return StepVerdict(step.name, "added", "is new: its state begins empty")
    name = f"is called {was!r} so far; " if was != step.name else ""
    if old.kind != step.kind:
        why = f"the state under this name is of another kind of step, {old.kind}"
        return StepVerdict(step.name, "incompatible", name + why, was)
    kept = as_named_now(old.kept, renamed)
    changed = list(_changed(kept, step))
    if old.state_version == step.state_version and not changed:
        return StepVerdict(step.name, "reused", name.removesuffix("; "), was)
    difference = ", ".join(changed)
    if old.state_version != step.state_version:
        versions = f"state version {old.state_version} → {step.state_version}"
        difference = ", ".join((versions, *changed))
    if step.migrates(kept):
        return StepVerdict(step.name, "migrated", name + difference, was)
    if old.state_version > step.state_version:
        why = f"{difference}: its state is of newer code than this"
        return StepVerdict(step.name, "incompatible", name + why, was)
    if old.state_version < step.state_version:
        why = f"{difference}: this code declares no migration from there"
        return StepVerdict(step.name, "incompatible", name + why, was)
    why = f"{difference}: {step.loses}"
    return StepVerdict(step.name, "reset", name + why, was)


def as_named_now(old: Kept, renamed: Mapping[str, str]) -> Kept:
    """The same with the steps it reads under their new names."""
    if not renamed or "of" not in old.parameters:
        return old
    names = {was: now for now, was in renamed.items()}
    reads = old.parameters["of"]
    if isinstance(reads, str):
        reads = names.get(reads, reads)
    elif isinstance(reads, list):
        reads = [names.get(name, name) for name in reads]
    return replace(old, parameters={**old.parameters, "of": reads})


def _changed(old: Kept, step: Step) -> Iterable[str]:
    """The parameters that its state depends on and that differ, in words."""
    if not step.state_parameters:
        return
    # What a deployed step did not say yet was what the field's default is.
    defaults = type(step).model_construct().model_dump(mode="json")
    new = declared(step).parameters
    for name in step.state_parameters:
        was: Any = old.parameters.get(name, defaults.get(name))
        if was != new.get(name):
            yield f"{name} {was} → {new.get(name)}"


def _dropped(step: DeclaredStep) -> StepVerdict:
    if not step.state_version:
        return StepVerdict(step.name, "dropped", "is gone; it kept nothing")
    return StepVerdict(step.name, "dropped", "is gone: what it kept is deleted", step.name)


def _inputs(deployed: Declaration, topology: Topology) -> Iterable[Change]:
    old = {source.source: source for source in deployed.inputs}
    new = {source.source: source for source in Declaration.of(topology).inputs}
    for name, source in new.items():
        if name not in old:
            yield Change(f"input {name}", True, "is new: read from its oldest record on")
            continue
        if source.decode != old[name].decode:
            yield Change(f"input {name}", True, "is decoded otherwise from now on")
        if source.assets != old[name].assets:
            why = f"takes the assets {', '.join(source.assets)} from now on"
            yield Change(f"input {name}", True, why)
    for name in old.keys() - new.keys():
        why = "is gone: what was kept of its assets stays as it is, until it is read again or reset"
        yield Change(f"input {name}", True, why)


def _outputs(deployed: Declaration, topology: Topology) -> Iterable[Change]:
    old = {output.name: output for output in deployed.outputs}
    new = {output.name: output for output in Declaration.of(topology).outputs}
    for name, output in new.items():
        if name not in old:
            yield Change(f"output {name}", True, "is new")
        elif output.kind != old[name].kind:
            why = f"holds {old[name].kind} and would get {output.kind}: give it another name"
            yield Change(f"output {name}", False, why)
        elif output.of != old[name].of:
            yield Change(f"output {name}", True, f"is of {', '.join(output.of) or 'all steps'}")
    for name in old.keys() - new.keys():
        yield Change(f"output {name}", True, "is gone: its topic stays, nothing is added to it")
