"""Which tags a step takes: shell patterns, looked up once per list of tags."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

#: Lists of tags remembered per step; more than assets of one worker usually have.
_REMEMBERED = 1024


class Matcher:
    """Whether tags match one of several patterns. Remembers its answers, boundedly."""

    __slots__ = ("_all", "_known", "_patterns")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns
        self._all = "*" in patterns
        self._known: dict[tuple[str, ...], tuple[NDArray[np.bool_], bool]] = {}

    def __call__(self, tags: tuple[str, ...]) -> NDArray[np.bool_]:
        """A mask of shape (len(tags),)."""
        return self._of(tags)[0]

    def all(self, tags: tuple[str, ...]) -> bool:
        """Whether every one matches."""
        return self._all or self._of(tags)[1]

    def _of(self, tags: tuple[str, ...]) -> tuple[NDArray[np.bool_], bool]:
        known = self._known.get(tags)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            match = [any(fnmatchcase(tag, one) for one in self._patterns) for tag in tags]
            known = self._known[tags] = (np.array(match, dtype=bool), all(match))
        return known
