"""A site with one small topology of its own, a worker in a thread, and records fed by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer

from app.kafka import KafkaSettings, producer_options
from app.kafka.reading import committed_records
from app.observe import observed
from app.settings import Settings, load, resolve
from app.shells.worker import WorkerStats, run_worker, watch
from models.records import features, headers, raw
from models.records.raw import OpcUaChange
from tests.sink_site import until

T0 = 1_700_000_000_000_000_000
S = 10**9
OVEN = """
from topologies.core import Input, Output, Topology
from topologies.steps import decode, extract

topology = Topology(
    name="oven",
    inputs=(Input(source="opcua", decode=decode.OpcUa(), assets=("oven/*",)),),
    steps=(extract.Window(size="10s", grace="60s", statistics=("mean",)),),
    outputs=(Output(kind="readings"), Output(kind="features"), Output(kind="late")),
)
"""


class Oven:
    """A site with one topology of its own, fed by hand."""

    def __init__(self, folder: Path, bootstrap: str, prefix: str, kafka: str = "") -> None:
        (folder / "own").mkdir()
        (folder / "own" / "oven.py").write_text(OVEN)
        (folder / "plantstream.toml").write_text(
            f'topology_paths = ["own"]\n[kafka]\nbootstrap = "{bootstrap}"\n'
            f'prefix = "{prefix}"\npartitions = 2\n{kafka}\n'
        )
        self.settings: Settings = load(folder / "plantstream.toml", environment={})
        self.kafka: KafkaSettings = resolve.kafka(self.settings)
        self.raw = self.kafka.topics.raw("opcua")
        self.stats = WorkerStats("oven")
        self._producer = Producer(producer_options(self.kafka, "test"))
        self._sent = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """With the pages of a process, in whose place this one stands."""
        with (
            observed("worker", "oven", data_dir=self.settings.data_dir) as pages,
            watch(self.stats, pages),
        ):
            yield

    @contextmanager
    def running(self) -> Iterator[WorkerStats]:
        """A worker in a thread; it must stop with exit code 0."""
        stop, codes = threading.Event(), []

        def run() -> None:
            codes.append(
                run_worker(
                    self.settings.topology("oven"),
                    kafka=self.kafka,
                    data_dir=self.settings.data_dir,
                    stop=stop,
                    stats=self.stats,
                )
            )

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self.stats
        finally:
            stop.set()
            thread.join(60)
        assert codes == [0]

    def feed(
        self,
        seconds: float,
        value: float,
        mangle: Callable[[bytes], bytes] = bytes,
        asset: str = "oven/1",
        *,
        wait: bool = True,
    ) -> None:
        """One sample; wait until the worker in this process has taken the record."""
        t = T0 + int(seconds * S)
        payload = raw.encode_opcua([OpcUaChange("top", "ns=2;s=top", t, t, 0, value)], t)
        self._sent += 1
        head = [
            (headers.SCHEMA, headers.RAW_OPCUA.header),
            (headers.EVENT_ID, f"plc:1:{self._sent}".encode()),
        ]
        self._producer.produce(
            self.raw, mangle(payload), asset.encode(), headers=head, timestamp=t // 10**6
        )
        assert self._producer.flush(20) == 0
        if wait:
            self.taken()

    def taken(self, more: int = 0) -> None:
        """Wait until the worker has taken all that was fed, and so many records besides."""
        self._sent += more
        until(lambda: self.received() >= self._sent, 60, lambda: f"{self.received()} records")

    def received(self) -> int:
        """Records whose outputs are committed."""
        return sum(self.stats.latency.counts)

    def counted(self, name: str) -> int:
        """What the stages counted."""
        return sum(stage.counts.get(name, 0) for stage in self.stats.stages.values())

    def rows(self, count: int) -> list[tuple[float, int, float]]:
        """(start in s, samples, mean) of every window, once there are so many."""
        topic = self.kafka.topics.output("oven", "features")
        found: list[tuple[float, int, float]] = []

        def enough() -> bool:
            messages = committed_records(self.kafka, topic, "test")
            records = [features.decode(message.value()) for message in messages]
            found[:] = [
                ((int(r.start[i]) - T0) / S, int(r.count[i]), float(r.stats["mean"][i]))
                for r in records
                for i in range(len(r))
            ]
            return len(found) >= count

        until(enough, 30, lambda: str(found))
        return found
