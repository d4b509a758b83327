"""From a declaration to one pure function per stage.

    stage(record, state of its key, knowledge) -> Result(emissions, counts)

A record takes effect whole or not at all: its state writes are held back, and it emits, only if
every step took it and every output and state value fits into Kafka. Otherwise its bytes go to
``dead-letters`` with the reason. The function has no clock; ``timer`` only measures it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from functools import lru_cache

import numpy as np

from models.catalogue import Knowledge
from models.errors import MalformedRecord, RecordError, RecordTooLarge, StepFailed
from models.records import block as blocks
from models.records import deadletter, events, features, headers, heartbeat
from models.topics import Topics
from topologies.core.flow import Flow
from topologies.core.record import DEAD_LETTERS, Emission, Record, Result
from topologies.core.state import Memory, Overlay, State
from topologies.core.step import Bound, BoundDecoder, Context, Step
from topologies.core.time import KeyTime, enter
from topologies.core.topology import Input, Output, Topology

Timer = Callable[[], float]

#: Steps are timed on every so many-th record of a partition.
TIMED_EVERY = 16
#: More closed windows than these are several records: a silent plant's last heartbeat may close
#: thousands at once, and must not become too large for Kafka.
ROWS_A_RECORD = 1000
#: A dead letter that would be larger says where its bytes are instead of carrying them.
DEAD_LETTER_BYTES = 3_000_000

_SCHEMAS = {
    "readings": headers.BLOCK,
    "features": headers.FEATURES,
    "anomalies": headers.ANOMALY,
    "alarms": headers.ALARM,
}


class CompiledStage:
    """The function of one input of a topology. Call it; it never raises for a bad record."""

    def __init__(self, topology: Topology, source: Input, timer: Timer | None) -> None:
        self.topology = topology
        self.input = source
        self.name = source.name
        #: Seconds spent by each step in the records that were timed, and how many those were.
        self.step_seconds: dict[str, float] = {}
        self.timed = 0
        self._timer = timer
        self._bound: tuple[Knowledge, BoundDecoder, list[tuple[Step, Bound]]] | None = None
        patterns = "|".join(f"(?:{translate(pattern)})" for pattern in source.assets)
        self._takes = lru_cache(maxsize=65536)(re.compile(patterns).match)
        self._outputs = [
            (output, output.name, _SCHEMAS[output.kind].header) for output in topology.outputs
        ]

    def topic(self, topics: Topics) -> str:
        """The topic it reads."""
        return self.input.topic(topics)

    def __call__(self, record: Record, state: State, knowledge: Knowledge) -> Result:
        """The whole effect of one record.

        Raises StepFailed where a step with ``on_error = "fail"`` failed, ConfigError where the
        steps do not fit the knowledge, and nothing that comes of the record itself.
        """
        # Steps meet NaN and infinities as a matter of course; entered here once, not by each.
        with np.errstate(all="ignore"):
            return self._process(record, state, knowledge)

    def _process(self, record: Record, state: State, knowledge: Knowledge) -> Result:
        decode, steps = self._bind(knowledge)  # what fails here is no fault of the record
        where = "decode"
        try:
            asset = _asset(record.key)
            if not self._takes(asset):
                return Result([], {"skipped.asset": 1})
            overlay = Overlay(state)
            clock = Memory(overlay, "time")
            flow = self._enter(record, asset, decode, KeyTime.load(clock))
            timer = self._timer if record.offset % TIMED_EVERY == 0 else None
            if timer is not None:
                self.timed += 1
            for step, bound in steps:
                where = step.name
                begun = timer() if timer is not None else 0.0
                try:
                    bound(flow, Memory(overlay, where))
                except Exception as error:
                    if step.on_error == "fail":
                        raise StepFailed(
                            f"step {where!r} of {self.topology.name} failed on {record.topic}"
                            f"[{record.partition}]@{record.offset}: {error}"
                        ) from error
                    if step.on_error == "skip":
                        return Result([], {f"skipped.{where}": 1})
                    raise
                if timer is not None:
                    spent = timer() - begun
                    self.step_seconds[where] = self.step_seconds.get(where, 0.0) + spent
            where = "output"
            emissions = self._emit(flow, record)
            where = "state"
            flow.time.save(clock)
        except (StepFailed, MemoryError):
            raise
        except Exception as error:
            reason = error.reason if isinstance(error, RecordError) else "step"
            return Result([self._dead(record, where, reason, error)], {f"dead.{reason}": 1})
        overlay.apply()
        return Result(emissions, flow.counts)

    def _bind(self, knowledge: Knowledge) -> tuple[BoundDecoder, list[tuple[Step, Bound]]]:
        if self._bound is None or self._bound[0] is not knowledge:
            topology = self.topology
            context = Context(
                topology.name, topology.version, knowledge, topology.max_future_skew
            )
            steps = [(step, step.bind(context)) for step in topology.steps]
            self._bound = (knowledge, self.input.decode.bind(context), steps)
        return self._bound[1], self._bound[2]

    def _enter(self, record: Record, asset: str, decode: BoundDecoder, time: KeyTime) -> Flow:
        skew = self.topology.max_future_skew
        beat = None
        if headers.schema_of(record.headers).id == headers.HEARTBEAT.id:
            headers.expect(record.headers, headers.HEARTBEAT)
            beat = heartbeat.decode(record.value)
            if beat.asset != asset:
                raise MalformedRecord(f"heartbeat of {beat.asset!r} under the key {asset!r}")
            after, block = time.beat(beat, skew), blocks.empty(asset, beat.received)
        else:
            block, after = enter(decode(record, asset), time, skew)
        flow = Flow(
            topology=self.topology.name,
            asset=asset,
            event_id=record.event_id.decode("utf-8", "replace"),
            before=time,
            time=after,
            received=block.received,
            block=block,
            heartbeat=beat,
        )
        if beat is None:
            flow.counts["samples"] = len(block)
        else:
            flow.counts["heartbeats"] = 1
        return flow

    def _emit(self, flow: Flow, record: Record) -> list[Emission]:
        emissions: list[Emission] = []
        key = record.key or b""
        limit = self.topology.max_record_bytes
        for output, name, schema in self._outputs:
            for value in _values(output, flow):
                head = {
                    headers.SCHEMA: schema,
                    headers.CONTENT_TYPE: headers.JSON,
                    headers.EVENT_ID: record.event_id,
                }
                emission = Emission(name, key, value, head)
                # Headers and key are small: only a large value needs the exact sum.
                if len(value) > limit // 2 and emission.size > limit:
                    raise RecordTooLarge(
                        f"output {name!r} would be {emission.size} bytes, at most {limit}"
                    )
                emissions.append(emission)
        return emissions

    def _dead(self, record: Record, step: str, reason: str, error: Exception) -> Emission:
        text = str(error) if isinstance(error, RecordError) else f"{type(error).__name__}: {error}"
        value = record.value
        if value is not None and len(value) * 4 // 3 > DEAD_LETTER_BYTES:
            text += f" (its {len(value)} bytes were left where they are)"
            value = None
        letter = deadletter.DeadLetter(
            topology=self.topology.name,
            version=self.topology.version,
            step=step,
            reason=reason,
            error=_printable(text)[:2000],
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            key=record.key,
            value=value,
            headers=_text_names(record.headers),
        )
        head = {
            headers.SCHEMA: headers.DEAD_LETTER.header,
            headers.CONTENT_TYPE: headers.JSON,
            headers.EVENT_ID: f"{record.topic}:{record.partition}:{record.offset}".encode(),
        }
        return Emission(DEAD_LETTERS, record.key or b"", deadletter.encode(letter), head)


class CompiledTopology:
    """All stages of a topology."""

    def __init__(self, declaration: Topology, timer: Timer | None = None) -> None:
        self.declaration = declaration
        self.name = declaration.name
        self.version = declaration.version
        self.stages = tuple(
            CompiledStage(declaration, source, timer) for source in declaration.inputs
        )
        #: Names of the topics it writes, without prefix or topology.
        self.outputs = tuple(output.name for output in declaration.outputs)

    def output_topic(self, output: str, topics: Topics) -> str:
        """The full topic name of an emission's output."""
        return topics.dead_letters if output == DEAD_LETTERS else topics.output(self.name, output)


