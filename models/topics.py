"""The names of all topics, in one place. A prefix keeps tests and sites on one broker apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What Kafka allows in a topic name.
LEGAL = re.compile(r"^[a-zA-Z0-9._-]{1,249}$")

#: The outputs a topology may have, in the order in which they are shown.
OUTPUT_KINDS = ("readings", "features", "late", "anomalies", "alarms")


def collection(topology: str, output: str) -> str:
    """Where the document store keeps an output: ``glass_readings``."""
    return f"{topology}_{output}"


@dataclass(frozen=True, slots=True)
class Topics:
    """Topic names under one prefix (empty for production)."""

    prefix: str = ""

    def raw(self, protocol: str) -> str:
        """Where connectors of one protocol land their records: ``raw.opcua``."""
        return self.name(f"raw.{protocol}")

    def output(self, topology: str, output: str) -> str:
        """Where a topology writes one of its outputs: ``glass.features``."""
        return self.name(f"{topology}.{output}")

    @property
    def dead_letters(self) -> str:
        """Records that could not be processed, of all topologies and sinks."""
        return self.name("dead-letters")

    @property
    def redriven(self) -> str:
        """Compacted: which dead letters were sent back to where they came from."""
        return self.name("dead-letters.redriven")

    @property
    def connectors(self) -> str:
        """Compacted: what each connector says of itself; the watchdog reads it."""
        return self.name("connectors")

    @property
    def deployments(self) -> str:
        """Compacted: what the workers of each topology were last started with, and pauses."""
        return self.name("deployments")

    def name(self, name: str) -> str:
        """The full name of a topic; raises ValueError where Kafka would refuse it."""
        full = self.prefix + name
        if not LEGAL.match(full):
            raise ValueError(
                f"{full!r} is no topic name: Kafka allows letters, digits, '.', '_' and '-',"
                " at most 249 characters"
            )
        return full
