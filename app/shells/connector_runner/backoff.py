"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Doubles up to a limit, with jitter, so that many do not come back at the same moment.

    The wait is drawn evenly from the upper half of the present step; seconds.
    """

    def __init__(
        self, first: float, limit: float, draw: Callable[[], float] = random.random
    ) -> None:
        self._first, self._limit, self._draw = first, limit, draw
        self._step = first

    def next(self) -> float:
        """The next wait, seconds."""
        step, self._step = self._step, min(2 * self._step, self._limit)
        return step * (0.5 + 0.5 * self._draw())

    def reset(self) -> None:
        """It worked for a while: begin anew."""
        self._step = self._first
