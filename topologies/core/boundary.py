"""Where a stage ends: records change key, go through a topic, and streams of one key meet.

Only the declaration is here; ``topologies.steps.combine`` has the verb that topologies write down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from models.time import Duration
from topologies.core.flow import READINGS
from topologies.core.keys import Keys, named
from topologies.core.step import Step


class Boundary(Step):
    """Ends a stage and begins the one that merges what the steps before it made."""

    state_version: ClassVar[int] = 1
    state_parameters: ClassVar[tuple[str, ...]] = ("keys", "of")
    loses: ClassVar[str] = "what waits under the old keys is lost, new keys begin empty"

    keys: dict[str, str] = Field(
        description="The key of each asset, first match wins: {'glass/{line}/*': 'glass/{line}'};"
        " {field} is one part of a name, '*' anything, {asset} in a key the whole name"
    )
    of: tuple[str, ...] = Field(
        (READINGS,),
        min_length=1,
        description="What goes on: 'readings', or names of steps before it that make features",
    )
    tags: tuple[str, ...] = Field(("*",), description="Patterns of the tags that go on")
    expects: tuple[str, ...] = Field(
        (),
        description="Who must have been heard before anything of a key is released:"
        " '<asset>', '<input>:<asset>' or '<input>:*', with the fields of the key and {key}"
        " (behind another merge, its name is the input)."
        " Others join when they are first heard; what of theirs is older is left out",
    )
    grace: Duration = Field(
        0,
        ge=0,
        description="How much older than an asset's newest reading its readings may be; older ones"
        " are left out and counted (late.<name>). Validation with spike limits holds a reading"
        " until the next of its tag: give at least that time",
    )
    horizon: Duration = Field(
        4_200_000_000_000,
        ge=0,
        description="An asset disconnected for longer holds the others no more; results are marked"
        " partial until it is back, and what it kept meanwhile comes too late for them. Windows"
        " that were open when it went close after the topology's backfill_horizon, their size and"
        " their grace: with a shorter horizon than these together they are late and left out",
    )
    max_bytes: int = Field(
        4 << 20,
        ge=65_536,
        le=64 << 20,
        description="Records of one key that wait for others; over it the oldest go on early,"
        " marked partial",
    )

    @field_validator("keys")
    @classmethod
    def _rules(cls, keys: dict[str, str]) -> dict[str, str]:
        Keys(keys)
        return keys

    @model_validator(mode="after")
    def _sensible(self) -> Boundary:
        if len(set(self.of)) != len(self.of):
            raise ValueError(f"of = {list(self.of)} names a lane twice")
        known = self.rules.fields()
        for entry in self.expects:
            fields = set(named(entry))
            if not fields <= known:
                allowed = ", ".join(f"{{{name}}}" for name in sorted(known))
                raise ValueError(
                    f"expects {entry!r} names a field that no key has; allowed are {allowed}"
                )
        return self

    @property
    def rules(self) -> Keys:
        """The key rules, compiled."""
        return _compiled(tuple(self.keys.items()))

    @property
    def source(self) -> str:
        return self.of[0]

    @property
    def channel(self) -> str:
        """Name of the topic in between, as an output of the topology."""
        return f"{self.name}.in"

    @property
    def summary(self) -> str:
        rules = ", ".join(f"{pattern} → {key}" for pattern, key in self.keys.items())
        return f"{' and '.join(self.of)} by {rules}"

    def expected(self, key: str) -> tuple[tuple[str, str], ...]:
        """(input, asset) of those that a key waits for; either may be "*"."""
        return _expected(self.expects, self.rules, key)


@lru_cache(maxsize=256)
def _compiled(rules: tuple[tuple[str, str], ...]) -> Keys:
    return Keys(dict(rules))


@lru_cache(maxsize=16384)
def _expected(expects: tuple[str, ...], rules: Keys, key: str) -> tuple[tuple[str, str], ...]:
    found = []
    for entry in expects:
        source, asset = origin_of(entry)
        name = rules.expand(asset, key)
        if name is not None:
            found.append((source, name))
    return tuple(found)


def origin_of(entry: str) -> tuple[str, str]:
    """(input, asset) of one who is expected: ``opcua:press``, or ``press`` of any input."""
    source, colon, asset = entry.partition(":")
    return (source, asset) if colon else ("*", entry)
