"""Windows by their definitions: one sample at a time, every window a list of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from models import quality
from models.time import NS_PER_S
from tests.topologies.steps.feeding import Script

#: Time, value, whether it counts.
Point = tuple[int, float, bool]
BEGINNING = -(2**62)


def row(tag: str, start: int, end: int, samples: Iterable[Point]) -> dict[str, Any]:
    """What a window says of its samples, in extended precision."""
    points = list(samples)
    good = [(t, v) for t, v, ok in points if ok]
    names = ("mean", "std", "min", "max", "rms", "slope")
    said: dict[str, Any] = {"tag": tag, "start": start, "end": end, "count": len(good)}
    said |= {"bad": len(points) - len(good), **dict.fromkeys(names, math.nan)}
    if good:
        v = np.array([one[1] for one in good]).astype(np.longdouble)
        u = np.array([one[0] - good[0][0] for one in good]).astype(np.longdouble) / NS_PER_S
        said |= {"mean": float(v.mean()), "min": float(v.min()), "max": float(v.max())}
        said["rms"] = float(np.sqrt((v * v).mean()))
        if len(good) > 1:
            said["std"] = float(v.std(ddof=1))
        if (spread := ((u - u.mean()) ** 2).sum()) > 0:
            said["slope"] = float(((u - u.mean()) * (v - v.mean())).sum() / spread)
    return said


def same(ours: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    """Assert that rows are equal, statistics within rounding; in any order."""
    keys = ("end", "tag", "start", "count", "bad")
    ours, other = (
        sorted(rows, key=lambda one: [one[key] for key in keys]) for rows in (ours, other)
    )
    assert [[one[key] for key in keys] for one in ours] == [
        [one[key] for key in keys] for one in other
    ]
    for a, b in zip(ours, other, strict=True):
        for name in ("mean", "std", "min", "max", "rms"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(a["slope"], b["slope"], rtol=1e-9, atol=1e-9)


def moments(script: Script) -> Iterable[tuple[int, str, Point | None]]:
    """The key's time before each sample and after each heartbeat, with the sample."""
    clock = newest = BEGINNING
    for item in script:
        if isinstance(item, tuple):
            tag, t, v, *flag = item
            ok = not flag or flag[0] != quality.FAIL
            yield clock, tag, (t, v, ok)
            newest, clock = max(newest, t), max(clock, t)
        elif newest != BEGINNING:
            clock = max(clock, newest + round(item * NS_PER_S))
        yield clock, "", None


def sliding(script: Script, size: int, grace: int) -> tuple[list[dict[str, Any]], int]:
    """Rows, and how many samples were late."""
    held: dict[str, list[Point]] = {}
    open_: dict[tuple[str, int], None] = {}
    rows: list[dict[str, Any]] = []
    late = 0

    def close(clock: int) -> None:
        for tag, end in list(open_):
            if end + grace < clock:
                del open_[tag, end]
                inside = [p for p in held[tag] if end - size <= p[0] <= end]
                rows.append(row(tag, end - size, end, inside))

    for clock, tag, point in moments(script):
        close(clock)
        if point is None:
            continue
        held.setdefault(tag, []).append(point)
        if point[0] + grace < clock:
            late += 1
        else:
            open_[tag, point[0]] = None
    return rows, late


def sessions(
    script: Script, gap: int, longest: int, grace: int
) -> tuple[list[dict[str, Any]], int]:
    """Rows, and how many samples were late."""
    open_: dict[str, list[list[Point]]] = {}
    rows: list[dict[str, Any]] = []
    late = 0

    def bounds(session: list[Point]) -> tuple[int, int]:
        return min(p[0] for p in session), max(p[0] for p in session)

    def over(session: list[Point]) -> int:
        first, last = bounds(session)
        return min(last + gap, first + longest)

    def fits(one: list[Point], other: list[Point]) -> bool:
        (a, b), (c, d) = bounds(one), bounds(other)
        return a - d < gap and c - b < gap and max(b, d) - min(a, c) < longest

    def close(clock: int) -> None:
        for tag, those in open_.items():
            for session in list(those):
                if over(session) + grace <= clock:
                    those.remove(session)
                    rows.append(row(tag, bounds(session)[0], over(session), session))

    for clock, tag, point in moments(script):
        close(clock)
        if point is None:
            continue
        those = open_.setdefault(tag, [])
        mine = [one for one in those if fits(one, [point])]
        if not mine and point[0] + gap + grace <= clock:
            late += 1
            continue
        session = min(mine, key=lambda one: bounds(one)[0], default=[])
        if not mine:
            those.append(session)
        session.append(point)
        others = [one for one in those if one is not session and fits(one, session)]
        if others:
            other = min(others, key=lambda one: bounds(one)[0])
            session.extend(other)
            those.remove(other)
    return rows, late


def counts(script: Script, size: int, hop: int) -> tuple[list[dict[str, Any]], int]:
    """Rows, and how many samples were late."""
    held: dict[str, list[Point]] = {}
    seen: dict[str, int] = {}
    edge: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    late = 0
    for _, tag, point in moments(script):
        if point is None:
            continue
        if point[0] < edge.get(tag, BEGINNING):
            late += 1
            continue
        mine = held.setdefault(tag, [])
        mine.append(point)
        if not point[2]:
            continue
        seen[tag] = seen.get(tag, 0) + 1
        if seen[tag] % hop == 0 and seen[tag] >= size:
            first, last = min(p[0] for p in mine), max(p[0] for p in mine)
            rows.append(row(tag, first, last, mine))
            edge[tag] = last
            good = 0
            while good < hop:
                good += mine.pop(0)[2]
    return rows, late
