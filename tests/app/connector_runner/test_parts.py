"""Gathering, heartbeats, the outbox, records and the roll of connectors: what they promise."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.shells.connector_runner.backoff import Backoff
from app.shells.connector_runner.gather import Gatherer
from app.shells.connector_runner.heartbeats import Heartbeats, Known
from app.shells.connector_runner.outbox import MemoryOutbox
from app.shells.connector_runner.records import Record, RecordMaker, kafka_timestamp, session_id
from app.shells.connector_runner.run import make_connector
from app.shells.connector_runner.status import ConnectorStatus, StatusState, decode, encode
from app.shells.connector_runner.watchdog import Roll
from connectors.base import Message
from models.errors import ConfigError, MalformedRecord
from models.records import heartbeat
from models.records.headers import RAW_MQTT
from models.records.heartbeat import Heartbeat, State

S = 10**9


def message(asset: str, item: Any, size: int = 10, group: str = "", t: int = 0) -> Message:
    return Message(asset, item, t, t, group=group, size=size)


# ---------------------------------------------------------------- gathering
class TestGathering:
    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(1, 60),
                      st.integers(0, 40)),
            max_size=60,
        )
    )  # fmt: skip
    def test_nothing_lost_order_kept_bounds_kept_nobody_waits_longer(
        self, arrivals: list[tuple[str, str, int, int]]
    ) -> None:
        gatherer, now = Gatherer(100, 5, 100), 0
        out: list[list[Message]] = []
        waiting: dict[int, int] = {}
        for number, (asset, group, size, wait) in enumerate(arrivals):
            now += wait
            done = gatherer.due(now)
            waiting[number] = now
            done += gatherer.add(message(asset, number, size, group), now)
            for batch in done:
                for each in batch:
                    arrived = waiting.pop(each.item)
                    # looked at on every arrival, so at most one wait (40) late
                    assert now - arrived <= 100 + 40
            out += done
            assert (gatherer.deadline or now + 100) > now
        out += gatherer.flush()
        assert not gatherer
        assert sorted(each.item for batch in out for each in batch) == list(range(len(arrivals)))
        for batch in out:
            assert len({(each.asset, each.group) for each in batch}) == 1
            assert len(batch) <= 5
            assert len(batch) == 1 or sum(each.size for each in batch) <= 100
        for key in {(asset, group) for asset, group, *_ in arrivals}:
            numbers = [
                each.item for batch in out for each in batch if (each.asset, each.group) == key
            ]
            assert numbers == sorted(numbers)


# ---------------------------------------------------------------- heartbeats
class TestHeartbeats:
    def test_silent_asset_moves_on_its_own_time_line(self) -> None:
        """A recording of 2013 goes on in 2013, not today."""
        beats = Heartbeats(5 * S)
        then, now = 1_386_000_000 * S, 1_790_000_000 * S
        beats.heard("pump", then, now)
        assert beats.due(now + 4 * S, lambda _: True) == []
        [beat] = beats.due(now + 5 * S, lambda _: True)
        assert beat == Heartbeat("pump", State.ALIVE, then + 5 * S, now + 5 * S, 5 * S)
        assert beats.due(now + 6 * S, lambda _: True) == []
        [beat] = beats.due(now + 10 * S, lambda _: True)
        assert (beat.t, beat.elapsed) == (then + 10 * S, 10 * S)

    def test_asset_that_speaks_needs_none(self) -> None:
        beats = Heartbeats(5 * S)
        for second in range(20):
            beats.heard("pump", second * S, second * S)
            assert beats.due(second * S + S, lambda _: True) == []

    def test_never_heard_is_disconnected(self) -> None:
        beats = Heartbeats(5 * S)
        beats.expect({"pump"}, 100 * S)
        assert beats.due(104 * S, lambda _: True) == []
        assert beats.due(105 * S, lambda _: True) == [
            Heartbeat("pump", State.DISCONNECTED, 105 * S, 105 * S, None)
        ]

    def test_broken_way_holds_time(self) -> None:
        beats = Heartbeats(5 * S)
        beats.heard("pump", 90 * S, 100 * S)
        beats.heard("fan", 90 * S, 100 * S)
        found = beats.due(106 * S, lambda asset: asset == "fan")
        assert [(beat.asset, beat.state, beat.t) for beat in found] == [
            ("pump", State.DISCONNECTED, 90 * S),
            ("fan", State.ALIVE, 96 * S),
        ]

    def test_lost_connection_is_told_of_all_at_once(self) -> None:
        beats = Heartbeats(5 * S)
        beats.heard("pump", 100 * S, 100 * S)
        beats.expect({"fan"}, 100 * S)
        found = beats.disconnected(101 * S)
        assert [(beat.asset, beat.state, beat.elapsed) for beat in found] == [
            ("pump", State.DISCONNECTED, S),
            ("fan", State.DISCONNECTED, None),
        ]
        assert beats.due(105 * S, lambda _: True) == []

    def test_source_ahead_of_us_is_not_pulled_further(self) -> None:
        beats = Heartbeats(5 * S)
        beats.heard("pump", 10_000 * S, 100 * S)
        [beat] = beats.due(200 * S, lambda _: True)
        assert beat.t == 10_000 * S

    def test_names_from_outside_are_bounded_and_declared_ones_are_not(self) -> None:
        beats = Heartbeats(5 * S, limit=2)
        assert [beats.heard(name, 0, 0) for name in ("a", "b", "c", "a")] == [
            True, True, False, True,
        ]  # fmt: skip
        beats.expect({"pump"}, 0)
        assert beats.heard("pump", 0, 0)
        assert {beat.asset for beat in beats.due(5 * S, lambda _: True)} == {"a", "b", "pump"}

    def test_a_name_that_only_fills_memory_is_none(self) -> None:
        beats = Heartbeats(5 * S)
        assert beats.heard("x" * 512, 0, 0)
        assert not beats.heard("x" * 513, 0, 0)

    def test_silence_goes_on_over_a_restart(self) -> None:
        before = Heartbeats(5 * S)
        before.heard("pump", 90 * S, 100 * S)
        before.expect({"fan"}, 100 * S)
        after = Heartbeats(5 * S)
        after.expect({"fan"}, 200 * S)
        after.restore(before.known(), 200 * S)
        assert after.due(204 * S, lambda _: True) == []  # it has an interval to speak
        assert after.due(205 * S, lambda _: True) == [
            Heartbeat("fan", State.DISCONNECTED, 205 * S, 205 * S, None),
            Heartbeat("pump", State.ALIVE, 195 * S, 205 * S, 105 * S),
        ]
        assert after.recent(205 * S) == 0

    def test_what_was_heard_meanwhile_is_not_undone_and_the_limit_holds(self) -> None:
        beats = Heartbeats(5 * S, limit=2)
        beats.heard("pump", 300 * S, 300 * S)
        beats.restore([Known("pump", S, S), Known("fan", S, S), Known("gone", S, S)], 301 * S)
        assert sorted(beats.known()) == [Known("fan", S, S), Known("pump", 300 * S, 300 * S)]

    def test_no_heartbeat_overtakes_what_a_source_kept_while_it_was_away(self) -> None:
        beats = Heartbeats(5 * S)
        beats.heard("pump", 100 * S, 100 * S)
        beats.disconnected(101 * S)
        assert len(beats.due(106 * S, lambda _: False)) == 1
        beats.connected(110 * S)
        assert beats.due(111 * S, lambda _: True) == []
        assert len(beats.due(115 * S, lambda _: True)) == 1

    def test_clock_set_back_silences_nobody(self) -> None:
        beats = Heartbeats(5 * S)
        beats.heard("pump", 1000 * S, 1000 * S)
        [beat] = beats.due(10 * S, lambda _: True)
        assert (beat.elapsed, beat.t) == (0, 1000 * S)


# ---------------------------------------------------------------- records
def maker(max_bytes: int = 1000) -> RecordMaker:
    def pack(messages: Sequence[Message]) -> bytes:
        return json.dumps([each.item for each in messages]).encode()

    return RecordMaker("loggers", "s1", RAW_MQTT, "v7", pack, max_bytes)


class TestRecords:
    def test_headers_key_and_timestamp(self) -> None:
        make = maker()
        batch = [message("pump", 1, t=5 * S), message("pump", 2, t=9 * S), message("pump", 3)]
        [record] = make.data(batch, 100 * S)
        assert (record.key, record.value, record.timestamp) == ("pump", b"[1, 2, 3]", 9000)
        assert dict(record.headers) == {
            "schema": b"raw-mqtt/1",
            "connector": b"loggers",
            "content-type": b"application/json",
            "config-version": b"v7",
            "event-id": b"loggers:s1:0",
        }
        beat = make.heartbeat(Heartbeat("pump", State.ALIVE, 9 * S, 100 * S, S))
        assert dict(beat.headers)["schema"] == b"heartbeat/1"
        assert dict(beat.headers)["event-id"] == b"loggers:s1:1"
        assert heartbeat.decode(beat.value).elapsed == S

    def test_what_packs_too_large_is_split_in_order(self) -> None:
        make = maker(max_bytes=54)  # key and value
        records = make.data([message("pump", "x" * 18 + str(n)) for n in range(9)], 0)
        assert all(len(record.value) <= 50 for record in records)
        items = [item for record in records for item in json.loads(record.value)]
        assert [int(item[18:]) for item in items] == list(range(9))
        [one] = make.data([message("pump", "y" * 100)], 0)
        assert len(one.value) > 50

    @pytest.mark.parametrize(
        ("t", "expected"),
        [(5 * S, 5000), (-5 * S, 1), (0, 1), (1000 * S, 400_000), (2**63 - 1, 400_000)],
    )
    def test_timestamps_are_clamped(self, t: int, expected: int) -> None:
        assert kafka_timestamp(t, 100 * S) == expected

    @given(st.integers(0, 2**63))
    def test_session_ids_are_base_36(self, start: int) -> None:
        assert int(session_id(start), 36) == start


# ---------------------------------------------------------------- outbox
def record(number: int, size: int = 100) -> Record:
    return Record(number, "pump", b"x" * size, [], 0)


class TestOutbox:
    def make(self, safe: list[int], records: int = 4, size: int = 10**9) -> MemoryOutbox:
        return MemoryOutbox(
            lambda each: safe.append(each.number), max_records=records, max_bytes=size
        )

    def test_takes_in_order_and_again_after_a_rewind(self) -> None:
        safe: list[int] = []
        box = self.make(safe, 100)
        records = [record(number) for number in range(5)]
        for each in records:
            box.put(each)
        taken = [box.take() for _ in range(4)]
        assert taken == records[:4]
        box.landed(records[1])
        box.rewind()
        assert [box.take() for _ in range(5)] == [*(records[n] for n in (0, 2, 3, 4)), None]
        for each in records:
            box.landed(each)
        assert safe == [1, 0, 2, 3, 4]
        assert (box.records, box.bytes) == (0, 0)

    def test_full_until_a_quarter_is_free(self) -> None:
        box = self.make([], 4)
        records = [record(number) for number in range(5)]
        for each in records[:4]:
            assert not box.full
            box.put(each)
        assert box.full
        box.put(records[4])  # what was read before is taken all the same
        for _ in range(5):
            box.take()
        box.landed(records[0])
        assert box.full
        box.landed(records[1])
        assert not box.full

    def test_bounded_by_bytes_too(self) -> None:
        box = self.make([], 1000, 5000)
        box.put(record(0, 3000))
        assert box.full

    def test_waits_end_when_there_is_something(self) -> None:
        async def scenario() -> None:
            box = self.make([], 1)
            await asyncio.wait_for(box.wait_empty(), 1)
            await asyncio.wait_for(box.wait_room(), 1)
            waiting = asyncio.ensure_future(box.wait_record())
            await asyncio.sleep(0)
            assert not waiting.done()
            box.put(record(0))
            await asyncio.wait_for(waiting, 1)
            room = asyncio.ensure_future(box.wait_room())
            empty = asyncio.ensure_future(box.wait_empty())
            await asyncio.sleep(0)
            assert not room.done()
            assert not empty.done()
            taken = box.take()
            assert taken is not None
            box.landed(taken)
            await asyncio.wait_for(asyncio.gather(room, empty), 1)

        asyncio.run(scenario())


# ---------------------------------------------------------------- status, roll, backoff
def status(state: StatusState = "connected", name: str = "line") -> ConnectorStatus:
    return ConnectorStatus(
        name=name, kind="modbus", session="s", topic="raw.modbus", assets=("a", "b"), state=state,
        interval=S, t=5,
    )  # fmt: skip


class TestRoll:
    def test_silence_of_three_intervals_is_death(self) -> None:
        roll = Roll()
        roll.heard(status())
        assert roll.passed(2 * S) == []
        roll.heard(status())
        assert roll.passed(3 * S) == []
        assert roll.passed(1) == [status()]

    def test_an_orderly_end_is_none(self) -> None:
        roll = Roll()
        roll.heard(status("stopped"))
        roll.heard(status("dead", "other"))
        assert roll.passed(100 * S) == []

    def test_the_dead_are_spoken_of_every_minute(self) -> None:
        roll = Roll()
        roll.heard(status("dead"))
        assert roll.still_dead(59 * S) == []
        assert roll.still_dead(S) == [status("dead")]
        assert roll.still_dead(59 * S) == []
        roll.heard(status())
        assert roll.still_dead(100 * S) == []

    def test_a_disconnected_connector_lives(self) -> None:
        roll = Roll()
        roll.heard(status("disconnected"))
        assert roll.passed(4 * S) == [status("disconnected")]

    def test_speaks_for_all_assets_of_all_pages(self) -> None:
        roll = Roll()
        roll.heard(status())
        roll.page("line", 0, ("b", "c"))
        roll.page("line", 1, ("d",))
        roll.page("other", 0, ("x",))
        assert roll.assets(status()) == ["a", "b", "c", "d"]
        roll.page("line", 1, ())
        assert roll.assets(status()) == ["a", "b", "c"]

    def test_forgotten(self) -> None:
        roll = Roll()
        roll.heard(status())
        roll.forget("line")
        assert roll.passed(100 * S) == []


def test_status_comes_back_as_written() -> None:
    assert decode(encode(status())) == status()


def test_a_status_fits_whatever_there_is_to_say() -> None:
    """One that Kafka refuses would have a watchdog declare a living connector dead."""
    long = status().model_copy(
        update={
            "assets": tuple(f"{number:05}" + "\0" * 507 for number in range(20_000)),
            "problems": tuple(f"{number} " + "x" * 1000 for number in range(5_000)),
            "reason": "y" * 10_000_000,
        }
    )
    value = encode(long)
    assert len(value) < 500_000
    read = decode(value)
    assert read.problems[-1] == "… and 4980 more"
    assert read.reason == "y" * 499 + "…"
    assert read.assets == long.assets[:100]


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[]", b"\xff", encode(status())[:-5]])
def test_malformed_status_is_refused(value: bytes | None) -> None:
    with pytest.raises(MalformedRecord, match="connector-status"):
        decode(value)


def test_backoff_doubles_with_jitter_up_to_a_limit() -> None:
    lowest, highest = Backoff(1, 10, lambda: 0.0), Backoff(1, 10, lambda: 1.0)
    assert [lowest.next() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert [highest.next() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    highest.reset()
    assert highest.next() == 1


# ---------------------------------------------------------------- configuration
@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("modbus", {"units": []}, "connector c: units"),
        ("modbus", {"units": [{"asset": "a", "template": "t"}]}, "known are none"),
        ("opcua", {"endpoint": "http://x", "items": []}, "opc.tcp://host:port/path"),
        ("mqtt", {"subscriptions": [{"filter": "a/#/b", "asset": "x"}]}, "last level"),
        ("mqtt", {"subscriptions": [], "user": "x"}, "connector c: "),
        ("profibus", {}, "unknown kind of connector"),
    ],
)
def test_wrong_configuration_names_the_field(
    kind: str, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        make_connector("c", kind, parameters)
    assert said in str(refused.value)
    assert refused.value.exit_code == 2
