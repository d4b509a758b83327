"""How fast a consumer group gets through its topic, seen from outside by what it committed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from app.kafka import KafkaSettings, consumer_options

#: Takes a line that says what is being done.
Say = Callable[[str], None]


def rate(
    kafka: KafkaSettings,
    group: str,
    topic: str,
    records: int,
    processes: Sequence[subprocess.Popen[bytes]],
    *,
    warm: float = 0.2,
    limit_s: float = 300.0,
) -> float:
    """Records per second between ``warm`` of the records committed and all of them.

    Raises RuntimeError where a process ends first, or the time runs out.
    """
    watcher = Consumer(consumer_options(kafka, "bench-watch", group))
    partitions = [TopicPartition(topic, n) for n in range(kafka.partitions)]
    begun: tuple[float, int] | None = None
    done = 0
    deadline = time.monotonic() + limit_s
    try:
        ends = {p.partition: watcher.get_watermark_offsets(p, timeout=10)[1] for p in partitions}
        while time.monotonic() < deadline:
            now = time.monotonic()
            try:
                places = {p.partition: p.offset for p in watcher.committed(partitions, timeout=10)}
            except KafkaException:  # a new broker is still loading what groups committed
                time.sleep(0.2)
                continue
            done = sum(max(offset, 0) for offset in places.values())
            if begun is None and done >= warm * records:
                begun = (now, done)
            if all(places[n] >= end for n, end in ends.items()):
                if begun is None or now == begun[0]:
                    raise RuntimeError("too few records to measure")
                return (done - begun[1]) / (now - begun[0])
            for process in processes:
                if process.poll() is not None:
                    code = process.returncode
                    raise RuntimeError(f"it ended with {code} after {done} records")
            time.sleep(0.05)
        raise RuntimeError(f"only {done} of {records} records after {limit_s:g} s")
    finally:
        watcher.close()
