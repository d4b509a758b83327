"""What a simulated tag looks like: one model per kind of signal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from connectors.simulators.duration import Duration


class Model(BaseModel):
    """A frozen model that refuses unknown fields; base of all simulator configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class _Signal(Model):
    unit: str = Field(
        default="", description="Unit of the value, told to protocols that carry units."
    )
    decimals: int | None = Field(
        default=None, ge=0, le=12, description="Digits kept after the point."
    )
    low: float | None = Field(default=None, description="The value never falls below this.")
    high: float | None = Field(default=None, description="The value never rises above this.")
    gate: str | None = Field(
        default=None,
        description="Tag of the same asset that multiplies the value, such as a switch.",
    )


class Level(_Signal):
    """A controlled quantity: noise and a slow first-order wander around a set point."""

    kind: Literal["level"] = "level"
    at: float = Field(description="Set point.")
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of the sensor noise.")
    wander: float = Field(default=0.0, ge=0, description="Standard deviation of the slow drift.")
    tau: Duration = Field(
        default="10m", validate_default=True, gt=0, description="Time constant of it."
    )


class Daily(_Signal):
    """A sine once a period, such as the outdoor temperature, with noise and slow wander."""

    kind: Literal["daily"] = "daily"
    mean: float = Field(description="Mean value.")
    swing: float = Field(description="Amplitude of the cycle.")
    period: Duration = Field(
        default="24h", validate_default=True, gt=0, description="Length of a cycle."
    )
    peak: Duration = Field(
        default="15h", validate_default=True, description="When in it the peak is."
    )
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of the sensor noise.")
    wander: float = Field(default=0.0, ge=0, description="Standard deviation of the slow drift.")
    tau: Duration = Field(
        default="30m", validate_default=True, gt=0, description="Time constant of it."
    )


class Follow(_Signal):
    """Offset plus gain times another tag, through a first-order lag, with noise."""

    kind: Literal["follow"] = "follow"
    of: str = Field(description="Tag of the same asset that is followed.")
    gain: float = Field(default=1.0, description="Value per unit of the followed tag.")
    offset: float = Field(default=0.0, description="Value when the followed tag is 0.")
    lag: Duration = Field(
        default="0", validate_default=True, description="Time constant; 0 is at once."
    )
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of the sensor noise.")


class Steps(_Signal):
    """A valve: stays at a position, then ramps to another one on a grid between low and high."""

    kind: Literal["steps"] = "steps"
    low: float = Field(default=0.0, description="Lowest position.")
    high: float = Field(default=100.0, description="Highest position.")
    step: float = Field(default=5.0, gt=0, description="Grid of the positions.")
    dwell: Duration = Field(default="2m", validate_default=True, gt=0, description="Mean stay.")
    ramp: float = Field(default=10.0, gt=0, description="Units a second while moving.")
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of the sensor noise.")


class Solar(_Signal):
    """Irradiance in W/m2: half a sine from sunrise to sunset, dimmed by passing clouds."""

    kind: Literal["solar"] = "solar"
    top: float = Field(default=1000.0, gt=0, description="Irradiance of a clear noon, W/m2.")
    period: Duration = Field(
        default="24h", validate_default=True, gt=0, description="Length of a day."
    )
    sunrise: Duration = Field(
        default="6h", validate_default=True, description="Sunrise, into the day."
    )
    sunset: Duration = Field(
        default="20h", validate_default=True, description="Sunset, into the day."
    )
    clouds: float = Field(
        default=0.5, ge=0, le=1, description="Share of the light a thick cloud takes."
    )
    tau: Duration = Field(
        default="5m", validate_default=True, gt=0, description="How long clouds stay."
    )


class Counter(_Signal):
    """A total that only rises: a fixed rate, or the integral of another tag."""

    kind: Literal["counter"] = "counter"
    rate: float = Field(default=1.0, ge=0, description="Rise per `per`, when `of` is not given.")
    of: str | None = Field(default=None, description="Tag of the same asset that is integrated.")
    per: Duration = Field(
        default="1s",
        validate_default=True,
        gt=0,
        description="Time unit of the rate: 1h for kW to kWh.",
    )
    start: float = Field(default=0.0, description="First value.")
    wrap: float | None = Field(default=None, gt=0, description="Counts modulo this.")


class Cycle(_Signal):
    """A machine's stroke: half a sine from low to high for `duty` of each period, else low."""

    kind: Literal["cycle"] = "cycle"
    low: float = Field(default=0.0, description="Value between strokes.")
    high: float = Field(description="Value at the top of a stroke.")
    period: Duration = Field(
        default="3s", validate_default=True, gt=0, description="Time per stroke."
    )
    duty: float = Field(default=0.5, gt=0, le=1, description="Share of the period in motion.")
    noise: float = Field(default=0.0, ge=0, description="Standard deviation of the sensor noise.")


class Switch(_Signal):
    """A state that is 1 or 0, for exponentially distributed times."""

    kind: Literal["switch"] = "switch"
    on: Duration = Field(default="30m", validate_default=True, gt=0, description="Mean time at 1.")
    off: Duration = Field(default="1m", validate_default=True, gt=0, description="Mean time at 0.")
    first: bool = Field(default=True, description="State at the start.")


Signal = Annotated[
    Level | Daily | Follow | Steps | Solar | Counter | Cycle | Switch, Field(discriminator="kind")
]


def needs(signal: Signal) -> tuple[str, ...]:
    """The tags of the same asset a signal is computed from."""
    source = getattr(signal, "of", None)
    return tuple(tag for tag in (source, signal.gate) if tag is not None)


def evaluation_order(tags: dict[str, Signal]) -> list[str]:
    """The tags, each after those it needs.

    Raises ValueError naming a tag that needs an unknown tag, or itself through others.
    """
    order: list[str] = []
    visiting: set[str] = set()

    def visit(tag: str, wanted_by: str) -> None:
        if tag in order:
            return
        if tag not in tags:
            known = ", ".join(sorted(tags))
            raise ValueError(f"tag {wanted_by!r} follows {tag!r}, which is not one of: {known}")
        if tag in visiting:
            raise ValueError(f"tag {tag!r} follows itself")
        visiting.add(tag)
        for needed in needs(tags[tag]):
            visit(needed, tag)
        order.append(tag)

    for tag in tags:
        visit(tag, tag)
    return order
