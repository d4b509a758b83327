"""Raise and clear alarms on what a detector says."""

from __future__ import annotations

from string import Formatter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from models.catalogue import Severity
from models.records import events
from models.time import Duration, format_duration
from topologies.core.flow import Flow, Scores
from topologies.core.jit import kernel
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps import chunks
from topologies.steps.alarm.condition import Condition
from topologies.steps.detect.episodes import finite

_OPEN, _LAST = "open", "last"
_FIELDS = ("asset", "tag", "value", "score", "threshold", "why")


class Alarm(Step):
    """One alarm per occurrence of a condition that lasts: revision 0 raised, 1 cleared.

    All in event time. A condition that held for ``on_delay`` is raised at its onset + on_delay,
    also when only time has moved on since; it is cleared once off for ``off_delay``. A shorter
    flicker raises nothing. Samples that were not judged leave it as it is.
    """

    kind: ClassVar[str] = "alarm"
    reads: ClassVar[str] = "scores"
    makes: ClassVar[str] = "alarms"
    state_version: ClassVar[int] = 1
    state_parameters: ClassVar[tuple[str, ...]] = ("of",)
    loses: ClassVar[str] = "alarms that are raised now are never cleared"

    of: str = Field(description="The detector step whose scores are watched")
    on_delay: Duration = Field(0, ge=0, description="How long the condition must hold (OnDelay)")
    off_delay: Duration = Field(0, ge=0, description="How long it must be off to clear (OffDelay)")
    deadband: float = Field(
        0.0, ge=0, description="Off only at a score of threshold − deadband or below, in its units"
    )
    severity: Severity = Field("medium", description="critical, high, medium or low")
    message: str = Field(
        "",
        description="Sentence for people; may hold {asset}, {tag}, {value}, {score}, {threshold},"
        " {why}; empty: the detector's own",
    )

    @field_validator("message")
    @classmethod
    def _known_fields(cls, message: str) -> str:
        for _, name, form, conversion in Formatter().parse(message):
            if name is None:
                continue
            if name not in _FIELDS or form or conversion:
                allowed = ", ".join(f"{{{one}}}" for one in _FIELDS)
                raise ValueError(f"message may hold {allowed}, not {{{name}}}")
        return message

    @property
    def summary(self) -> str:
        parts: list[str] = [self.severity]
        parts += [f"on {format_duration(self.on_delay)}"] if self.on_delay else []
        parts += [f"off {format_duration(self.off_delay)}"] if self.off_delay else []
        return ", ".join(parts)

    def bind(self, context: Context) -> Bound:
        of = self.of

        def alarm(flow: Flow, memory: Memory) -> None:
            scores = flow.scores.get(of)
            if memory.get(_OPEN) is None and (
                scores is None or not np.count_nonzero(scores.active)
            ):
                return
            watch = _Watch(self, flow, memory, scores.detector if scores is not None else of)
            if scores is not None:
                watch.samples(scores)
            watch.end(flow.lane_time.get(of, flow.time.now))

        return alarm


