"""What goes wrong: faults at set times, at random times from the seed, or on command.

Times are event times relative to the asset's first row, so that the same seed and the same
rows give the same faults whatever the speed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connectors.simulators.config import Fault, FaultKind, RandomFaults
from connectors.simulators.duration import SECOND
from connectors.simulators.signals import Dice

GOOD = "Good"
#: OPC UA names (Part 4, 7.39.2), used as the status word for every protocol.
BAD = "BadSensorFailure"
UNCERTAIN = "UncertainSensorNotAccurate"
_SIZES = 6.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One value to send: ``status`` is an OPC UA name, ``fault`` the kind in force, if any."""

    tag: str
    v: float | int | bool | None
    status: str = GOOD
    fault: str | None = None


@dataclass(slots=True)
class _Active:
    kind: FaultKind
    start: int
    stop: int
    size: float | None
    every: int = 0
    struck: bool = False

    def over(self, elapsed: int) -> bool:
        """A spike is over when it struck a row, however late; the others at their end."""
        return self.struck if self.kind == "spike" else elapsed >= self.stop

    def due(self, elapsed: int) -> _Active | None:
        """Itself, or where it is over its next repetition that is not, if it has any."""
        if not self.over(elapsed):
            return self
        if not self.every:
            return None
        times = max(1, -(-(elapsed + 1 - self.stop) // self.every))
        shift = times * self.every
        return _Active(self.kind, self.start + shift, self.stop + shift, self.size, self.every)


@dataclass(slots=True)
class _Tag:
    planned: list[_Active]
    random: _RandomPlan | None
    last: float | None = None


class _RandomPlan:
    """A Poisson process of faults of one tag; times ascend, so each is drawn when it is near."""

    def __init__(self, faults: RandomFaults, seed: int, asset: str, tag: str) -> None:
        self._faults, self._dice = faults, Dice(seed, "faults", asset, tag)
        self._next = self._draw(0)

    def _draw(self, after: int) -> _Active:
        gap = self._dice.exponential(3600 * SECOND / self._faults.rate_per_hour)
        start = after + int(gap)
        kind = self._faults.kinds[self._dice.index(len(self._faults.kinds))]
        length = int(self._dice.uniform(0, self._faults.longest)) or 1
        return _Active(kind, start, start + length, None)

    def at(self, elapsed: int) -> _Active | None:
        while self._next.over(elapsed):
            self._next = self._draw(self._next.stop)
        return self._next if elapsed >= self._next.start else None


class AssetFaults:
    """Applies the faults of one asset to its rows.

    ``spread`` gives the usual scatter of a tag, from which the default size follows.
    """

    def __init__(
        self,
        asset: str,
        tags: list[str],
        faults: tuple[Fault, ...],
        random: RandomFaults | None,
        seed: int,
        spread: Callable[[str], float],
    ) -> None:
        self._spread = spread
        self._silences: list[_Active] = []
        self._tags = {
            tag: _Tag([], _RandomPlan(random, seed, asset, tag) if random else None) for tag in tags
        }
        for fault in faults:
            if fault.asset == asset:
                self.add(fault, 0)

    def add(self, fault: Fault, elapsed: int) -> None:
        """Plan a fault, ``at`` counted from ``elapsed``. Raises ValueError for an unknown tag."""
        start = elapsed + fault.at
        stop = start + max(fault.length, 1)
        active = _Active(fault.kind, start, stop, fault.size, fault.every or 0)
        if fault.tag is not None and fault.tag not in self._tags:
            raise ValueError(
                f"tag {fault.tag!r} of asset {fault.asset!r}; known are {sorted(self._tags)}"
            )
        if fault.tag is None and fault.kind == "dropout":
            self._silences.append(active)  # the device itself is away
            return
        for tag in [fault.tag] if fault.tag is not None else list(self._tags):
            self._tags[tag].planned.append(active)

    def silent(self, elapsed: int) -> bool:
        """Whether the whole asset sends nothing at this time."""
        self._silences = _due(self._silences, elapsed)
        return any(one.start <= elapsed for one in self._silences)

    def apply(self, elapsed: int, row: dict[str, float]) -> list[Sample]:
        """The samples of a row as they are sent, without those dropped."""
        samples = (self._one(elapsed, tag, value) for tag, value in row.items())
        return [sample for sample in samples if sample is not None]

    def _one(self, elapsed: int, tag: str, value: float) -> Sample | None:
        state = self._tags[tag]
        active = self._current(state, elapsed)
        if active is None:
            state.last = value
            return Sample(tag, value)
        size = active.size if active.size is not None else _SIZES * self._spread(tag)
        match active.kind:
            case "dropout":
                return None
            case "bad":
                return Sample(tag, None, BAD, "bad")
            case "uncertain":
                return Sample(tag, value, UNCERTAIN, "uncertain")
            case "stuck":
                state.last = value if state.last is None else state.last
                return Sample(tag, state.last, GOOD, "stuck")
            case "drift":
                grown = (elapsed - active.start) / (active.stop - active.start)
                return Sample(tag, value + size * grown, GOOD, "drift")
            case _:  # spike, offset
                return Sample(tag, value + size, GOOD, active.kind)

    @staticmethod
    def _current(state: _Tag, elapsed: int) -> _Active | None:
        """The fault in force; planned ones first."""
        state.planned = _due(state.planned, elapsed)
        found = next((one for one in state.planned if one.start <= elapsed), None)
        if found is None and state.random is not None:
            found = state.random.at(elapsed)
        if found is not None and found.kind == "spike":
            found.struck = True
        return found


def _due(planned: list[_Active], elapsed: int) -> list[_Active]:
    """Those that are in force or still to come."""
    due = (one.due(elapsed) for one in planned)
    return [one for one in due if one is not None]
