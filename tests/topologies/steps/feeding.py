"""Feeds steps with samples and heartbeats as a stage does, without decoding or encoding.

Every array that goes in is read-only, and steps are bound anew for every record: a step that
writes into its input, or remembers anything outside its state, fails here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from models.catalogue import Knowledge
from models.records.block import Block, empty
from models.records.events import Alarm, Anomaly
from models.records.features import Features
from models.records.heartbeat import Heartbeat, State
from models.records.late import Late
from models.time import NS_PER_S
from topologies.core.flow import Flow, Scores
from topologies.core.state import DictState, Memory, Overlay
from topologies.core.step import Context, Step
from topologies.core.time import KeyTime, enter

T0 = 1_700_000_000 * NS_PER_S
SKEW = 300 * NS_PER_S
#: As a topology's default.
HORIZON = 3600 * 10**9

#: Tag, event time, value, and the quality flag where it is not GOOD.
Sample = tuple[str, int, float] | tuple[str, int, float, int]


def second(number: float) -> int:
    """A time some seconds after T0, which is a whole number of minutes from 1970."""
    return T0 - T0 % (3600 * NS_PER_S) + round(number * NS_PER_S)


class Feed:
    """One asset of one stage."""

    def __init__(self, *steps: Step, knowledge: Knowledge | None = None, asset: str = "a") -> None:
        self.steps = steps
        self.asset = asset
        self.context = Context("probe", 1, knowledge or Knowledge(), SKEW)
        self.time = KeyTime()
        self.state = DictState()
        self.features: list[Features] = []
        self.updates: list[Features] = []
        self.late: list[Late] = []
        self.scores: list[Scores] = []
        self.anomalies: list[Anomaly] = []
        self.alarms: list[Alarm] = []
        self.counts: dict[str, int] = {}

    def samples(self, samples: Sequence[Sample], received: int | None = None) -> Flow:
        """One record of samples, received by default at the newest one's time."""
        tags = tuple(dict.fromkeys(sample[0] for sample in samples))
        block = Block(
            self.asset,
            tags,
            np.array([tags.index(sample[0]) for sample in samples], np.int32),
            np.array([sample[1] for sample in samples], np.int64),
            np.array([sample[2] for sample in samples], np.float64),
            np.array([sample[3] if len(sample) > 3 else 1 for sample in samples], np.uint8),
            received=max(sample[1] for sample in samples) if received is None else received,
        )
        block, after = enter(block, self.time, SKEW, HORIZON)
        return self._run(block, after, None)

    def beat(
        self,
        elapsed: float | None = None,
        state: State = State.ALIVE,
        *,
        received: int | None = None,
    ) -> Flow:
        """A heartbeat; nothing has been heard for ``elapsed`` seconds."""
        silence = None if elapsed is None else round(elapsed * NS_PER_S)
        if received is None:
            received = max(self.time.heard, 0) + (silence or 0)
        beat = Heartbeat(self.asset, state, received, received, silence)
        return self._run(empty(self.asset, received), self.time.beat(beat, SKEW, HORIZON), beat)

    def _run(self, block: Block, after: KeyTime, beat: Heartbeat | None) -> Flow:
        for array in (block.tag, block.t, block.v, block.q, block.clock, block.arrival):
            if array is not None:
                array.flags.writeable = False
        flow = Flow(
            "probe", self.asset, "e", self.time, after, block.received, block, heartbeat=beat
        )
        overlay = Overlay(self.state)
        for step in self.steps:
            step.bind(self.context)(flow, Memory(overlay, step.name))
        overlay.apply()
        self.time = after
        self.features.extend(flow.features.values())
        self.updates.extend(rows for _, rows in flow.updates)
        self.late.extend(flow.late)
        self.scores.extend(flow.scores.values())
        self.anomalies.extend(flow.anomalies)
        self.alarms.extend(flow.alarms)
        for name, amount in flow.counts.items():
            self.counts[name] = self.counts.get(name, 0) + amount
        return flow

    def late_samples(self) -> list[tuple[str, int, float, int, int]]:
        """Every sample that came too late for a window: tag, t, value, the window's start, end."""
        return [
            (rows.tags[tag], t, v, start, end)
            for rows in self.late
            for tag, t, v, start, end in zip(
                *(column.tolist() for column in (rows.tag, rows.t, rows.v, rows.start, rows.end)),
                strict=True,
            )
        ]

    def rows(self, records: Sequence[Features] | None = None) -> list[dict[str, Any]]:
        """Every row of every closed window, in order; or of the records given."""
        return [
            {
                "window": record.window,
                "tag": record.tags[record.tag[row]],
                "start": int(record.start[row]),
                "end": int(record.end[row]),
                "count": int(record.count[row]),
                "bad": int(record.bad[row]),
                "partial": int(record.partial[row]),
                **({"revision": int(record.revision[row])} if record.revision.size else {}),
                **{name: float(column[row]) for name, column in record.stats.items()},
            }
            for record in (self.features if records is None else records)
            for row in range(len(record))
        ]


#: A script is a list of samples and of heartbeats (a number: seconds elapsed).
Script = Sequence[Sample | float]


def play(feed: Feed, script: Script, cuts: Iterable[int] = (), received: int | None = None) -> Feed:
    """Feed a script, cut into records at the positions given and at every heartbeat."""
    pending: list[Sample] = []
    places = set(cuts)
    for place, item in enumerate(script):
        if pending and (place in places or not isinstance(item, tuple)):
            feed.samples(pending, received)
            pending = []
        if isinstance(item, tuple):
            pending.append(item)
        else:
            feed.beat(item, received=received)
    if pending:
        feed.samples(pending, received)
    return feed
