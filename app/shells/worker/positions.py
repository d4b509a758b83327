"""Whether the records a group reads next are those that its state has not seen.

State, outputs and offsets are committed together. They part where Kafka forgets one of them:
retention deletes records before they were read, a topic is made anew, or the offsets of a group
that was idle for long expire (``offsets.retention.minutes``, a week). To go on would give wrong
results without a word, so the worker stops and says what to do.
"""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from quixstreams.kafka import BaseConsumer

from app.kafka import KafkaSettings, consumer_options
from app.shells.worker.errors import LostInput
from app.shells.worker.plan import Plan
from models.errors import TransportError

#: A dead worker's transaction holds its offsets back until it times out.
_REQUEST_S = 30.0


class Positions:
    """Checks of one worker's positions. All methods raise LostInput."""

    def __init__(self, consumer: BaseConsumer, plan: Plan, kafka: KafkaSettings) -> None:
        self._consumer, self._plan, self._kafka = consumer, plan, kafka

    def check(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """At assignment: the group's offset lies in what the topic holds, or there is no state.

        The offsets that the group has committed.
        """
        if not partitions:
            return []
        found = []
        for p in self._consumer.committed(partitions, timeout=_REQUEST_S):
            if p.offset < 0:
                self._check_new(p)
                continue
            low, high = self._range(p.topic, p.partition)
            if p.offset > high:
                self._lost(p, f"stands at offset {p.offset} of {{}}, which now ends at {high}")
            self._check_low(p.topic, p.partition, p.offset, low)
            found.append(p)
        return found

    def jumped(self, topic: str, partition: int, due: int, came: int) -> None:
        """Offsets ``due`` to ``came`` are missing: ends of transactions, or deleted records."""
        self._check_low(topic, partition, due, self._range(topic, partition)[0])

    def _check_new(self, p: TopicPartition) -> None:
        changelog = self._plan.changelog(p.topic)
        low, high = self._range(changelog, p.partition)
        if high > low and self._holds_records(changelog, p.partition):
            self._lost(
                p,
                "has no offset in {}, yet state of an earlier run: the topic was made anew, or the"
                " group's offsets expired",
            )

    def _check_low(self, topic: str, partition: int, stands: int, low: int) -> None:
        if low > stands:
            self._lost(
                TopicPartition(topic, partition),
                f"stands at offset {stands} of {{}}, which now begins at {low}: retention deleted"
                f" {low - stands} unread offsets (see kafka.retention_bytes)",
            )

    def _lost(self, p: TopicPartition, how: str) -> None:
        where = f"{p.topic}[{p.partition}]"
        group = self._plan.group
        raise LostInput(
            f"group {group} {how.format(where)}. To start over without the old state, stop all"
            f" workers of {self._plan.topology.name} and run"
            f" 'plantstream reset {self._plan.topology.name}'"
        )

    def _range(self, topic: str, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=_REQUEST_S
        )
        return low, high

    def _holds_records(self, topic: str, partition: int) -> bool:
        """Whether anything on it was committed; aborted transactions leave offsets behind too."""
        options = consumer_options(self._kafka, "worker-check", self._plan.group)
        reader = Consumer({**options, "enable.partition.eof": True})
        try:
            low, _ = self._range(topic, partition)
            reader.assign([TopicPartition(topic, partition, low)])
            message = reader.poll(_REQUEST_S)
            if message is None:
                raise TransportError(f"cannot read {topic}[{partition}]")
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise TransportError(f"cannot read {topic}[{partition}]: {error.str()}")
            return error is None
        except KafkaException as error:
            raise TransportError(f"cannot read {topic}[{partition}]: {error}") from error
        finally:
            reader.close()
