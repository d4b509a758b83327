"""A merging stage: what waits for others is state of the key, and goes on unit by unit.

    stage(record in between, state of the new key, knowledge) -> Result

A record in between takes effect whole or not at all, as everywhere. What it releases are rows that
came before it, so a unit that fails in a step does not touch the record: the unit is left out as a
whole, and the records that its rows are of become dead letters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from models.catalogue import Knowledge
from models.errors import MalformedRecord, RecordError, RecordTooLarge, StepFailed
from models.records import between, headers
from models.records.features import EARLY
from models.records.heartbeat import Heartbeat
from models.records.heartbeat import State as Alive
from models.time import MAX_NS, NEVER, NS_PER_MS
from models.topics import Topics
from topologies.core.boundary import Boundary
from topologies.core.flow import READINGS, Flow
from topologies.core.merge.gate import Gate
from topologies.core.merge.pages import ROWS, TABLE, TICK, Entry, Pages
from topologies.core.merge.units import Unit, cut_up, decoded
from topologies.core.record import Emission, Record, Result
from topologies.core.stage import CompiledStage, Failed, Timer, asset_of, for_others
from topologies.core.stages import Stage
from topologies.core.state import Memory, Overlay
from topologies.core.step import Bound, Step
from topologies.core.time import KeyTime, enter
from topologies.core.topology import Topology

Steps = list[tuple[Step, Bound]]


class MergingStage(CompiledStage):
    """The steps behind a merge."""

    def __init__(
        self, topology: Topology, stage: Stage, merge: Boundary, timer: Timer | None
    ) -> None:
        super().__init__(topology, stage, timer)
        self.merge = merge

    def topic(self, topics: Topics) -> str:
        return topics.output(self.topology.name, self.merge.channel)

    def _process(self, record: Record, overlay: Overlay, knowledge: Knowledge) -> Result:
        steps = self._steps(knowledge)
        where, counts = "decode", dict[str, int]()
        try:
            key = asset_of(record.key)
            if for_others(record, self.topology.name):
                return Result([], {"skipped.redriven": 1})
            arrived = self._decode(record)
            where = self.merge.name
            memory = Memory(overlay, where)
            expected = self.merge.expected(key)
            gate, pages = Gate(memory, self.merge.of, expected), Pages(memory)
            self._take(record, arrived, gate, pages, counts)
            emissions: list[Emission] = []
            timer = self._timed(record)
            for unit, partial in self._released(key, gate, pages, counts):
                inner = Overlay(overlay)
                try:
                    emissions += self._unit(
                        unit, key, partial, inner, steps, record, timer, counts
                    )
                finally:
                    inner.close()
            gate.save()
            pages.save()
        except (StepFailed, MemoryError):
            raise
        except Exception as error:
            reason = error.reason if isinstance(error, RecordError) else "step"
            return Result([self._dead(record, where, error)], {f"dead.{reason}": 1})
        overlay.apply()
        return Result(emissions, counts)

    def _decode(self, record: Record) -> between.Between:
        headers.expect(record.headers, between.SCHEMA)
        arrived = decoded(record.value)
        if arrived.source not in self.stage.origins or arrived.lane not in self.merge.of:
            raise MalformedRecord(
                f"{arrived.lane!r} of {arrived.source!r}, where stage {self.name!r} takes"
                f" {', '.join(self.merge.of)} of {', '.join(self.stage.origins)}"
            )
        return arrived

    def _take(
        self,
        record: Record,
        arrived: between.Between,
        gate: Gate,
        pages: Pages,
        counts: dict[str, int],
    ) -> None:
        """Put what arrived to those that wait."""
        new, moved = gate.hear(arrived)
        if new:
            counts["contributors"] = 1
        t, released = arrived.event_time, gate.released

        def wait(kind: int, low: int, cut: int, payload: bytes) -> None:
            entry = Entry(
                kind, cut, low, released, arrived.received, record.timestamp_ms, record.partition,
                record.offset, record.event_id, payload,
            )  # fmt: skip
            if kind == TABLE and pages.size + entry.size > 2 * self.merge.max_bytes:
                raise RecordTooLarge(
                    f"the tables of this key would hold {pages.size + entry.size} bytes that are"
                    f" not valid yet, at most {2 * self.merge.max_bytes}"
                )
            pages.add(entry)

        late = int(t.searchsorted(released, side="right"))
        if late:
            counts["retroactive" if arrived.table else "late"] = late
        last = released
        if arrived.table and t.size:
            # It is still to be released, however old it is.
            last = max(int(t[-1]), min(released, MAX_NS - 1) + 1)
            wait(TABLE, int(t[0]), last, record.value or b"")
        elif late < t.size:
            last = int(t[-1])
            wait(ROWS, int(t[late]), last, record.value or b"")
        if moved and arrived.time - 1 > last:
            wait(TICK, arrived.time - 1, arrived.time - 1, b"")

    def _released(
        self, key: str, gate: Gate, pages: Pages, counts: dict[str, int]
    ) -> Iterable[tuple[Unit, int]]:
        """The units that go on now, with the marks of their results."""
        frontier = gate.frontier()
        until = frontier - 1 if frontier != NEVER else NEVER
        early = self._forced(pages, gate.released) if pages.size > self.merge.max_bytes else NEVER
        last = max(until, early)
        if last <= gate.released:
            return
        units = cut_up(key, pages.waiting(last), gate.released, last)
        for unit in units:
            partial = gate.absent(unit.cut)
            if unit.cut > until:
                partial |= EARLY
                counts["overflow"] = counts.get("overflow", 0) + 1
            counts["merged"] = counts.get("merged", 0) + len(unit.block)
            yield unit, partial
        if units:
            gate.released = units[-1].cut
            pages.release(gate.released)

    def _forced(self, pages: Pages, released: int) -> int:
        """How far must be released for the rest to fit again."""
        cuts = sorted((cut, size) for cut, size in pages.cuts() if cut > released)
        # Some room is made, so that not every record after this one looks through them all.
        too_many = pages.size - self.merge.max_bytes * 7 // 8
        for cut, size in cuts:
            too_many -= size
            if too_many <= 0:
                return cut
        return cuts[-1][0] if cuts else NEVER

    def _unit(
        self,
        unit: Unit,
        key: str,
        partial: int,
        inner: Overlay,
        steps: Steps,
        record: Record,
        timer: Timer | None,
        counts: dict[str, int],
    ) -> list[Emission]:
        clock = Memory(inner, "time")
        flow = self._flow(unit, key, partial, KeyTime.load(clock))
        where = "output"
        try:
            self._run(flow, inner, steps, record, timer)
            newest = min(unit.cut, unit.received + self.topology.max_future_skew)
            emissions = self._emitter.emit(
                flow, key.encode(), flow.event_id.encode(), max(newest // NS_PER_MS, 1)
            )
            where = "state"
            flow.time.save(clock)
        except (StepFailed, MemoryError):
            raise
        except Failed as failed:
            if failed.skip:
                name = f"skipped.{failed.where}"
                counts[name] = counts.get(name, 0) + 1
                return []
            return self._left_out(unit, record, failed.where, failed.__cause__, counts)
        except Exception as error:
            return self._left_out(unit, record, where, error, counts)
        inner.apply()
        for name, amount in flow.counts.items():
            counts[name] = counts.get(name, 0) + amount
        return emissions

    def _flow(self, unit: Unit, key: str, partial: int, time: KeyTime) -> Flow:
        block, after = enter(unit.block, time, MAX_NS - max(unit.received, 0), 0)
        beat = None
        if not len(block) and not unit.features:
            beat = Heartbeat(key, Alive.ALIVE, unit.now, unit.received, None)
        return Flow(
            topology=self.topology.name,
            asset=key,
            event_id=f"{self.topology.name}.{self.name}:{key}:{unit.cut}",
            before=time,
            time=replace(after, now=max(after.now, unit.now)),
            received=unit.received,
            block=block,
            heartbeat=beat,
            features=dict(unit.features),
            lane_time={lane: unit.cut for lane in self.merge.of if lane != READINGS},
            origins=unit.origins,
            origin=self.name,
            partial=partial,
        )

    def _left_out(
        self,
        unit: Unit,
        record: Record,
        where: str,
        error: BaseException | None,
        counts: dict[str, int],
    ) -> list[Emission]:
        reason = error.reason if isinstance(error, RecordError) else "step"
        head = {
            headers.SCHEMA: between.SCHEMA.header,
            headers.CONTENT_TYPE: headers.JSON,
        }
        letters = [
            self._dead(
                Record(
                    record.topic,
                    entry.partition,
                    entry.offset,
                    entry.timestamp_ms,
                    record.key,
                    entry.payload,
                    {**head, headers.EVENT_ID: entry.event_id},
                ),
                where,
                error,
            )
            for entry in unit.entries
        ] or [self._dead(record, where, error)]
        counts[f"dead.{reason}"] = counts.get(f"dead.{reason}", 0) + len(letters)
        return letters
