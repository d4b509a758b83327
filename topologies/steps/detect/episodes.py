"""Episodes: from a score per sample to one anomaly that begins and ends.

Only open episodes are in state, so that nothing is read or written for a tag that is well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.records.events import Anomaly
from models.time import format_duration
from topologies.core.flow import Flow, Scores
from topologies.core.state import Memory
from topologies.steps import chunks

_OPEN, _LAST = "open", "last"


def open_tags(memory: Memory) -> frozenset[str]:
    """Tags in an open episode as of the last record."""
    if memory.get(_OPEN) is None:
        return frozenset()
    return frozenset(chunks.get_json(memory, _OPEN))


def track(flow: Flow, memory: Memory, scores: Scores) -> None:
    """Append the anomalies that begin or end in this record to ``flow.anomalies``.

    A sample that was not judged changes nothing. The first anomalous one opens an episode
    (revision 0), the first judged and normal one after closes it (revision 1).
    """
    if memory.get(_OPEN) is None and not np.count_nonzero(scores.active):
        return
    series, groups = scores.series, scores.series.groups
    opened = chunks.get_json(memory, _OPEN)
    last: dict[str, Any] | None = None
    found: list[tuple[int, str, Anomaly]] = []
    any_active = np.logical_or.reduceat(scores.active, groups.start)
    for g, place in enumerate(groups.tag.tolist()):
        tag = series.tags[place]
        if not any_active[g] and tag not in opened:
            continue
        begin, end = int(groups.start[g]), int(groups.stop[g])
        judged = begin + np.flatnonzero(scores.judged[begin:end])
        flags = scores.active[judged]
        edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
        for run in np.split(judged, edges):
            if not run.size:
                continue
            first = int(run[0])
            t = int(series.t[first])
            if scores.active[first]:
                score = scores.score[run]
                episode = opened.get(tag)
                if episode is None:
                    if last is None:
                        last = chunks.get_json(memory, _LAST)
                    episode = opened[tag] = _begin(scores, first, last.get(tag))
                    found.append((t, tag, _anomaly(flow, scores, tag, episode)))
                    episode["samples"] = 0
                episode["end"] = max(episode["end"], int(series.t[run].max()))
                episode["peak"] = max(episode["peak"], float(score.max()))
                episode["samples"] += int(run.size)
            elif tag in opened:
                episode = opened.pop(tag)
                episode["revision"] += 1
                found.append((t, tag, _anomaly(flow, scores, tag, episode, closed=True)))
                if last is None:
                    last = chunks.get_json(memory, _LAST)
                last[tag] = [episode["onset"], episode["revision"]]
    found.sort(key=lambda item: item[:2])
    flow.anomalies.extend(anomaly for _, _, anomaly in found)
    chunks.put_json(memory, _OPEN, opened)
    if last is not None:
        chunks.put_json(memory, _LAST, last)


def _begin(scores: Scores, place: int, last: list[int] | None) -> dict[str, Any]:
    onset = int(scores.series.t[place])
    # Times can repeat: a second episode of one onset goes on counting the first one's revisions.
    revision = last[1] + 1 if last is not None and last[0] == onset else 0
    score = float(scores.score[place])
    return {
        "onset": onset,
        "end": onset,
        "value": finite(float(scores.series.v[place])),
        "score": score,
        "threshold": float(scores.threshold[place]),
        "peak": score,
        "samples": 1,
        "revision": revision,
        "why": scores.why(place),
    }


def _anomaly(
    flow: Flow, scores: Scores, tag: str, episode: dict[str, Any], *, closed: bool = False
) -> Anomaly:
    why = str(episode["why"])
    if closed:
        lasted = format_duration(episode["end"] - episode["onset"])
        why += f"; over after {lasted}, highest score {episode['peak']:.4g}"
    return Anomaly(
        id=f"{scores.detector}/{flow.asset}/{tag}/{episode['onset']}",
        revision=episode["revision"],
        topology=flow.topology,
        detector=scores.detector,
        asset=flow.asset,
        tag=tag,
        state="closed" if closed else "open",
        onset=episode["onset"],
        end=episode["end"] if closed else None,
        value=episode["value"],
        score=episode["score"],
        threshold=episode["threshold"],
        peak=episode["peak"],
        samples=episode["samples"],
        why=why,
    )


def finite(value: float) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if math.isfinite(value) else None