def compile_topology(topology: Topology, *, timer: Timer | None = None) -> CompiledTopology:
    """One function per stage; ``timer`` (such as ``time.perf_counter``) measures the steps."""
    return CompiledTopology(topology, timer)


def _asset(key: bytes | None) -> str:
    if not key:
        raise MalformedRecord("no key: the asset is not named")
    return _decode_key(key)


@lru_cache(maxsize=65536)
def _decode_key(key: bytes) -> str:
    try:
        asset = key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedRecord(f"the key is not UTF-8: {key[:64]!r}") from error
    if not asset.isprintable() or len(asset) > 512:
        raise MalformedRecord(f"the key is not printable text of 1..512 characters: {key[:48]!r}")
    return asset


def _values(output: Output, flow: Flow) -> list[bytes]:
    """The encoded records of one output."""
    of = output.of
    if output.kind == "readings":
        return [blocks.encode(flow.block)] if len(flow.block) else []
    if output.kind == "features":
        return [
            features.encode(part)
            for lane, rows in flow.features.items()
            if len(rows) and (not of or lane in of)
            for part in features.parts(rows, ROWS_A_RECORD)
        ]
    if output.kind == "anomalies":
        return [events.encode(a) for a in flow.anomalies if not of or a.detector in of]
    return [events.encode(a) for a in flow.alarms if not of or a.alarm in of]


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _text_names(given: Mapping[str, bytes]) -> dict[str, bytes]:
    return {_printable(str(name)): value for name, value in given.items()}
