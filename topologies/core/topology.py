"""The declaration of a topology: a frozen value. Making one touches nothing outside it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from models.errors import ConfigError
from models.time import Duration
from models.topics import Topics
from topologies.core.boundary import Boundary
from topologies.core.flow import READINGS
from topologies.core.stages import stages
from topologies.core.step import Decoder, Step

NAME = r"^[a-z][a-z0-9_]*$"
OutputKind = Literal["readings", "features", "late", "anomalies", "alarms"]


class Input(BaseModel):
    """A topic a topology reads, and how. Each input is one stage: one stream of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        description="A protocol ('opcua': topic raw.opcua), or another topology's output"
        " ('glass.readings')"
    )
    decode: SerializeAsAny[Decoder] = Field(description="How its records become blocks")
    assets: tuple[str, ...] = Field(
        ("*",), description="Patterns of the assets (keys) taken; others are skipped and counted"
    )
    table: bool = Field(
        False,
        description="Its samples are rows of a table, such as recipes or set points: each is valid"
        " from its time on, which may lie ahead. They skip all steps up to the first merge",
    )

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.source.replace(".", "_")

    def topic(self, topics: Topics) -> str:
        """The topic's full name."""
        return topics.name(self.source) if "." in self.source else topics.raw(self.source)


class Output(BaseModel):
    """What a topology writes, and how long the store keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: OutputKind = Field(description="What is written")
    name: str = Field("", pattern=NAME, description="Topic <topology>.<name>; default: the kind")
    of: tuple[str, ...] = Field((), description="Steps whose results go here; default: all")
    retention: Duration | None = Field(
        None, description="How long the store keeps documents after they arrived; none: for ever"
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, dict) and "name" not in given:
            return {**given, "name": given.get("kind", "")}
        return given


class Topology(BaseModel):
    """Inputs, steps and outputs under one name and version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME, description="Topic prefix, consumer group, collections")
    version: int = Field(1, ge=1, description="Raised with every change of meaning")
    title: str = Field("", description="One line for people")
    inputs: tuple[Input, ...] = Field(min_length=1)
    steps: tuple[SerializeAsAny[Step], ...] = Field(())
    outputs: tuple[Output, ...] = Field(min_length=1)
    max_future_skew: Duration = Field(
        300_000_000_000, gt=0, description="Samples further ahead than this never move time"
    )
    backfill_horizon: Duration = Field(
        3_600_000_000_000,
        ge=0,
        description="Windows of a source that is gone, or sends what it kept meanwhile, wait this"
        " long for their data",
    )
    max_record_bytes: int = Field(
        900_000, ge=4096, le=900_000, description="A larger output record is a dead letter"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Topology:
        _unique("input", [item.name for item in self.inputs])
        _unique("output", [output.name for output in self.outputs])
        _unique("step", [step.name for step in self.steps])
        _unique("former step", [step.was for step in self.steps if step.was])
        known: dict[str, str] = {READINGS: READINGS}
        #: Lanes of all stages.
        ever = dict(known)
        for step in self.steps:
            if step.name in (READINGS, "time"):
                raise ValueError(f"a step cannot be called {step.name!r}")
            if isinstance(step, Boundary):
                known = self._crossed(step, {**ever, **known})
                ever |= {step.name: READINGS}
                continue
            if step.source not in known:
                raise ValueError(
                    f"step {step.name!r} reads {step.source!r}, which no step before it makes;"
                    f" there are {', '.join(known)}"
                )
            if known[step.source] not in step.reads.split("|"):
                raise ValueError(
                    f"step {step.name!r} reads {step.reads}, but {step.source!r}"
                    f" is {known[step.source]}"
                )
            made_by = next((one for one in self.steps if one.name == step.source), None)
            if step.was in (one.name for one in self.steps):
                raise ValueError(f"step {step.name!r} was {step.was!r}, which is still there")
            misfit = step.misfit(made_by) if made_by is not None else ""
            if misfit:
                raise ValueError(f"step {step.name!r} {misfit}")
            if step.makes != READINGS:
                known[step.name] = ever[step.name] = step.makes
        for output in self.outputs:
            for lane in output.of:
                if lane not in ever:
                    raise ValueError(f"output {output.name!r} is of {lane!r}, which no step makes")
        stages(self)
        return self

    def _crossed(self, merge: Boundary, known: dict[str, str]) -> dict[str, str]:
        """The lanes that go through a merge; raises ValueError for one that cannot."""
        if merge.name in (item.name for item in self.inputs):
            raise ValueError(f"merge {merge.name!r} is called as an input is; give it another name")
        if merge.was:
            raise ValueError(
                f"merge {merge.name!r} cannot say what it was: what waits for it is on the topic"
                f" {self.name}.{merge.was}.in"
            )
        for lane in merge.of:
            if known.get(lane, "features") not in (READINGS, "features"):
                raise ValueError(
                    f"merge {merge.name!r} is of {lane!r}, which is {known[lane]}: readings and"
                    " features can go through a merge"
                )
            timeless = self._timeless(merge, lane)
            if timeless:
                raise ValueError(
                    f"merge {merge.name!r} is of {lane!r}, but {timeless!r} closes its windows by"
                    " their number of samples: nobody knows up to which time all have come; windows"
                    " of time can go through a merge"
                )
        return {lane: READINGS if lane == READINGS else "features" for lane in merge.of}

    def _timeless(self, merge: Boundary, lane: str) -> str:
        """The step that a lane is made of which does not tell up to which time; empty: none."""
        before = {step.name: step for step in self.steps[: self.steps.index(merge)]}
        while lane in before:
            if not before[lane].tells_time:
                return lane
            lane = before.pop(lane).source
        return ""

    @cached_property
    def step_names(self) -> tuple[str, ...]:
        """Names of all steps, in order."""
        return tuple(step.name for step in self.steps)

    @property
    def channels(self) -> tuple[str, ...]:
        """Topics between its stages, as names of outputs. They belong to its workers' state."""
        return tuple(step.channel for step in self.steps if isinstance(step, Boundary))

    def with_overrides(
        self, overrides: Mapping[str, Mapping[str, Any]], *, file: str = ""
    ) -> Topology:
        """The same topology with other parameters: ``{"limits": {"deadband": 2.0}}``.

        Raises ConfigError that names the file, the field, the value and what is allowed.
        """
        place = f"topologies.{self.name}.steps"
        steps = {step.name: step for step in self.steps}
        for name, fields in overrides.items():
            if name not in steps:
                known = ", ".join(steps)
                raise ConfigError(
                    f"no such step; there are {known}", file=file, field=f"{place}.{name}"
                )
            steps[name] = _override(steps[name], fields, f"{place}.{name}", file)
        try:
            values = {name: getattr(self, name) for name in type(self).model_fields}
            return Topology(**{**values, "steps": tuple(steps.values())})
        except ValidationError as error:
            raise ConfigError(error.errors()[0]["msg"], file=file, field=place) from error


def _override(step: Step, fields: Mapping[str, Any], place: str, file: str) -> Step:
    kind = type(step)
    for name in fields:
        if name not in kind.model_fields or name == "name":
            allowed = [field for field in kind.model_fields if field != "name"]
            close = get_close_matches(name, allowed, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(
                f"no such field; allowed are {', '.join(allowed)}{hint}",
                file=file,
                field=f"{place}.{name}",
            )
    try:
        values = {name: getattr(step, name) for name in kind.model_fields}
        return kind(**{**values, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in (place, *first["loc"]))
        raise ConfigError(first["msg"], file=file, field=field, value=first["input"]) from error


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what}s are called {name!r}; give one a name of its own")
