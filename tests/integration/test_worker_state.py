"""State: restored from changelogs, never shared, never silently wrong."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.embedded import EmbeddedStack
from models.records import block as blocks
from tests.worker_site import Reader, Site, good, series

pytestmark = pytest.mark.integration


@pytest.fixture
def site(stack: EmbeddedStack, topic_prefix: str, tmp_path: Path) -> Site:
    return Site(str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path)


def delete_records(site: Site, partition: int, before: int) -> None:
    """Delete what retention would delete.

    In a process of its own, which ends at once: ``AdminClient.delete_records`` of confluent-kafka
    2.12 leaves objects behind on which the garbage collector crashes.
    """
    code = (
        "import os; from confluent_kafka import TopicPartition;"
        " from confluent_kafka.admin import AdminClient;"
        f" admin = AdminClient({{'bootstrap.servers': {site.bootstrap!r}}});"
        f" found = admin.delete_records([TopicPartition({site.raw!r}, {partition}, {before})]);"
        " [future.result() for future in found.values()]; os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("cold", [False, True])
def test_a_worker_goes_on_where_it_stopped(site: Site, cold: bool) -> None:
    first, second = series(assets=6, each=10), [good(f"asset-{a}", 10) for a in range(6)]
    with site.running():
        site.feed(first)
        Reader(site, site.readings).until(len(first))
    if cold:
        shutil.rmtree(site.folder / "state")
    with site.running() as stats:
        site.feed(second)
        Reader(site, site.readings).until(len(first) + len(second))
        assert stats.waiting_for is None
    totals: dict[bytes | None, float] = {}
    for feed in [*first, *second]:
        totals[feed.key] = totals.get(feed.key, 0.0) + float(blocks.decode(feed.value).v.sum())
    last = {out.key: blocks.decode(out.value) for out in site.read()}
    for key, total in totals.items():
        assert last[key].v.max() == pytest.approx(total, rel=1e-12)


def test_two_workers_on_one_machine_share_the_partitions_not_the_state(site: Site) -> None:
    sent = series(assets=20, each=10)
    with site.running(), site.running():
        reader = Reader(site, site.readings)
        site.feed(sent)
        reader.until(len(sent))
        folders = sorted(p.name for p in (site.folder / "state" / "tally").iterdir())
    assert folders == ["0", "1"]
    assert len(site.read()) == len(sent)


def test_an_instance_name_in_use_is_refused_and_free_again_after_a_kill(site: Site) -> None:
    holder = site.start(instance="left")
    site.feed([good("asset-0", 0)])
    Reader(site, site.readings).until(1, worker=holder)
    second = site.start(instance="left")
    assert second.wait() == 1
    assert "another worker of 'tally' runs as this instance" in second.log()
    holder.kill()
    third = site.start(instance="left")
    site.feed([good("asset-0", 1)])
    Reader(site, site.readings).until(2, worker=third)
    assert third.stop() == 0


def test_two_inputs_keep_their_states_apart(
    stack: EmbeddedStack, topic_prefix: str, tmp_path: Path
) -> None:
    both = Site(
        str(stack.endpoints.kafka_bootstrap), topic_prefix, tmp_path, inputs=("opcua", "modbus")
    )
    with both.running():
        both.feed([good("asset-0", 0, [1.0])])
        both.feed([good("asset-0", 0, [10.0])], both.kafka.topics.raw("modbus"))
        both.feed([good("asset-0", 1, [2.0])])
        both.feed([good("asset-0", 1, [20.0])], both.kafka.topics.raw("modbus"))
        Reader(both, both.readings).until(4)
    assert sorted(float(blocks.decode(o.value).v[0]) for o in both.read()) == [1, 3, 10, 30]


def test_records_deleted_before_they_were_read_stop_the_worker(site: Site) -> None:
    with site.running():
        site.feed([good("asset-0", n) for n in range(10)])
        Reader(site, site.readings).until(10)
    site.feed([good("asset-0", n) for n in range(10, 20)])
    [partition] = [p for p, offset in site.committed().items() if offset > 0]
    delete_records(site, partition, 15)
    worker = site.start()
    assert worker.wait() == 1
    [line] = [line for line in worker.log().splitlines() if " ERROR " in line]
    assert f"stands at offset 10 of {site.raw}[{partition}], which now begins at 15" in line
    assert "'plantstream reset tally'" in line
    assert "Traceback" not in worker.log()
    assert site.committed()[partition] == 10  # and again at the next start


def test_a_topic_made_anew_stops_the_worker(site: Site) -> None:
    with site.running():
        site.feed([good("asset-0", n) for n in range(10)])
        Reader(site, site.readings).until(10)
    for future in site.admin.delete_topics([site.raw]).values():
        future.result()
    Site(site.bootstrap, site.prefix, site.folder)
    worker = site.start()
    assert worker.wait() == 1
    assert "has no offset" in worker.log()
    assert "'plantstream reset tally'" in worker.log()


def test_topics_that_meet_must_have_equally_many_partitions(site: Site) -> None:
    from confluent_kafka.admin import NewPartitions

    for future in site.admin.create_partitions([NewPartitions(site.raw, 6)]).values():
        future.result()
    worker = site.start()
    assert worker.wait() == 2
    assert f"{site.raw} has 6" in worker.log()
    assert f"{site.readings} has 4" in worker.log()
