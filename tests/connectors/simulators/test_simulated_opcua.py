"""The OPC UA simulator, seen by asyncua's client."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Client, ua

from tests.connectors.simulators.conftest import TRACE_SAMPLES, TRACE_TEXT

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ASSET = "glass/furnace"


class Watcher:
    """A subscription that keeps every notification: (tag, ns, value, status name)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, Any, str]] = []
        self._changed = asyncio.Event()

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        found: ua.DataValue = data.monitored_item.Value
        status = found.StatusCode.name
        if status == "BadWaitingForInitialData":
            return
        time = found.SourceTimestamp.replace(tzinfo=UTC)
        ns = (time - EPOCH) // timedelta(microseconds=1) * 1000
        self.seen.append((node.nodeid.Identifier.rsplit("/", 1)[1], ns, value, status))
        self._changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(30):
            while not condition(self.seen):
                self._changed.clear()
                await self._changed.wait()


async def watch(client: Client, tags: list[str], queue: int = 100, period: int = 20) -> Watcher:
    """Monitor tags with the trigger that reports rows whose value did not change."""
    watcher = Watcher()
    subscription = await client.create_subscription(period, watcher)
    requests = []
    for handle, tag in enumerate(tags, 1):
        requests.append(
            ua.MonitoredItemCreateRequest(
                ItemToMonitor=ua.ReadValueId(
                    NodeId=ua.NodeId(f"{ASSET}/{tag}", 2), AttributeId=ua.AttributeIds.Value
                ),
                MonitoringMode=ua.MonitoringMode.Reporting,
                RequestedParameters=ua.MonitoringParameters(
                    ClientHandle=handle,
                    SamplingInterval=0,
                    QueueSize=queue,
                    Filter=ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp),
                ),
            )
        )
    results = await subscription.create_monitored_items(requests)
    assert not [one for one in results if isinstance(one, ua.StatusCode) and one.is_bad()]
    return watcher


def as_seen(journal: list[dict[str, Any]]) -> list[tuple[str, int, Any, str]]:
    return sorted((line["tag"], line["t"], line["v"], line["status"]) for line in journal)


def trace_config(path: Any, **fields: Any) -> dict[str, Any]:
    trace = {"path": str(path), "asset": ASSET, "speed": "max", **fields}
    return {"kind": "opcua", "trace": trace, "exit_at_end": True}


def test_a_trace_at_full_speed_reaches_a_subscriber_whole(simulate: Any, trace_file: Any) -> None:
    """Unchanged values, missing cells and fractions of seconds included, through a queue of 1."""
    process = simulate(trace_config(trace_file))

    async def read() -> list[tuple[str, int, Any, str]]:
        async with Client(process.endpoint) as client:
            watcher = await watch(client, ["Pressure", "Flow Rate"], queue=1)
            await watcher.until(lambda seen: len(seen) >= len(TRACE_SAMPLES))
            return sorted(watcher.seen)

    seen = asyncio.run(read())
    finished = process.finished()
    assert seen == [(*sample, "Good") for sample in TRACE_SAMPLES]
    assert as_seen(process.journal()) == seen
    assert finished["rows"] == TRACE_TEXT.count("\n") - 1
    assert finished["overrun"] == 0


def test_the_default_trigger_misses_rows_whose_value_stays(simulate: Any, trace_file: Any) -> None:
    """Not the simulator's doing: OPC UA's default trigger StatusValue ignores new times."""
    process = simulate({**trace_config(trace_file), "linger": "1s"})

    async def read() -> list[tuple[str, int, Any, str]]:
        watcher = Watcher()
        async with Client(process.endpoint) as client:
            subscription = await client.create_subscription(20, watcher)
            nodes = [
                client.get_node(ua.NodeId(f"{ASSET}/{tag}", 2)) for tag in ("Pressure", "Flow Rate")
            ]
            await subscription.subscribe_data_change(nodes, queuesize=100)
            await watcher.until(lambda seen: TRACE_SAMPLES[-1][1] in {one[1] for one in seen})
        return sorted(watcher.seen)

    seen = asyncio.run(read())
    process.finished()
    changed: list[tuple[str, int, Any, str]] = []
    for tag, t, value in TRACE_SAMPLES:
        if not changed or changed[-1][0] != tag or changed[-1][2] != value:
            changed.append((tag, t, value, "Good"))
    assert len(changed) < len(TRACE_SAMPLES)
    assert seen == changed


