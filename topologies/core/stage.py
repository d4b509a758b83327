"""The function of one stage:

    stage(record, state of its key, knowledge) -> Result(emissions, counts)

A record takes effect whole or not at all: its state writes are held back, and it emits, only if
every step took it and every output and state value fits into Kafka. Otherwise its bytes go to
``dead-letters`` with the reason. The function has no clock; ``timer`` only measures it.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

import numpy as np

from models.catalogue import Knowledge
from models.errors import MalformedRecord, RecordError, StepFailed
from models.records import block as blocks
from models.records import headers, heartbeat
from models.topics import Topics
from topologies.core.emit import Emitter
from topologies.core.flow import Flow
from topologies.core.record import Emission, Record, Result
from topologies.core.stages import Stage
from topologies.core.state import Memory, Overlay, State
from topologies.core.step import Bound, BoundDecoder, Context, Step
from topologies.core.time import KeyTime, enter
from topologies.core.topology import Input, Topology
from topologies.core.ttl import expiring

Timer = Callable[[], float]

#: Steps are timed on every so many-th record of a partition.
TIMED_EVERY = 16


class Failed(Exception):
    """A step, or what follows it, failed on a flow; the cause is beside it."""

    def __init__(self, where: str, skip: bool) -> None:
        super().__init__(where)
        self.where, self.skip = where, skip


class CompiledStage(abc.ABC):
    """The function of one stage. Call it; it never raises for a bad record."""

    def __init__(self, topology: Topology, stage: Stage, timer: Timer | None) -> None:
        self.topology = topology
        self.stage = stage
        self.name = stage.name
        #: Seconds spent by each step in the records that were timed, and how many those were.
        self.step_seconds: dict[str, float] = {}
        self.timed = 0
        #: Records that failed, by the step (or ``decode``, ``output``, ``state``) they failed in.
        self.failed: dict[str, int] = {}
        self._timer = timer
        self._emitter = Emitter(topology, stage.outputs, stage.made)
        self._bound: tuple[Knowledge, list[tuple[Step, Bound]]] | None = None

    @abc.abstractmethod
    def topic(self, topics: Topics) -> str:
        """The topic it reads."""

    def __call__(self, record: Record, state: State, knowledge: Knowledge) -> Result:
        """The whole effect of one record.

        Raises StepFailed where a step with ``on_error = "fail"`` failed, ConfigError where the
        steps do not fit the knowledge, and nothing that comes of the record itself.
        """
        # Steps meet NaN and infinities as a matter of course; entered here once, not by each.
        overlay = Overlay(state)
        try:
            with np.errstate(all="ignore"):
                return self._process(record, overlay, knowledge)
        finally:
            overlay.close()

    @abc.abstractmethod
    def _process(self, record: Record, overlay: Overlay, knowledge: Knowledge) -> Result: ...

    def _steps(self, knowledge: Knowledge) -> list[tuple[Step, Bound]]:
        """The steps and the merges that follow, bound to what is known."""
        if self._bound is None or self._bound[0] is not knowledge:
            context = self._context(knowledge)
            steps = (*self.stage.steps, *self.stage.onward)
            self._bound = (knowledge, [(step, _bound(step, context)) for step in steps])
        return self._bound[1]

    def _context(self, knowledge: Knowledge) -> Context:
        topology = self.topology
        return Context(
            topology.name,
            topology.version,
            knowledge,
            topology.max_future_skew,
            topology.max_record_bytes,
        )

    def _timed(self, record: Record) -> Timer | None:
        if self._timer is None or record.offset % TIMED_EVERY:
            return None
        self.timed += 1
        return self._timer

    def _run(
        self,
        flow: Flow,
        overlay: Overlay,
        steps: list[tuple[Step, Bound]],
        record: Record,
        timer: Timer | None,
    ) -> None:
        """Put a flow through the steps. Raises StepFailed or Failed."""
        for step, bound in steps:
            where = step.name
            begun = timer() if timer is not None else 0.0
            try:
                bound(flow, Memory(overlay, where))
            except MemoryError:
                raise
            except Exception as error:
                if step.on_error == "fail":
                    raise StepFailed(
                        f"step {where!r} of {self.topology.name} failed on {record.topic}"
                        f"[{record.partition}]@{record.offset}: {error}"
                    ) from error
                raise Failed(where, step.on_error == "skip") from error
            if timer is not None:
                spent = timer() - begun
                self.step_seconds[where] = self.step_seconds.get(where, 0.0) + spent

    def _dead(self, record: Record, where: str, error: BaseException | None) -> Emission:
        self.failed[where] = self.failed.get(where, 0) + 1
        cause = error if isinstance(error, Exception) else Exception("unknown")
        return self._emitter.dead(record, where, _reason(cause), cause)


class InputStage(CompiledStage):
    """The first steps, for one input of a topology."""

    def __init__(
        self, topology: Topology, stage: Stage, source: Input, timer: Timer | None
    ) -> None:
        super().__init__(topology, stage, timer)
        self.input = source
        self._decoder: tuple[Knowledge, BoundDecoder] | None = None
        patterns = "|".join(f"(?:{translate(pattern)})" for pattern in source.assets)
        self._takes = lru_cache(maxsize=65536)(re.compile(patterns).match)

    def topic(self, topics: Topics) -> str:
        return self.input.topic(topics)

    def _process(self, record: Record, overlay: Overlay, knowledge: Knowledge) -> Result:
        # What fails here is no fault of the record.
        decode, steps = self._decode(knowledge), self._steps(knowledge)
        where = "decode"
        try:
            asset = asset_of(record.key)
            if not self._takes(asset):
                return Result([], {"skipped.asset": 1})
            if for_others(record, self.topology.name):
                return Result([], {"skipped.redriven": 1})
            clock = Memory(overlay, "time")
            flow = self._enter(record, asset, decode, KeyTime.load(clock))
            self._run(flow, overlay, steps, record, self._timed(record))
            where = "output"
            emissions = self._emitter.emit(flow, record.key or b"", record.event_id)
            where = "state"
            flow.time.save(clock)
        except (StepFailed, MemoryError):
            raise
        except Failed as failed:
            if failed.skip:
                return Result([], {f"skipped.{failed.where}": 1})
            cause = failed.__cause__
            letter = self._dead(record, failed.where, cause)
            return Result([letter], {f"dead.{_reason(cause)}": 1})
        except Exception as error:
            return Result([self._dead(record, where, error)], {f"dead.{_reason(error)}": 1})
        overlay.apply()
        return Result(emissions, flow.counts)

    def _decode(self, knowledge: Knowledge) -> BoundDecoder:
        if self._decoder is None or self._decoder[0] is not knowledge:
            self._decoder = (knowledge, self.input.decode.bind(self._context(knowledge)))
        return self._decoder[1]

    def _enter(self, record: Record, asset: str, decode: BoundDecoder, time: KeyTime) -> Flow:
        skew, horizon = self.topology.max_future_skew, self.topology.backfill_horizon
        beat = None
        if headers.schema_of(record.headers).id == headers.HEARTBEAT.id:
            headers.expect(record.headers, headers.HEARTBEAT)
            beat = heartbeat.decode(record.value)
            if beat.asset != asset:
                raise MalformedRecord(f"heartbeat of {beat.asset!r} under the key {asset!r}")
            after, block = time.beat(beat, skew, horizon), blocks.empty(asset, beat.received)
        else:
            block, after = enter(decode(record, asset), time, skew, horizon)
        flow = Flow(
            topology=self.topology.name,
            asset=asset,
            event_id=record.event_id.decode("utf-8", "replace"),
            before=time,
            time=after,
            received=block.received,
            block=block,
            heartbeat=beat,
            origin=self.name,
            table=self.input.table,
        )
        if beat is None:
            flow.counts["samples"] = len(block)
        else:
            flow.counts["heartbeats"] = 1
        return flow


def asset_of(key: bytes | None) -> str:
    """The name in a record's key; raises MalformedRecord where it is none."""
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


def for_others(record: Record, topology: str) -> bool:
    """Whether a dead letter of somebody else was sent back, which this topology took before."""
    reader = record.headers.get(headers.REDRIVE_FOR)
    return reader is not None and reader != topology.encode()


def _reason(error: BaseException | None) -> str:
    return error.reason if isinstance(error, RecordError) else "step"


def _bound(step: Step, context: Context) -> Bound:
    bound = step.bind(context)
    return bound if step.state_ttl is None else expiring(step.name, bound, step.state_ttl)
