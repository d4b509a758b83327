"""A topology as a plain value that can be kept and compared: what is written down of a deployment.

It holds what the state of keys and the topics depend on, in JSON's types, so that it can be read
by another version of the code, which may not know all of its steps any more.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import MalformedRecord
from topologies.core.step import Kept, Step
from topologies.core.topology import Topology

#: Names of a step's fields that are no parameters of what it does.
_NAMES = {"name", "was"}


class _Part(BaseModel):
    """Fields that a later version adds are ignored by this one."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class DeclaredStep(_Part):
    """One step."""

    name: str
    kind: str
    #: Version of what it keeps in state; 0: nothing.
    state_version: int = Field(ge=0)
    parameters: dict[str, Any]

    @property
    def kept(self) -> Kept:
        """What its state was made with."""
        return Kept(self.kind, self.state_version, self.parameters)


class DeclaredInput(_Part):
    """One input; ``source`` names it."""

    source: str
    decode: dict[str, Any]
    assets: tuple[str, ...] = ("*",)


class DeclaredOutput(_Part):
    """One output."""

    name: str
    kind: str
    of: tuple[str, ...] = ()


class Declaration(_Part):
    """A topology with all parameters in force."""

    topology: str
    version: int
    inputs: tuple[DeclaredInput, ...]
    steps: tuple[DeclaredStep, ...]
    outputs: tuple[DeclaredOutput, ...]

    @classmethod
    def of(cls, topology: Topology) -> Declaration:
        """What is written down of a topology."""
        return cls(
            topology=topology.name,
            version=topology.version,
            inputs=tuple(
                DeclaredInput(
                    source=source.source,
                    decode={"kind": source.decode.kind, **source.decode.model_dump(mode="json")},
                    assets=source.assets,
                )
                for source in topology.inputs
            ),
            steps=tuple(declared(step) for step in topology.steps),
            outputs=tuple(
                DeclaredOutput(name=output.name, kind=output.kind, of=output.of)
                for output in topology.outputs
            ),
        )

    def encode(self) -> bytes:
        """JSON; equal declarations give equal bytes."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, data: bytes) -> Declaration:
        """The inverse of :meth:`encode`. Raises MalformedRecord."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise MalformedRecord(f"not a declaration: {error.errors()[0]['msg']}") from error

    def step(self, name: str) -> DeclaredStep | None:
        """The step of a name."""
        return next((step for step in self.steps if step.name == name), None)


def declared(step: Step) -> DeclaredStep:
    """What is written down of a step."""
    return DeclaredStep(
        name=step.name,
        kind=step.kind,
        state_version=step.state_version,
        parameters=step.model_dump(mode="json", exclude=_NAMES),
    )
