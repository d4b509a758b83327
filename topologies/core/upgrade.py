"""State of a key under one declaration becomes its state under the next: a pure function.

    upgrade = Upgrade(deployed, topology)
    changes = upgrade(values)                 # bytes by name; None: forget it

Shells apply it to every key of a partition before the first record of the new declaration is
processed there, in the transaction that also writes down the new declaration.
"""

from __future__ import annotations

from collections.abc import Mapping

from topologies.core.declaration import Declaration
from topologies.core.topology import Topology
from topologies.core.verdict import Verdict, as_named_now, compare, renames


class Upgrade:
    """From what is deployed to a topology."""

    def __init__(self, deployed: Declaration, topology: Topology) -> None:
        self.verdict: Verdict = compare(deployed, topology)
        self._deployed = deployed
        self._renamed = renames(deployed, topology)
        self._steps = {step.name: step for step in topology.steps}
        untouched = {
            step.name
            for step in self.verdict.steps
            if (step.outcome == "reused" and step.was == step.name)
            or (step.outcome in ("stateless", "dropped") and not step.was)
        }
        names = {step.name for step in self.verdict.steps} | {s.name for s in deployed.steps}
        #: Steps under whose names state may change.
        self.touched: frozenset[str] = frozenset(names - untouched)
        #: Keys whose state a migration could not take, by step.
        self.refused: dict[str, int] = {}

    @property
    def idle(self) -> bool:
        """Whether it changes no state at all."""
        return not self.touched

    def __call__(self, values: Mapping[str, bytes]) -> dict[str, bytes | None]:
        """What changes in the state of one key: the new bytes by ``<step>/<name>``, or None.

        What is found of a step that is new, such as from before it was taken out, is forgotten.
        """
        parts: dict[str, dict[str, bytes]] = {}
        for place, value in values.items():
            step, _, name = place.partition("/")
            parts.setdefault(step, {})[name] = value
        kept: dict[str, bytes] = {}
        for verdict in self.verdict.steps:
            mine = parts.get(verdict.was) if verdict.was else None
            if mine is None or verdict.name not in self.touched:
                continue
            if verdict.outcome == "migrated":
                mine = self._migrated(verdict.name, verdict.was, mine)
            elif verdict.outcome != "reused":
                continue
            kept |= {f"{verdict.name}/{name}": value for name, value in mine.items()}
        changes: dict[str, bytes | None] = {
            place: None
            for place in values
            if place.partition("/")[0] in self.touched and place not in kept
        }
        changes |= {place: value for place, value in kept.items() if values.get(place) != value}
        return changes

    def _migrated(self, name: str, was: str, values: dict[str, bytes]) -> dict[str, bytes]:
        old = self._deployed.step(was)
        assert old is not None
        found = self._steps[name].migrate(as_named_now(old.kept, self._renamed), values)
        if found is None:
            self.refused[name] = self.refused.get(name, 0) + 1
            return {}
        return dict(found)
