"""The life of one alarm condition, in event time.

    ── on ──► pending ── held for on_delay ──► raised ◄── on ── clearing ── off for off_delay ──►
                 └── off: forgotten               └──── off ─────►┘                     cleared

Deadlines are looked at when a sample says something new, and at the end of every record, each time
against the newest time known just then. So it does not matter which record tells that time passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Condition:
    """A condition that is on, or was until a moment ago. Times in ns."""

    onset: int
    value: float | None
    score: float | None
    threshold: float | None
    why: str
    #: Revision of the next record of it.
    revision: int
    #: When the alarm was raised; None while pending.
    raised: int | None = None
    #: Since when the condition has been off; None while on.
    off: int | None = None

    @classmethod
    def load(cls, kept: dict[str, Any]) -> Condition:
        """As :meth:`kept` gave it."""
        return cls(**kept)

    def kept(self) -> dict[str, Any]:
        """What goes into state."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def on(self) -> bool:
        """Whether the last sample that said anything said on."""
        return self.off is None

    def rises(self, now: int, on_delay: int) -> bool:
        """Raise the alarm if the condition has held for ``on_delay`` by ``now``."""
        if self.raised is not None or now - self.onset < on_delay:
            return False
        self.raised = self.onset + on_delay
        return True

    def falls(self, now: int, off_delay: int) -> int | None:
        """When the alarm cleared, if the condition has been off for ``off_delay`` by ``now``."""
        if self.off is None or self.raised is None or now - self.off < off_delay:
            return None
        return self.off + off_delay
