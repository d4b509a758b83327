"""The test driver: a whole topology in memory, without a broker, with a clock of its own.

    driver = Driver(topology, knowledge)
    driver.opcua("glass/furnace", [("crown", t0, 1550.0), ("crown", t1, 1551.0)])
    driver.advance("opcua", "glass/furnace", "10s")       # a heartbeat: windows close
    driver.crash()                                         # all since the last commit is done again
    assert driver.features() == [...]

It runs the very functions that workers and replays run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from models.catalogue import Knowledge
from models.records import between, deadletter, events, features, headers, heartbeat, late
from models.records import block as blocks
from models.records.between import Between
from models.records.block import Block
from models.records.features import Features
from models.records.headers import Schema
from models.records.heartbeat import Heartbeat, State
from models.records.late import Late
from models.records.raw import (
    ModbusPoll,
    MqttMessage,
    OpcUaChange,
    encode_modbus,
    encode_mqtt,
    encode_opcua,
)
from models.time import NEVER, NS_PER_MS, parse_duration
from models.topics import Topics
from topologies.core.compile import compile_topology
from topologies.core.declaration import Declaration
from topologies.core.record import DEAD_LETTERS, Emission, Record
from topologies.core.state import DictState, Memory, Overlay
from topologies.core.time import KeyTime
from topologies.core.topology import Topology
from topologies.core.upgrade import Upgrade
from topologies.core.verdict import Verdict

#: One OPC UA sample: tag, event time ns, value, and a StatusCode where it is not Good.
Sample = tuple[str, int, Any] | tuple[str, int, Any, int]


class Driver:
    """Feed records, advance time, crash, and read what came out."""

    def __init__(
        self, topology: Topology, knowledge: Knowledge | None = None, *, commit_every: int = 1
    ) -> None:
        """``commit_every`` records are committed together; ``crash`` undoes what is not."""
        self.topology = topology
        self.knowledge = knowledge or Knowledge()
        self._commit_every = commit_every
        self._start()
        self._states: dict[tuple[str, bytes | None], dict[str, bytes]] = {}
        #: All topics in the order in which they are read: stage, record, whether it was fed.
        self._log: list[tuple[str, Record, bool]] = []
        #: How much of it was processed; how much of that, and of the log, is committed.
        self._next = self._committed = self._kept = 0
        self._done: list[Emission] = []
        self._pending: list[Emission] = []
        self._touched: dict[tuple[str, bytes | None], dict[str, bytes] | None] = {}
        self._offsets: dict[str, int] = {}
        self._received = 0
        #: Everything counted so far, over all records (not undone by a crash).
        self.counts: dict[str, int] = {}

    # ------------------------------------------------------------ feeding
    def raw(
        self,
        source: str,
        key: bytes | None,
        value: bytes | None,
        head: Mapping[str, bytes] | None = None,
        *,
        timestamp_ms: int = 0,
    ) -> list[Emission]:
        """Feed any bytes to the stage of an input; gives what they emitted."""
        name = source.replace(".", "_")
        self._append(name, key, value, dict(head or {}), timestamp_ms, fed=True)
        return self._drain(self._commit_every)

    def record(
        self, source: str, asset: str, schema: Schema, value: bytes, received: int
    ) -> list[Emission]:
        """Feed the bytes of a raw record with the headers that a connector would give it."""
        self._received = max(self._received, received)
        head = {headers.SCHEMA: schema.header, headers.CONTENT_TYPE: headers.JSON}
        stamp = max(0, received // NS_PER_MS)
        return self.raw(source, asset.encode(), value, head, timestamp_ms=stamp)

    def opcua(
        self, asset: str, samples: Sequence[Sample], *, received: int | None = None
    ) -> list[Emission]:
        """Feed one record of OPC UA data changes, received by default at the newest's time."""
        changes = [
            OpcUaChange(s[0], f"ns=2;s={asset}/{s[0]}", s[1], s[1], s[3] if len(s) > 3 else 0, s[2])
            for s in samples
        ]
        received = max(s[1] for s in samples) if received is None else received
        value = encode_opcua(changes, received)
        return self.record("opcua", asset, headers.RAW_OPCUA, value, received)

    def modbus(
        self, asset: str, template: str, polls: Sequence[ModbusPoll], *, received: int | None = None
    ) -> list[Emission]:
        """Feed one record of Modbus polls."""
        received = max(poll.t for poll in polls) if received is None else received
        value = encode_modbus(template, polls, received)
        return self.record("modbus", asset, headers.RAW_MODBUS, value, received)

    def mqtt(self, asset: str, topic: str, payload: Any, *, received: int) -> list[Emission]:
        """Feed one MQTT message; a payload that is not bytes is sent as JSON."""
        body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        value = encode_mqtt([MqttMessage(topic, body, received, 1)])
        return self.record("mqtt", asset, headers.RAW_MQTT, value, received)

    def block(self, source: str, block: Block) -> list[Emission]:
        """Feed another topology's readings."""
        value = blocks.encode(block)
        return self.record(source, block.asset, headers.BLOCK, value, block.received)

    def heartbeat(
        self,
        source: str,
        asset: str,
        state: State | str = State.ALIVE,
        *,
        elapsed: int | str | None = None,
        received: int | None = None,
    ) -> list[Emission]:
        """Feed a heartbeat: ``elapsed`` is how long the connector has heard nothing."""
        silence = None if elapsed is None else parse_duration(elapsed)
        time = self.time(source, asset)
        if received is None:
            received = max(self._received, (time.heard if time.heard != NEVER else 0))
            received += silence or 0
        beat = Heartbeat(asset, State(state), max(received, 0), received, silence)
        return self.record(source, asset, headers.HEARTBEAT, heartbeat.encode(beat), received)

    def advance(self, source: str, asset: str, by: int | str) -> list[Emission]:
        """Move an asset's time to ``by`` after its newest data, with an ``alive`` heartbeat."""
        return self.heartbeat(source, asset, State.ALIVE, elapsed=parse_duration(by))

    # ------------------------------------------------------------ deploying
    def deploy(self, topology: Topology) -> Verdict:
        """Go on under another declaration, as workers do with ``--accept-reset``.

        Everything so far is committed; the state of every key is taken over, migrated or lost as
        the verdict says, which is given back.
        """
        self.commit()
        upgrade = Upgrade(Declaration.of(self.topology), topology)
        for values in self._states.values():
            changes = upgrade(values)
            state = DictState(values)
            for name, value in changes.items():
                if value is None:
                    state.delete(name)
                else:
                    state.set(name, value)
        self.topology = topology
        self._stages = {stage.name: stage for stage in compile_topology(topology).stages}
        return upgrade.verdict

    # ------------------------------------------------------------ failing
    def commit(self) -> None:
        """Make outputs and state so far last over a crash."""
        self._committed, self._kept = self._next, len(self._log)
        self._done.extend(self._pending)
        self._pending.clear()
        self._touched.clear()

    def crash(self) -> None:
        """Lose everything since the last commit, start anew and do it again."""
        for place, before in self._touched.items():
            if before is None:
                self._states.pop(place, None)
            else:
                self._states[place] = before
        self._touched.clear()
        self._pending.clear()
        self._start()
        # What was fed stays; what stages told one another since then is told again.
        lost = self._log[self._kept :]
        self._log = self._log[: self._kept] + [entry for entry in lost if entry[2]]
        for name, record, fed in lost:
            if not fed:
                topic = self._stages[name].topic(Topics())
                self._offsets[topic] = min(self._offsets[topic], record.offset)
        self._next = self._committed
        self._drain(None)

    def _start(self) -> None:
        compiled = compile_topology(self.topology)
        self._stages = {stage.name: stage for stage in compiled.stages}
        self._channels = {
            stage.topic(Topics()).removeprefix(f"{compiled.name}."): stage.name
            for stage in compiled.stages
            if stage.stage.merge is not None
        }

    def _append(
        self,
        stage: str,
        key: bytes | None,
        value: bytes | None,
        head: dict[str, bytes],
        timestamp_ms: int,
        *,
        fed: bool,
    ) -> None:
        topic = self._stages[stage].topic(Topics())
        offset = self._offsets.get(topic, 0)
        self._offsets[topic] = offset + 1
        record = Record(topic, 0, offset, timestamp_ms, key, value, head)
        self._log.append((stage, record, fed))

    def _drain(self, commit_every: int | None) -> list[Emission]:
        """Process what is on the topics, those between stages included."""
        emitted: list[Emission] = []
        while self._next < len(self._log):
            name, record, _ = self._log[self._next]
            emitted += self._run(name, record)
            self._next += 1
            if commit_every is not None and self._next - self._committed >= commit_every:
                self.commit()
        return emitted

    def _run(self, name: str, record: Record) -> list[Emission]:
        place = (name, record.key)
        values = self._states.setdefault(place, {})
        if place not in self._touched:
            self._touched[place] = dict(values)
        emissions, counts = self._stages[name](record, DictState(values), self.knowledge)
        for count, amount in counts.items():
            self.counts[count] = self.counts.get(count, 0) + amount
        for emission in emissions:
            stage = self._channels.get(emission.output)
            if stage is not None:
                _, key, value, head, at = emission
                stamp = record.timestamp_ms if at is None else at
                self._append(stage, key, value, head, stamp, fed=False)
        outward = [emission for emission in emissions if emission.output not in self._channels]
        self._pending.extend(outward)
        return outward

    # ------------------------------------------------------------ reading
    @property
    def emissions(self) -> list[Emission]:
        """Everything emitted, in order, committed or not."""
        return self._done + self._pending

    def output(self, name: str) -> list[Emission]:
        """Everything emitted to one output."""
        return [emission for emission in self.emissions if emission.output == name]

    def blocks(self, output: str = "readings") -> list[Block]:
        """The blocks of readings."""
        return [blocks.decode(emission.value) for emission in self.output(output)]

    def readings(self, output: str = "readings") -> list[tuple[str, str, int, Any, int]]:
        """Every sample as (asset, tag, t, value, quality)."""
        return [
            (block.asset, block.tags[tag], t, value, q)
            for block in self.blocks(output)
            for tag, t, value, q in zip(
                block.tag.tolist(), block.t.tolist(), block.exact(), block.q.tolist(), strict=True
            )
        ]

    def feature_records(self, output: str = "features") -> list[Features]:
        """The features records."""
        return [features.decode(emission.value) for emission in self.output(output)]

    def features(self, output: str = "features") -> list[dict[str, Any]]:
        """Every closed window as a dict: asset, window, tag, start, end, count, bad, statistics."""
        return [row for record in self.feature_records(output) for row in _rows(record)]

    def late(self, output: str = "late") -> list[Late]:
        """The samples that came too late for windows, a record each."""
        return [late.decode(emission.value) for emission in self.output(output)]

    def anomalies(self, output: str = "anomalies") -> list[events.Anomaly]:
        """Every revision of every anomaly."""
        return [events.decode(events.Anomaly, emission.value) for emission in self.output(output)]

    def alarms(self, output: str = "alarms") -> list[events.Alarm]:
        """Every revision of every alarm."""
        return [events.decode(events.Alarm, emission.value) for emission in self.output(output)]

    def between(self, merge: str) -> list[Between]:
        """What was sent to a merge so far."""
        return [between.decode(r.value) for name, r, fed in self._log if name == merge and not fed]

    def dead_letters(self) -> list[deadletter.DeadLetter]:
        """Every record that could not be processed."""
        return [deadletter.decode(emission.value) for emission in self.output(DEAD_LETTERS)]

    def state(self, source: str, asset: str) -> Mapping[str, bytes]:
        """What is kept for an asset: bytes by ``<step>/<name>``. Of a merge: for a key."""
        return dict(self._states.get((source.replace(".", "_"), asset.encode()), {}))

    def time(self, source: str, asset: str) -> KeyTime:
        """What is known of an asset's time."""
        values = dict(self.state(source, asset))
        return KeyTime.load(Memory(Overlay(DictState(values)), "time"))


def _rows(record: Features) -> Iterator[dict[str, Any]]:
    for row in range(len(record)):
        yield {
            "asset": record.asset,
            "window": record.window,
            "tag": record.tags[record.tag[row]],
            "start": int(record.start[row]),
            "end": int(record.end[row]),
            "count": int(record.count[row]),
            "bad": int(record.bad[row]),
            **{name: float(column[row]) for name, column in record.stats.items()},
            **({} if record.final else {"final": False}),
        }
