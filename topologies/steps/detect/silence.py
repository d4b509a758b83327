"""Detect an asset whose data has stopped, or never came."""

from __future__ import annotations

import struct
from typing import ClassVar

import numpy as np
from pydantic import Field

from models.records.heartbeat import State
from models.time import NEVER, NS_PER_S, Duration, format_duration
from topologies.core.flow import READINGS, Flow, Scores, Series
from topologies.core.state import Memory
from topologies.core.step import Bound, Context, Step
from topologies.steps.detect.episodes import opened, track

#: The tag of an anomaly of all of an asset.
WHOLE_ASSET = "*"

_LAYOUT = struct.Struct("<B7xq")
_ONE = np.zeros(1, np.int32)
_TRUE, _FALSE = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)


class Silence(Step):
    """Score: seconds since data was heard of the asset; anomalous above ``after``.

    Judged whenever a heartbeat comes, over as soon as data comes. An asset of which nothing was
    ever heard is silent since its first heartbeat. Times are receive times: silence is a matter of
    hearing, and a logger that sends an hour's data every hour is silent in between.
    """

    kind: ClassVar[str] = "silence"
    reads: ClassVar[str] = READINGS
    makes: ClassVar[str] = "scores"
    state_version: ClassVar[int] = 1
    loses: ClassVar[str] = "its open anomalies are never closed"

    after: Duration = Field(60_000_000_000, gt=0, description="Silent for longer is an anomaly")

    @property
    def summary(self) -> str:
        return f"no data for {format_duration(self.after)}"

    def bind(self, context: Context) -> Bound:
        name, after = self.name, self.after

        def silence(flow: Flow, memory: Memory) -> None:
            beat = flow.heartbeat
            episodes = opened(memory)
            if beat is None:
                flow.lane_time[name] = flow.received
                if episodes:
                    scores = self._scores(flow, flow.received, 0, "")
                    flow.scores[name] = scores
                    track(flow, memory, scores, episodes)
                return
            flow.lane_time[name] = beat.received
            heard = "nothing was heard"
            if beat.elapsed is not None:
                silent = beat.elapsed
            elif flow.time.heard != NEVER:
                silent = beat.received - flow.time.heard
            else:
                silent = beat.received - _first(memory, beat.received)
                heard = "nothing was ever heard"
            silent = max(silent, 0)
            since = beat.received - silent
            state = "" if beat.state is State.ALIVE else f"; its connector says {beat.state.value}"
            why = (
                f"{heard} of {flow.asset} for {format_duration(_rounded(silent))}"
                f" (threshold {format_duration(after)}){state}"
            )
            at = beat.received
            if silent > after and not episodes:
                # The anomaly began when the time was up, not when a heartbeat told of it.
                at = since + after
            scores = self._scores(flow, at, silent, why)
            flow.scores[name] = scores
            track(flow, memory, scores, episodes)

        return silence

    def _scores(self, flow: Flow, t: int, silent: int, why: str) -> Scores:
        seconds = np.array([silent / NS_PER_S])
        series = Series(flow.asset, (WHOLE_ASSET,), _ONE, np.array([t], np.int64), seconds, _TRUE)
        threshold = np.array([self.after / NS_PER_S])
        active = _TRUE if silent > self.after else _FALSE
        return Scores(self.name, series, seconds, threshold, active, _TRUE, lambda _: why)


def _first(memory: Memory, received: int) -> int:
    """When the first heartbeat came."""
    data = memory.get("first")
    if data is None:
        memory.put(_LAYOUT.pack(1, received), "first")
        return received
    return int(_LAYOUT.unpack(data)[1])


def _rounded(ns: int) -> int:
    return ns - ns % (NS_PER_S // 1000)
