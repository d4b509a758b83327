"""What a connector's process counts of itself: plain numbers, read by the exporter and health."""

from __future__ import annotations

from app.observe.histogram import Histogram
from connectors.base import Counters


class ConnectorStats:
    """Of one connector since the process started. Written in its loop, read anywhere."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind = name, kind
        #: What the connector itself counts: received, reconnects, lost and errors by reason.
        self.counters = Counters()
        #: What was lost after it was read, messages by reason: only what Kafka can never take.
        self.lost: dict[str, int] = {}
        #: Records that the raw topic cannot hold and that landed as dead letters, by reason.
        self.dead_letters: dict[str, int] = {}
        #: What went wrong, by where (source, kafka, status, connector) and reason.
        self.errors: dict[tuple[str, str], int] = {}
        self.landed_records = 0
        self.landed_messages = 0
        self.landed_bytes = 0
        #: Heartbeats put on the way, by state.
        self.heartbeats: dict[str, int] = {}
        #: Producers replaced after Kafka had failed them.
        self.producer_restarts = 0
        #: Records and bytes read and not yet landed.
        self.buffered_records = 0
        self.buffered_bytes = 0
        #: Times that reading paused because the buffer was full.
        self.pauses = 0
        #: From handing a record to Kafka's client to its acknowledgement.
        self.produce_seconds = Histogram(
            (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
        )
        #: From receiving the oldest message of a record to Kafka's acknowledgement.
        self.landing_seconds = Histogram(
            (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 5.0, 30.0, 300.0)
        )
        #: starting, connected, disconnected, refused, stopped
        self.state = "starting"
        #: Why it is not connected, or cannot land; empty where all is well.
        self.reason = ""
        self.kafka_reason = ""
        self.problems: tuple[str, ...] = ()
        #: Receive time of the last message, ns; 0 before the first.
        self.last_received = 0
        #: For how long a connection has been without any message, ns, where that is too long.
        self.quiet = 0
        #: Assets heard within three heartbeat intervals, and all of them.
        self.assets_heard = 0
        self.assets_known = 0

    @property
    def ready(self) -> bool:
        """Connected, data flows, and Kafka takes it."""
        return not self.why_not_ready

    @property
    def why_not_ready(self) -> str:
        """One sentence; empty while ready."""
        if self.state != "connected":
            return f"{self.state}: {self.reason}" if self.reason else self.state
        if self.kafka_reason:
            return f"Kafka does not take records: {self.kafka_reason}"
        if self.quiet:
            return f"connected, but no data for {self.quiet / 1e9:.0f} s"
        return ""

    def lose(self, reason: str, messages: int) -> None:
        """Count messages that were read and can never land."""
        self.lost[reason] = self.lost.get(reason, 0) + messages

    def dead_letter(self, reason: str) -> None:
        """Count a record that is a dead letter now."""
        self.dead_letters[reason] = self.dead_letters.get(reason, 0) + 1

    def error(self, where: str, reason: str) -> None:
        """Count something that went wrong; the reason in a word."""
        self.errors[where, reason] = self.errors.get((where, reason), 0) + 1

    def beat(self, state: str) -> None:
        """Count a heartbeat."""
        self.heartbeats[state] = self.heartbeats.get(state, 0) + 1
