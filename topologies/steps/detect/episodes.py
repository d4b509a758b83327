"""Episodes: from a score per sample to one anomaly that begins and ends.

Only open episodes are in state: for an asset that is well, one look into it says so, and nothing
else is read or written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.records.events import Anomaly
from models.time import format_duration
from topologies.core.flow import Flow, Scores
from topologies.core.jit import kernel
from topologies.core.state import Memory
from topologies.steps import chunks

_OPEN, _LAST = "open", "last"

#: The open episodes of an asset by tag.
Episodes = dict[str, dict[str, Any]]


def opened(memory: Memory) -> Episodes:
    """Episodes open as of the last record."""
    return {} if memory.get(_OPEN) is None else chunks.get_json(memory, _OPEN)


def track(flow: Flow, memory: Memory, scores: Scores, episodes: Episodes) -> None:
    """Append the anomalies that begin or end in this record to ``flow.anomalies``.

    ``episodes`` are those of :func:`opened`. A sample that was not judged changes nothing. The
    first anomalous one opens an episode (revision 0), the first judged and normal one after closes
    it (revision 1).
    """
    if not episodes and not np.count_nonzero(scores.active):
        return
    series = scores.series
    last: dict[str, Any] | None = None
    found: list[tuple[int, str, Anomaly]] = []
    for first, samples, end, peak in _turns(scores, episodes):
        tag, t = series.tags[series.tag[first]], int(series.t[first])
        if not samples:
            episode = episodes.pop(tag)
            episode["revision"] += 1
            found.append((t, tag, _anomaly(flow, scores, tag, episode, closed=True)))
            if last is None:
                last = chunks.get_json(memory, _LAST)
            last[tag] = [episode["onset"], episode["revision"]]
            continue
        known = episodes.get(tag)
        if known is None:
            if last is None:
                last = chunks.get_json(memory, _LAST)
            known = episodes[tag] = _begin(scores, first, last.get(tag))
            found.append((t, tag, _anomaly(flow, scores, tag, known)))
            known["samples"] = 0
        known["end"] = max(known["end"], end)
        known["peak"] = max(known["peak"], peak)
        known["samples"] += samples
    found.sort(key=lambda item: item[:2])
    flow.anomalies.extend(anomaly for _, _, anomaly in found)
    chunks.put_json(memory, _OPEN, episodes)
    if last is not None:
        chunks.put_json(memory, _LAST, last)


def marked(tags: tuple[str, ...], names: Mapping[str, object]) -> NDArray[np.bool_]:
    """Which of the tags are among the names, shape (tags,)."""
    return np.array([tag in names for tag in tags], bool)


def _turns(scores: Scores, episodes: Episodes) -> list[tuple[int, int, int, float]]:
    """What :func:`_find_turns` finds."""
    series, size = scores.series, len(scores.series)
    first, samples, end = np.empty((3, size), np.int64)
    peak = np.empty(size)
    on = marked(series.tags, episodes)
    count = _find_turns(
        series.tag, series.t, scores.score, scores.active, scores.judged,
        on, first, samples, end, peak,
    )  # fmt: skip
    columns = (column[:count].tolist() for column in (first, samples, end, peak))
    return list(zip(*columns, strict=True))


@kernel
def _find_turns(
    tag: NDArray[np.int32],
    t: NDArray[np.int64],
    score: NDArray[np.float64],
    active: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    on: NDArray[np.bool_],
    first: NDArray[np.int64],
    samples: NDArray[np.int64],
    end: NDArray[np.int64],
    peak: NDArray[np.float64],
) -> int:
    """Find runs of anomalous samples of one tag, and the samples that end an episode.

    ``tag`` to ``judged`` have shape (n,); ``on`` (tags,), whether a tag is in an episode, is moved
    on. The last four (n,) are filled with as many rows as the result says: the run's first sample,
    its samples (0: this sample ends the episode), its newest time and its highest score.
    """
    rows = 0
    running = -1
    for i in range(t.size):
        g = tag[i]
        if not judged[i]:
            continue
        if not active[i]:
            running = -1
            if on[g]:
                first[rows], samples[rows], end[rows], peak[rows] = i, 0, t[i], score[i]
                rows += 1
            on[g] = False
            continue
        if running != g:
            first[rows], samples[rows], end[rows], peak[rows] = i, 0, t[i], score[i]
            rows += 1
        running = g
        on[g] = True
        samples[rows - 1] += 1
        end[rows - 1] = max(end[rows - 1], t[i])
        peak[rows - 1] = max(peak[rows - 1], score[i])
    return rows


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
