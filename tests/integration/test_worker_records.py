"""Whatever lies on a raw topic, the worker goes on, and each bad record is a dead letter."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.embedded import EmbeddedStack
from app.observe import Health, Metrics, Observed
from app.shells.worker import WorkerStats, watch
from models.records import block as blocks
from tests import raw_producer
from tests.worker_site import Feed, Reader, Site, good, series

pytestmark = pytest.mark.integration


@pytest.fixture
def site(stack: EmbeddedStack, topic_prefix: str, tmp_path: Path) -> Site:
    return Site(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)


def test_every_record_is_processed_once_with_its_key_time_and_event_id(site: Site) -> None:
    sent = series(assets=7, each=30)
    with site.running() as stats:
        site.feed(sent)
        Reader(site, site.readings).until(len(sent))
    out = site.read()
    assert len(out) == len(sent)
    assert stats.stages[site.raw].received == len(sent)
    for asset in range(7):
        key = f"asset-{asset}".encode()
        mine = [record for record in out if record.key == key]
        fed = [record for record in sent if record.key == key]
        assert [dict(m.headers)["event-id"] for m in mine] == [f.headers["event-id"] for f in fed]
        assert [m.timestamp_ms for m in mine] == [f.timestamp_ms for f in fed]
        values = np.concatenate([_in_order(f.value) for f in fed])
        sums = np.concatenate([_in_order(m.value) for m in mine])
        # The step adds up in tag order within a block, so compare block by block.
        ends = np.cumsum(values)[9::10]
        assert np.allclose([blocks.decode(m.value).v[-1] for m in mine], ends, rtol=1e-12)
        assert sums.size == values.size


def _in_order(value: bytes | None) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return blocks.decode(value).v


def test_hostile_records_become_dead_letters_and_good_ones_go_through(site: Site) -> None:
    one = good("asset-0", 0)
    head = one.headers
    hostile = [
        one._replace(key=None),
        one._replace(key=b""),
        one._replace(key=b"\xff\xfe"),
        one._replace(key=b"k" * 100_000),
        one._replace(value=None),
        one._replace(value=b""),
        one._replace(value=b"\x00" * 1000),
        one._replace(headers=None),
        one._replace(headers=[("schema", None)]),
        one._replace(headers=[("schema", b"\xff\xff")]),
        one._replace(headers=[("schema", b"block/1"), ("schema", b"nonsense")]),
        one._replace(headers={**head, "": b"", "x" * 5000: b"y" * 5000}),
        one._replace(timestamp_ms=1),
        good("asset-0", 1, [5.0, -1.0]),
        one._replace(value=b"[" * 900_000),
        one._replace(value=b"{" + b" " * 1_000_000 + b"}"),
    ]
    processed = {11, 12}  # strange, but nothing is wrong with them
    with site.running() as stats:
        site.feed([good("asset-9", 0)])
        site.feed(hostile)
        site.feed([good("asset-9", 1)])
        Reader(site, site.dead_letters).until(len(hostile) - len(processed))
        Reader(site, site.readings).until(2 + len(processed))
    letters = site.letters()
    assert len(letters) == len(hostile) - len(processed)
    assert len(site.read()) == 2 + len(processed)
    bad = [record for i, record in enumerate(hostile) if i not in processed]
    # Each is there whole: its bytes, and where it lay.
    assert sorted(
        (x.key or b"", x.value or b"", x.key is None, x.value is None) for x in letters
    ) == (sorted((f.key or b"", f.value or b"", f.key is None, f.value is None) for f in bad))
    assert all(letter.reason and letter.error and letter.topic == site.raw for letter in letters)
    assert len({(letter.partition, letter.offset) for letter in letters}) == len(letters)
    counts = stats.stages[site.raw].counts
    assert sum(n for name, n in counts.items() if name.startswith("dead.")) == len(letters)


@pytest.mark.parametrize("timestamp_ms", [-5, -1, 2**62])
def test_headers_and_times_that_no_client_should_write(site: Site, timestamp_ms: int) -> None:
    one = good("asset-0", 0)
    assert one.value is not None
    fine = [(name.encode(), value) for name, value in one.headers.items()]
    with site.running():
        # Repeated: confluent-kafka's flaw shows once Python has specialised the call.
        for head in (*[[(b"\xff\xfe", b"x"), *fine]] * 20, fine):
            raw_producer.produce(
                site.bootstrap, site.raw, b"asset-0", one.value, head, timestamp_ms
            )
        Reader(site, site.dead_letters).until(20)
        Reader(site, site.readings).until(1)
    letters = site.letters()
    assert len(letters) == 20
    for letter in letters:
        assert (letter.value, letter.timestamp_ms) == (one.value, timestamp_ms)
        assert "unreadable" in letter.headers


def test_an_output_too_large_for_kafka_is_a_dead_letter_and_leaves_no_trace(site: Site) -> None:
    before, after = good("asset-1", 0, [1.0]), good("asset-1", 2, [2.0])
    with site.running():
        site.feed([before, good("asset-1", 1, [1e6]), after])
        Reader(site, site.readings).until(2)
        Reader(site, site.dead_letters).until(1)
    [letter] = site.letters()
    assert letter.reason == "too-large"
    # The sum goes on as if the record had not been there.
    assert [blocks.decode(out.value).v.tolist() for out in site.read()] == [[1.0], [3.0]]


def test_a_dead_letter_that_kafka_would_refuse_says_where_its_bytes_are(site: Site) -> None:
    foreign = Site(site.bootstrap, f"{site.prefix}large.", site.folder / "large")
    config = {"max.message.bytes": str(16 << 20)}
    _alter(foreign, foreign.raw, config)
    from confluent_kafka import Producer

    from app.kafka import producer_options

    options = producer_options(foreign.kafka, "test", message_max_bytes=16 << 20)
    foreign.producer = Producer({**options, "compression.type": "none"})
    large = Feed(b"asset-0", None, {"schema": b"block/1", "big": b"h" * 6_000_000}, 1000)
    with foreign.running():
        foreign.feed([large, large._replace(value=b"v" * 6_000_000), good("asset-0", 1)])
        Reader(foreign, foreign.readings).until(1)
    letters = foreign.letters()
    assert [letter.value for letter in letters] == [None, None]
    assert all("6000000" in letter.error or "bytes" in letter.error for letter in letters)
    assert {letter.offset for letter in letters} == {0, 1}


def _alter(site: Site, topic: str, config: dict[str, str]) -> None:
    from confluent_kafka.admin import (
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for future in site.admin.incremental_alter_configs([resource]).values():
        future.result()


def test_a_step_that_must_not_fail_stops_the_worker_with_one_line(site: Site) -> None:
    site.feed([good("asset-0", 0), good("asset-0", 1, [-1.0]), good("asset-0", 2)])
    worker = site.start(policy="fail")
    assert worker.wait() == 1
    errors = [line for line in worker.log().splitlines() if " ERROR " in line]
    assert len(errors) == 1
    assert "step 'running' of tally failed" in errors[0]
    assert site.raw in errors[0]
    assert "Traceback" not in worker.log()
    assert site.read(site.dead_letters) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_commits_what_was_done_and_leaves_the_group(site: Site, number: int) -> None:
    worker = site.start()
    sent = site.feed(series(assets=5, each=20))
    Reader(site, site.readings).until(sent, worker=worker)
    assert worker.stop(number) == 0
    assert sum(max(offset, 0) for offset in site.committed().values()) >= sent
    assert site.members() == {}
    assert len(site.read()) == sent


def test_numbers_and_readiness_are_there_to_see(site: Site) -> None:
    health, numbers = Health(), Metrics("worker", "tally")
    stats = WorkerStats("tally")
    watched = Observed(health, numbers, None)
    with watch(stats, watched):
        assert health.problems() == {"worker": "waits for Kafka"}
        shown = _seen(site, stats, watched)
        assert health.problems() == {"worker": "waits for Kafka"}
    where = 'stage="opcua",topology="tally"'
    assert shown[f"plantstream_received_total{{{where}}}"] == "16.0"
    assert shown[f"plantstream_samples_total{{{where}}}"] == "150.0"
    assert shown[f'plantstream_sent_total{{output="readings",{where}}}'] == "15.0"
    assert shown[f'plantstream_dead_letters_total{{reason="step",{where}}}'] == "1.0"
    assert shown[f"plantstream_record_seconds_count{{{where}}}"] == "16.0"
    assert shown['plantstream_latency_seconds_count{topology="tally"}'] == "16.0"
    assert float(shown['plantstream_commit_seconds_count{topology="tally"}']) >= 1
    group = site.kafka.group("tally")
    assert shown[f'plantstream_assigned_partitions{{group="{group}",topic="{site.raw}"}}'] == "4.0"
    lag = {name: value for name, value in shown.items() if name.startswith("plantstream_lag")}
    assert len(lag) == 4
    step = 'stage="opcua",step="running",topology="tally"'
    assert shown[f"plantstream_failed_total{{{step}}}"] == "1.0"
    assert shown[f"plantstream_state_keys{{{where}}}"] == "3.0"
    kept = len(b"asset-0|running/") + 17
    assert float(shown[f"plantstream_state_bytes{{{step}}}"]) == 3 * kept


def _seen(site: Site, stats: WorkerStats, watched: Observed) -> dict[str, str]:
    """What a worker shows of itself after some records, by series."""
    numbers = watched.metrics
    with site.running(stats=stats):
        site.feed([*series(assets=3, each=5), good("asset-0", 9, [-1.0])])
        Reader(site, site.readings).until(15)
        Reader(site, site.dead_letters).until(1)
        assert watched.health.ready
        for metric in ("plantstream_lag{", "plantstream_state_keys{"):
            _until(lambda start=metric: any(n.startswith(start) for n in _lines(numbers)))
        status, page = watched.pages["state"]({"key": "asset-1"})
        assert (status, page["key"], page["instance"]) == (200, "asset-1", "0")
        steps = page["stages"]["opcua"]["steps"]
        assert steps["running"]["bytes"] == 17
        assert steps["time"]["newest_data"].startswith("2023-11-14T22:13:24")
        assert watched.pages["state"]({"key": "asset"})[1]["stages"] == {}
        assert watched.pages["state"]({})[0] == 400
        return dict(line.rsplit(" ", 1) for line in _lines(numbers) if line[0] != "#")


def _lines(numbers: Metrics) -> list[str]:
    return numbers.text().decode().splitlines()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
