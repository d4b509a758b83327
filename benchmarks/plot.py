"""Plots as SVG, written by hand: bars, and lines over a linear or logarithmic axis.

Colours carry no meaning that the text does not; text is dark grey, on white, so that a page in
either theme can show them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_INK, _FAINT = "#333333", "#dddddd"
_COLOURS = ("#1b6ca8", "#d1762c", "#4c9a5b", "#8e5aa8", "#a83c3c", "#6b6b6b")
_FONT = "font-family='Helvetica,Arial,sans-serif'"


@dataclass(frozen=True)
class Bar:
    """One bar; ``strong`` for ours."""

    label: str
    value: float
    text: str
    strong: bool = False


@dataclass(frozen=True)
class Line:
    """Points of one line, in order of x."""

    label: str
    points: Sequence[tuple[float, float]]


def bars(title: str, groups: Sequence[tuple[str, Sequence[Bar]]], unit: str) -> str:
    """Horizontal bars in groups, each group on a scale of its own."""
    width, left, right, step = 860, 260, 120, 24
    parts: list[str] = [_text(16, 26, title, size=16, bold=True), _text(16, 46, unit, size=12)]
    y = 60.0
    for name, group in groups:
        parts.append(_text(16, y + 16, name, size=13, bold=True))
        y += 26
        longest = max((bar.value for bar in group), default=0.0) or 1.0
        for bar in group:
            length = (width - left - right) * bar.value / longest
            colour = _COLOURS[0] if bar.strong else "#9db4c4"
            parts.append(_text(left - 8, y + 15, bar.label, anchor="end"))
            parts.append(
                f"<rect x='{left}' y='{y + 2:.1f}' width='{max(length, 1):.1f}' height='{step - 6}'"
                f" fill='{colour}'/>"
            )
            parts.append(_text(left + length + 6, y + 15, bar.text))
            y += step
        y += 12
    return _svg(width, y + 8, parts)


def lines(
    title: str,
    drawn: Sequence[Line],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Lines with points; a linear axis begins at 0, a logarithmic one at a power of ten."""
    width, height, left, right, top, bottom = 720, 400, 80, 24, 56 + 18 * len(drawn), 56
    points = [point for line in drawn for point in line.points]
    across = _Axis([p[0] for p in points], log_x, left, width - right)
    up = _Axis([p[1] for p in points], log_y, height - bottom, top)
    parts = [_text(16, 26, title, size=16, bold=True)]
    for at, label in up.ticks():
        parts.append(_rule(left, at, width - right, at))
        parts.append(_text(left - 8, at + 4, label, anchor="end"))
    for at, label in across.ticks():
        parts.append(_rule(at, top, at, height - bottom))
        parts.append(_text(at, height - bottom + 18, label, anchor="middle"))
    parts.append(_text((left + width - right) / 2, height - 12, x, anchor="middle"))
    parts.append(_text(16, top - 8, y))
    for number, line in enumerate(drawn):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{across.at(px):.1f},{up.at(py):.1f}" for px, py in line.points)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        if len(line.points) <= 20:
            parts += [
                f"<circle cx='{across.at(px):.1f}' cy='{up.at(py):.1f}' r='3.5' fill='{colour}'/>"
                for px, py in line.points
            ]
        at = 44 + 18 * number
        parts.append(f"<rect x='{left}' y='{at - 9}' width='14' height='4' fill='{colour}'/>")
        parts.append(_text(left + 20, at - 3, line.label))
    return _svg(width, height, parts)


class _Axis:
    """From values to places on the page."""

    def __init__(self, values: Sequence[float], log: bool, first: float, last: float) -> None:
        self._log, self._first, self._last = log, first, last
        high = max(values, default=1.0) or 1.0
        if log:
            positive = [value for value in values if value > 0] or [1.0]
            self._low = math.floor(math.log10(min(positive)))
            self._high = max(math.ceil(math.log10(max(positive))), self._low + 1)
        else:
            self._step = _nice(high / 5)
            self._low, self._high = 0, math.ceil(high / self._step)

    def at(self, value: float) -> float:
        """The place of a value."""
        if self._log:
            share = (math.log10(max(value, 10.0**self._low)) - self._low) / (self._high - self._low)
        else:
            share = value / (self._step * self._high)
        return self._first + share * (self._last - self._first)

    def ticks(self) -> list[tuple[float, str]]:
        """Places and what stands at them."""
        marks = range(self._low, self._high + 1)
        values = [10.0**n if self._log else n * self._step for n in marks]
        return [(self.at(value), _number(value)) for value in values]


def _nice(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= step)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.3g}"


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", bold: bool = False
) -> str:
    weight = " font-weight='bold'" if bold else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' text-anchor='{anchor}'{weight}"
        f" fill='{_INK}' {_FONT}>{escape(text)}</text>"
    )


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{_FAINT}'/>"


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}'"
        f" viewBox='0 0 {width:.0f} {height:.0f}'>\n"
        f"<rect width='100%' height='100%' fill='white'/>\n{body}\n</svg>\n"
    )