class _Watch:
    """What one record does to the conditions of one alarm step."""

    def __init__(self, step: Alarm, flow: Flow, memory: Memory, detector: str) -> None:
        self._step, self._flow, self._memory, self._detector = step, flow, memory, detector
        self._kept = chunks.get_json(memory, _OPEN)
        self._open = {tag: Condition.load(one) for tag, one in self._kept.items()}
        self._last: dict[str, Any] | None = None
        #: (time, tag, alarm): put into the flow in that order.
        self._found: list[tuple[int, str, events.Alarm]] = []

    def samples(self, scores: Scores) -> None:
        """Take the samples that say something new, tag by tag."""
        series = scores.series
        on = np.array([tag in self._open and self._open[tag].on for tag in series.tags], bool)
        changes = np.empty(len(series), np.int64)
        count = _find_changes(
            series.tag, scores.score, scores.threshold, scores.active, scores.judged,
            self._step.deadband, on, changes,
        )  # fmt: skip
        for at in changes[:count].tolist():
            tag = series.tags[series.tag[at]]
            now = t = int(series.t[at])
            if series.clock is not None:
                now = max(now, int(series.clock[at]))
            self._expire(tag, now)
            if scores.active[at]:
                self._turn_on(tag, t, now, scores, at)
            else:
                self._turn_off(tag, t, now)

    def end(self, now: int) -> None:
        """Time has come to ``now``: what was due by then is done, and all is kept."""
        for tag in tuple(self._open):
            self._expire(tag, now)
        self._found.sort(key=lambda item: item[:2])
        self._flow.alarms.extend(found for _, _, found in self._found)
        kept = {tag: condition.kept() for tag, condition in self._open.items()}
        if kept != self._kept:
            chunks.put_json(self._memory, _OPEN, kept)
        if self._last is not None:
            chunks.put_json(self._memory, _LAST, self._last)

    def _turn_on(self, tag: str, t: int, now: int, scores: Scores, at: int) -> None:
        known = self._open.get(tag)
        if known is not None:
            known.off = None
            return
        onset, revision = self._before(tag)
        self._open[tag] = Condition(
            onset=t,
            value=finite(float(scores.series.v[at])),
            score=finite(float(scores.score[at])),
            threshold=finite(float(scores.threshold[at])),
            why=scores.why(at),
            # Times can repeat: a second occurrence of one onset goes on counting.
            revision=revision + 1 if onset == t else 0,
        )
        self._expire(tag, now)

    def _turn_off(self, tag: str, t: int, now: int) -> None:
        known = self._open.get(tag)
        if known is None:
            return
        if known.raised is None:
            del self._open[tag]
            return
        known.off = max(t, known.raised)
        self._expire(tag, now)

    def _expire(self, tag: str, now: int) -> None:
        """Raise or clear what is due by ``now``."""
        known = self._open.get(tag)
        if known is None:
            return
        if known.rises(now, self._step.on_delay):
            assert known.raised is not None
            self._found.append((known.raised, tag, self._record(tag, known, None)))
        cleared = known.falls(now, self._step.off_delay)
        if cleared is not None:
            self._found.append((cleared, tag, self._record(tag, known, cleared)))
            self._before(tag)
            assert self._last is not None
            self._last[tag] = [known.onset, known.revision - 1]
            del self._open[tag]

    def _before(self, tag: str) -> tuple[int | None, int]:
        """Onset and last revision of the tag's last occurrence."""
        if self._last is None:
            self._last = chunks.get_json(self._memory, _LAST)
        onset, revision = self._last.get(tag, (None, -1))
        return onset, revision

    def _record(self, tag: str, condition: Condition, cleared: int | None) -> events.Alarm:
        step, flow = self._step, self._flow
        assert condition.raised is not None
        revision = condition.revision
        condition.revision += 1
        return events.Alarm(
            id=f"{step.name}/{flow.asset}/{tag}/{condition.onset}",
            revision=revision,
            topology=flow.topology,
            alarm=step.name,
            asset=flow.asset,
            tag=tag,
            state="raised" if cleared is None else "cleared",
            severity=step.severity,
            onset=condition.onset,
            raised=condition.raised,
            cleared=cleared,
            value=condition.value,
            score=condition.score,
            threshold=condition.threshold,
            detector=self._detector,
            why=self._sentence(tag, condition),
        )

    def _sentence(self, tag: str, condition: Condition) -> str:
        if not self._step.message:
            return condition.why
        numbers = {
            name: "none" if number is None else f"{number:.6g}"
            for name, number in (
                ("value", condition.value),
                ("score", condition.score),
                ("threshold", condition.threshold),
            )
        }
        return self._step.message.format(
            asset=self._flow.asset, tag=tag, why=condition.why, **numbers
        )


@kernel
def _find_changes(
    tag: NDArray[np.int32],
    score: NDArray[np.float64],
    threshold: NDArray[np.float64],
    active: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    deadband: float,
    on: NDArray[np.bool_],
    changes: NDArray[np.int64],
) -> int:
    """Find the samples (n,) that say something else than the one of their tag before.

    ``on`` (tags,), what was said last, is moved on; ``changes`` (n,) is filled with as many places
    as the result says. Between on and off, or not judged, a sample says nothing.
    """
    count = 0
    for i in range(tag.size):
        g = tag[i]
        off = judged[i] and not active[i] and score[i] <= threshold[i] - deadband
        if (active[i] and not on[g]) or (off and on[g]):
            on[g] = active[i]
            changes[count] = i
            count += 1
    return count