def test_a_recorded_data_set_is_played_whole(simulate: Any, skab_file: Any) -> None:
    process = simulate(trace_config(skab_file, rows=150))
    tags = skab_file.read_text().splitlines()[0].split(";")[1:9]

    async def read() -> list[tuple[str, int, Any, str]]:
        async with Client(process.endpoint) as client:
            watcher = await watch(client, tags)
            await watcher.until(lambda seen: len(seen) >= 150 * 8)
            return sorted(watcher.seen)

    seen = asyncio.run(read())
    assert process.finished()["overrun"] == 0
    lines = [row.split(";") for row in skab_file.read_text().splitlines()[1:151]]
    expected = sorted(
        (tag, round(datetime.fromisoformat(row[0] + "Z").timestamp()) * 10**9, float(cell), "Good")
        for row in lines
        for tag, cell in zip(tags, row[1:9], strict=True)
    )
    assert seen == expected == as_seen(process.journal())


def test_signals_faults_and_commands(simulate: Any) -> None:
    """Live signals with units and types; a bad and a stuck tag on command; pause and resume."""
    process = simulate(
        {
            "kind": "opcua",
            "seed": 7,
            "assets": [
                {
                    "name": ASSET,
                    "interval": "50ms",
                    "tags": {
                        "crown": {"kind": "level", "at": 1550, "noise": 0.5, "unit": "degC"},
                        "count": {"kind": "counter", "rate": 20},
                    },
                    "types": {"count": "uint32"},
                }
            ],
        }
    )

    async def read() -> list[tuple[str, int, Any, str]]:
        async with Client(process.endpoint) as client:
            unit = client.get_node(f"ns=2;s={ASSET}/crown")
            (found,) = [
                await node.read_value()
                for node in await unit.get_properties()
                if (await node.read_browse_name()).Name == "EngineeringUnits"
            ]
            assert found.DisplayName.Text == "degC"
            watcher = await watch(client, ["crown", "count"])
            await watcher.until(lambda seen: len(seen) > 10)
            fault = {"do": "fault", "asset": ASSET, "tag": "crown", "for": "150ms"}
            assert process.command(**fault, kind="bad") == {"ok": True}
            await watcher.until(lambda seen: any(one[3] == "BadSensorFailure" for one in seen))
            bad = len(watcher.seen)
            await watcher.until(
                lambda seen: any(one[0] == "crown" and one[3] == "Good" for one in seen[bad:])
            )
            assert process.command(do="pause") == {"ok": True}
            assert process.command(do="status")["paused"] is True
            rows = process.command(do="status")["rows"]
            await asyncio.sleep(0.3)  # six rows long: nothing may come
            assert process.command(do="status")["rows"] - rows <= 1
            paused = len(watcher.seen)
            assert process.command(do="resume") == {"ok": True}
            await watcher.until(lambda seen: len(seen) > paused + 10)
            refused = process.command(do="fault", asset="x", tag="y", kind="spike")
            assert refused["ok"] is False
            assert ASSET in refused["error"]
            assert process.command(do="pause") == {"ok": True}
            sent = process.command(do="status")["samples"]
            await watcher.until(lambda seen: seen[-1][1] == process.journal()[-1]["t"])
            assert sent == len(process.journal())
            return sorted(watcher.seen, key=lambda one: (one[1], one[0]))

    seen = asyncio.run(read())
    process.stop()
    bad = [one for one in seen if one[3] == "BadSensorFailure"]
    assert bad
    assert all(one[2] is None and one[0] == "crown" for one in bad)
    counts = [one[2] for one in seen if one[0] == "count"]
    assert counts == sorted(counts)
    assert all(isinstance(count, int) for count in counts)
    first = seen[0][1]  # what was sent before the subscription is not expected
    sent = [one for one in as_seen(process.journal()) if one[1] > first]
    assert sorted(sent) == sorted(one for one in seen if one[1] > first)
    assert {line.get("fault") for line in process.journal()} == {None, "bad"}


def test_a_journal_survives_kill(simulate: Any) -> None:
    tags = {"x": {"kind": "level", "at": 1, "noise": 1}}
    process = simulate(
        {"kind": "opcua", "assets": [{"name": ASSET, "interval": "20ms", "tags": tags}]}
    )

    async def read() -> list[tuple[str, int, Any, str]]:
        async with Client(process.endpoint) as client:
            watcher = await watch(client, ["x"])
            await watcher.until(lambda seen: len(seen) > 20)
            process.kill()
            return list(watcher.seen)

    seen = asyncio.run(read())
    assert set(seen) <= set(as_seen(process.journal()))
