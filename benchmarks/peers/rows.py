"""Plain quixstreams, row by row: expand each block to samples, a tumbling window, final results.

``python -m benchmarks.peers.rows JSON``; runs until SIGTERM. One value a key and window holds all
tags of the asset, which spares the repartition topic that a group by tag would need.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from typing import Any

from quixstreams import Application

MS, NS_PER_MS = 1000, 1_000_000
Partial = dict[str, list[float]]


def main(text: str) -> int:
    """``{"bootstrap", "group", "source", "target", "size_ns", "grace_ns", "commit_s", "state"}``.

    ``state`` is a folder.
    """
    job = json.loads(text)
    logging.disable(logging.INFO)
    app = Application(
        broker_address=job["bootstrap"],
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=job["commit_s"],
        state_dir=job["state"],
        producer_extra_config={"linger.ms": 2, "compression.type": "lz4"},
    )
    source = app.topic(job["source"], key_deserializer="str", value_deserializer="json")
    target = app.topic(job["target"], key_serializer="str", value_serializer="json")
    frame = app.dataframe(source)
    frame = frame.filter(lambda value: "tags" in value)  # heartbeats have none
    frame = frame.apply(_rows, expand=True)
    frame = frame.set_timestamp(lambda row, key, timestamp, headers: row["t"])
    frame = (
        frame.tumbling_window(job["size_ns"] // NS_PER_MS, job["grace_ns"] // NS_PER_MS)
        .reduce(_take, lambda row: _take({}, row))
        .final()
    )
    frame = frame.apply(_result, metadata=True)
    frame.to_topic(target)
    app.run()
    return 0


def _rows(block: dict[str, Any]) -> list[dict[str, Any]]:
    tags, status = block["tags"], block.get("status")
    return [
        {
            "tag": tags[tag],
            "t": t // NS_PER_MS,
            "v": v,
            "bad": status is not None and status[place] >= 0x4000_0000,
        }
        for place, (tag, t, v) in enumerate(zip(block["tag"], block["t"], block["v"], strict=True))
    ]


def _take(partial: Partial, row: dict[str, Any]) -> Partial:
    """Count, bad, mean, centred squares, lowest, highest (Welford 1962)."""
    v = row["v"]
    held = partial.setdefault(row["tag"], [0, 0, 0.0, 0.0, v, v])
    if row["bad"]:
        held[1] += 1
        return partial
    held[0] += 1
    d = v - held[2]
    held[2] += d / held[0]
    held[3] += d * (v - held[2])
    held[4] = min(held[4], v) if held[0] > 1 else v  # what was first may have been bad
    held[5] = max(held[5], v) if held[0] > 1 else v
    return partial


def _result(window: dict[str, Any], key: str, timestamp: int, headers: Any) -> dict[str, Any]:
    rows = window["value"]
    held = list(rows.values())
    return {
        "asset": key,
        "start": window["start"] * NS_PER_MS,
        "tags": list(rows),
        "count": [h[0] for h in held],
        "bad": [h[1] for h in held],
        "mean": [h[2] if h[0] else None for h in held],
        "std": [math.sqrt(h[3] / (h[0] - 1)) if h[0] > 1 else None for h in held],
        "min": [h[4] if h[0] else None for h in held],
        "max": [h[5] if h[0] else None for h in held],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
