"""When to poll: on a grid that does not drift, and that knows what it missed."""

from __future__ import annotations


class Grid:
    """The due times of one unit's polls: ``first + n * interval``, ns."""

    def __init__(self, interval: int, first: int) -> None:
        self.interval = interval
        self.due = first

    def take(self, now: int) -> int:
        """The poll that is due is done at ``now``; how many before it were never done."""
        missed = max(0, (now - self.due) // self.interval)
        self.due += (missed + 1) * self.interval
        return missed
