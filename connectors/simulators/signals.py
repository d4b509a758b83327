"""Generators of plausible signals: the values of one asset, row after row, from a seed.

The wander of a signal is an Ornstein-Uhlenbeck process, stepped by its exact solution:
x' = x·a + s·sqrt(1 - a²)·N(0, 1) with a = exp(-dt/tau) (Gillespie, Phys. Rev. E 54, 2084, 1996).
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from connectors.simulators import signal_config as spec
from connectors.simulators.duration import SECOND


class Dice:
    """Random numbers of one tag, drawn in chunks; the same for the same seed, asset and tag."""

    def __init__(self, seed: int, *names: str) -> None:
        self._rng = np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])
        self._normal: list[float] = []

    def normal(self) -> float:
        """A draw from N(0, 1)."""
        if not self._normal:
            self._normal = self._rng.standard_normal(512).tolist()
        return self._normal.pop()

    def exponential(self, mean: float) -> float:
        """A draw from the exponential distribution."""
        return float(self._rng.exponential(mean))

    def uniform(self, low: float, high: float) -> float:
        """A draw from [low, high)."""
        return float(self._rng.uniform(low, high))

    def index(self, count: int) -> int:
        """A draw from 0..count-1."""
        return int(self._rng.integers(count))


class Wander:
    """An Ornstein-Uhlenbeck process of standard deviation ``sigma`` and time constant ``tau``."""

    def __init__(self, dice: Dice, sigma: float, tau: int) -> None:
        self._dice, self._sigma, self._tau = dice, sigma, tau
        self.value = sigma * dice.normal()

    def step(self, dt: int) -> float:
        """The value ``dt`` nanoseconds later."""
        if self._sigma:
            keep = math.exp(-dt / self._tau)
            spread = self._sigma * math.sqrt(1 - keep * keep)
            self.value = self.value * keep + spread * self._dice.normal()
        return self.value


class Generator(ABC):
    """One tag. ``spread`` is how far its values usually scatter: the scale of faults."""

    spread: float

    @abstractmethod
    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        """The value at time ``t``, ``dt`` ns after the last; ``row`` holds the tags before it."""


class _Level(Generator):
    def __init__(self, signal: spec.Level, dice: Dice) -> None:
        self._signal, self._dice = signal, dice
        self._wander = Wander(dice, signal.wander, signal.tau)
        self.spread = (signal.noise + signal.wander) or abs(signal.at) / 100 or 1.0

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        noise = self._signal.noise * self._dice.normal()
        return self._signal.at + self._wander.step(dt) + noise


class _Daily(Generator):
    def __init__(self, signal: spec.Daily, dice: Dice) -> None:
        self._signal, self._dice = signal, dice
        self._wander = Wander(dice, signal.wander, signal.tau)
        self.spread = abs(signal.swing) or signal.noise or 1.0

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        signal = self._signal
        turn = (t - signal.peak) % signal.period / signal.period
        cycle = signal.swing * math.cos(2 * math.pi * turn)
        noise = signal.noise * self._dice.normal()
        return signal.mean + cycle + self._wander.step(dt) + noise


class _Follow(Generator):
    def __init__(self, signal: spec.Follow, dice: Dice, source: Generator) -> None:
        self._signal, self._dice = signal, dice
        self._state: float | None = None
        self.spread = abs(signal.gain) * source.spread + signal.noise or 1.0

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        signal, target = self._signal, row[self._signal.of]
        if self._state is None or not signal.lag:
            self._state = target
        else:
            self._state += (target - self._state) * -math.expm1(-dt / signal.lag)
        return signal.offset + signal.gain * self._state + signal.noise * self._dice.normal()


class _Steps(Generator):
    def __init__(self, signal: spec.Steps, dice: Dice) -> None:
        self._signal, self._dice = signal, dice
        self._position = self._target = self._draw()
        self._left = dice.exponential(signal.dwell)
        self.spread = (signal.high - signal.low) / 4

    def _draw(self) -> float:
        signal = self._signal
        places = int((signal.high - signal.low) / signal.step) + 1
        return signal.low + signal.step * self._dice.index(places)

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        signal = self._signal
        self._left -= dt
        if self._left <= 0:
            self._target, self._left = self._draw(), self._dice.exponential(signal.dwell)
        reach = signal.ramp * dt / SECOND
        self._position += min(max(self._target - self._position, -reach), reach)
        return self._position + signal.noise * self._dice.normal()


class _Solar(Generator):
    def __init__(self, signal: spec.Solar, dice: Dice) -> None:
        self._signal = signal
        self._clouds = Wander(dice, 1.0, signal.tau)
        self.spread = signal.top / 4

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        signal = self._signal
        cloud = 1 / (1 + math.exp(-3 * self._clouds.step(dt)))  # mostly clear or mostly covered
        day = (t % signal.period - signal.sunrise) / (signal.sunset - signal.sunrise)
        height = math.sin(math.pi * day) if 0 < day < 1 else 0.0
        return signal.top * height * (1 - signal.clouds * cloud)


class _Counter(Generator):
    def __init__(self, signal: spec.Counter) -> None:
        self._signal, self._total = signal, signal.start
        self.spread = signal.rate or 1.0

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        signal = self._signal
        rate = signal.rate if signal.of is None else max(row[signal.of], 0.0)
        self._total += rate * dt / signal.per
        return self._total % signal.wrap if signal.wrap else self._total


class _Cycle(Generator):
    def __init__(self, signal: spec.Cycle, dice: Dice) -> None:
        self._signal, self._dice = signal, dice
        self.spread = abs(signal.high - signal.low) / 4

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        signal = self._signal
        turn = t % signal.period / signal.period / signal.duty
        height = math.sin(math.pi * turn) if turn < 1 else 0.0
        value = signal.low + (signal.high - signal.low) * height
        return value + signal.noise * self._dice.normal()


class _Switch(Generator):
    def __init__(self, signal: spec.Switch, dice: Dice) -> None:
        self._signal, self._dice = signal, dice
        self._state = signal.first
        self._left = self._draw()
        self.spread = 1.0

    def _draw(self) -> float:
        return self._dice.exponential(self._signal.on if self._state else self._signal.off)

    def step(self, t: int, dt: int, row: Mapping[str, float]) -> float:
        self._left -= dt
        if self._left <= 0:
            self._state = not self._state
            self._left = self._draw()
        return float(self._state)


def _generator(signal: spec.Signal, dice: Dice, made: Mapping[str, Generator]) -> Generator:
    match signal:
        case spec.Level():
            return _Level(signal, dice)
        case spec.Daily():
            return _Daily(signal, dice)
        case spec.Follow():
            return _Follow(signal, dice, made[signal.of])
        case spec.Steps():
            return _Steps(signal, dice)
        case spec.Solar():
            return _Solar(signal, dice)
        case spec.Counter():
            return _Counter(signal)
        case spec.Cycle():
            return _Cycle(signal, dice)
        case spec.Switch():
            return _Switch(signal, dice)


class AssetSignals:
    """The signals of one asset. Rows depend only on the seed, the names and the times asked for."""

    def __init__(self, seed: int, asset: str, tags: dict[str, spec.Signal]) -> None:
        self._tags = tags
        self._order = spec.evaluation_order(tags)
        self._generators: dict[str, Generator] = {}
        for tag in self._order:
            dice = Dice(seed, asset, tag)
            self._generators[tag] = _generator(tags[tag], dice, self._generators)

    def spread(self, tag: str) -> float:
        """How far the tag's values usually scatter, in its unit."""
        return self._generators[tag].spread

    def row(self, t: int, dt: int) -> dict[str, float]:
        """Value per tag, in the order of the declaration, at ``t``, ``dt`` ns after the last."""
        row: dict[str, float] = {}
        for tag in self._order:
            signal = self._tags[tag]
            value = self._generators[tag].step(t, dt, row)
            if signal.low is not None:
                value = max(value, signal.low)
            if signal.high is not None:
                value = min(value, signal.high)
            if signal.gate is not None:
                value *= row[signal.gate]
            row[tag] = value if signal.decimals is None else round(value, signal.decimals)
        return {tag: row[tag] for tag in self._tags}
