"""The contract of a step: a declared value that binds to a function.

A step is a frozen Pydantic model; its fields are its parameters, and their descriptions are its
documentation. ``bind`` looks up once what it needs of the catalogue and gives the function that is
called for every record. That function depends on its arguments alone: no clock, no network, no
randomness without a seed, nothing remembered but through ``memory``.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.catalogue import Knowledge
from models.records.block import Block
from models.time import Duration, parse_duration
from topologies.core.flow import READINGS, Flow
from topologies.core.record import Record
from topologies.core.state import Memory

#: What a bound step is. It replaces parts of the flow and may write its memory.
Bound = Callable[[Flow, Memory], None]
#: What a bound decoder is. It raises MalformedRecord; samples come in arrival order.
BoundDecoder = Callable[[Record, str], Block]

#: The output kind of each kind of lane.
_OUTPUTS = {"features": "features", "scores": "anomalies", "alarms": "alarms"}

ErrorPolicy = Literal["dead-letter", "skip", "fail"]


@dataclass(frozen=True, slots=True)
class Kept:
    """What deployed state of a step was made with."""

    kind: str
    #: Its ``state_version`` then.
    version: int
    #: All its parameters then, as JSON has them: durations as text, such as "10s".
    parameters: Mapping[str, Any]

    def duration(self, name: str) -> int | None:
        """A duration among the parameters, ns."""
        given = self.parameters.get(name)
        return None if given is None else parse_duration(given)


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may look at when it is bound."""

    topology: str
    version: int
    knowledge: Knowledge
    max_future_skew: int
    max_record_bytes: int = 900_000


class _Declared(BaseModel, abc.ABC):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: Its name in configuration, documentation and pictures.
    kind: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, dict) and "name" not in given and "name" in cls.model_fields:
            return {**given, "name": cls.kind}
        return given


class Decoder(_Declared):
    """Turns the raw records of one input into blocks."""

    @abc.abstractmethod
    def bind(self, context: Context) -> BoundDecoder:
        """The function ``(record, asset) -> block``."""

    @property
    def summary(self) -> str:
        """A few words for pictures."""
        return ""


class Step(_Declared):
    """One verb of a topology."""

    name: str = Field(
        "",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Unique in the topology; its state is kept under it (default: its kind)",
    )
    on_error: ErrorPolicy = Field(
        "dead-letter",
        description="What a record does that fails here: dead-letter, skip (counted) or fail",
    )
    was: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        description="The name it had in what is deployed: its state is taken over from there",
    )
    state_ttl: Duration | None = Field(
        None,
        gt=0,
        description="Its state of an asset is given up by the first heartbeat that says that no"
        " data has come for longer; none: never",
    )

    #: Lane kinds it reads and makes: "readings", "features", "scores", "anomalies", "alarms".
    reads: ClassVar[str] = READINGS
    makes: ClassVar[str] = READINGS
    #: Whether it is known up to which event time all that it makes has been made; a merge needs it.
    tells_time: ClassVar[bool] = True
    #: Version of what it keeps in state; 0: it keeps nothing.
    state_version: ClassVar[int] = 0
    #: Parameters that its state depends on: under others it would mean something else.
    state_parameters: ClassVar[tuple[str, ...]] = ()
    #: What follows where its state cannot be taken over, in words.
    loses: ClassVar[str] = "its state is lost, it begins empty"

    @abc.abstractmethod
    def bind(self, context: Context) -> Bound:
        """The function that is called for every record."""

    def migrates(self, old: Kept) -> bool:
        """Whether :meth:`migrate` takes state of the same kind that was made so.

        Asked only where ``state_version`` or one of the ``state_parameters`` is another now.
        """
        return False

    def migrate(self, old: Kept, values: Mapping[str, bytes]) -> Mapping[str, bytes] | None:
        """The step's state of one key, as its ``memory`` is to hold it, from what it held.

        None where this key's cannot be taken over: it begins empty, and is counted.
        """
        return None

    def feeds(self, kind: str) -> bool:
        """Whether an output of this kind holds what it makes."""
        return _OUTPUTS.get(self.makes) == kind

    def misfit(self, source: Step) -> str:
        """What of the step it reads does not fit its parameters; empty: nothing."""
        return ""

    @property
    def source(self) -> str:
        """The lane it reads: ``readings``, or the name of the step that makes it."""
        return str(getattr(self, "of", READINGS))

    @property
    def summary(self) -> str:
        """A few words for pictures: the parameters that matter most."""
        return ""
