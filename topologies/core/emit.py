"""What a flow becomes on the output topics, and what a record that failed becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from models.errors import RecordError, RecordTooLarge
from models.records import between, deadletter, events, features, headers, late
from models.records import block as blocks
from topologies.core.flow import Flow
from topologies.core.record import DEAD_LETTERS, Emission, Record
from topologies.core.topology import Output, Topology

#: More closed windows than these are several records: a silent plant's last heartbeat may close
#: thousands at once, and must not become too large for Kafka.
ROWS_A_RECORD = 1000
#: A dead letter that would be larger says where its bytes are instead of carrying them.
DEAD_LETTER_BYTES = 3_000_000

_SCHEMAS = {
    "readings": headers.BLOCK,
    "features": headers.FEATURES,
    "late": headers.LATE,
    "anomalies": headers.ANOMALY,
    "alarms": headers.ALARM,
}


class Emitter:
    """The records that one stage writes."""

    def __init__(self, topology: Topology, outputs: Iterable[Output], made: frozenset[str]) -> None:
        self._topology, self._made = topology, made
        self._counted = {name: f"made.{name}" for name in made}
        self._limit = topology.max_record_bytes
        self._outputs = [
            (output, output.name, _SCHEMAS[output.kind].header) for output in outputs
        ]

    def emit(
        self, flow: Flow, key: bytes, event_id: bytes, timestamp_ms: int | None = None
    ) -> list[Emission]:
        """All records of a flow; counts what its steps made. Raises RecordTooLarge."""
        self._count(flow)
        emissions: list[Emission] = []
        for output, name, schema in self._outputs:
            emissions += [
                self._fit(name, key, value, schema, event_id, timestamp_ms)
                for value in self._values(output, flow, self._room(name, key, schema, event_id))
            ]
        for channel, to, rows in flow.between:
            value, schema = between.encode(rows), between.SCHEMA.header
            emissions.append(
                self._fit(channel, to.encode(), value, schema, event_id, timestamp_ms)
            )
        return emissions

    def _count(self, flow: Flow) -> None:
        counted = self._counted
        for lane, rows in flow.features.items():
            if lane in counted:
                flow.count(counted[lane], len(rows))
        for lane, scores in flow.scores.items():
            if lane in counted:
                flow.count(counted[lane], len(scores.series))
        for alarm in flow.alarms:
            flow.count(f"made.{alarm.alarm}", 1)
        for anomaly in flow.anomalies:
            flow.count(f"anomalies.{anomaly.detector}", 1)
        for left_out in flow.late:
            flow.count(f"late.{left_out.window}", len(left_out))

    def _fit(
        self,
        name: str,
        key: bytes,
        value: bytes,
        schema: bytes,
        event_id: bytes,
        timestamp_ms: int | None,
    ) -> Emission:
        emission = Emission(name, key, value, _head(schema, event_id), timestamp_ms)
        # Headers and key are small: only a large value needs the exact sum.
        if len(value) > self._limit // 2 and emission.size > self._limit:
            raise RecordTooLarge(
                f"output {name!r} would be {emission.size} bytes, at most {self._limit}"
            )
        return emission

    def _room(self, name: str, key: bytes, schema: bytes, event_id: bytes) -> int:
        """Bytes that a value may have beside its key and headers."""
        return self._limit - Emission(name, key, b"", _head(schema, event_id)).size

    def dead(
        self, record: Record, step: str, reason: str, error: Exception
    ) -> Emission:
        """The dead letter of a record."""
        text = str(error) if isinstance(error, RecordError) else f"{type(error).__name__}: {error}"
        value = record.value
        if value is not None and len(value) * 4 // 3 > DEAD_LETTER_BYTES:
            text += f" (its {len(value)} bytes were left where they are)"
            value = None
        letter = deadletter.DeadLetter(
            topology=self._topology.name,
            version=self._topology.version,
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

    def _values(self, output: Output, flow: Flow, room: int) -> list[bytes]:
        """The encoded records of one output, of ``room`` bytes where they can be cut."""
        of = output.of
        if output.kind == "readings":
            return [blocks.encode(flow.block)] if len(flow.block) else []
        if output.kind == "features":
            return [
                value
                for lane, rows in (*flow.updates, *flow.features.items())
                if len(rows) and lane in self._made and (not of or lane in of)
                for value in features.fitting(rows, ROWS_A_RECORD, room)
            ]
        if output.kind == "late":
            return [late.encode(rows) for rows in flow.late if not of or rows.window in of]
        if output.kind == "anomalies":
            return [events.encode(a) for a in flow.anomalies if not of or a.detector in of]
        return [events.encode(a) for a in flow.alarms if not of or a.alarm in of]


def _head(schema: bytes, event_id: bytes) -> dict[str, bytes]:
    return {
        headers.SCHEMA: schema,
        headers.CONTENT_TYPE: headers.JSON,
        headers.EVENT_ID: event_id,
    }


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _text_names(given: Mapping[str, bytes]) -> dict[str, bytes]:
    return {_printable(str(name)): value for name, value in given.items()}
