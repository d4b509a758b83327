"""What the tests of one block found, sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import quality
from models.quality import FAIL, GOOD, MISSING, SUSPECT, UNKNOWN
from models.records.block import Block
from topologies.steps.validate.why import TESTS

Index = NDArray[Any] | slice


class Verdict:
    """The worst flag of each sample (0: none found yet) and the bits of the tests it failed."""

    __slots__ = ("why", "worst")

    def __init__(self, size: int) -> None:
        self.worst = np.zeros(size, np.uint8)
        self.why = np.zeros(size, np.uint32)

    def add(self, test: str, flags: NDArray[np.uint8], at: Index | None = None) -> None:
        """The flags of one test, of all samples or those ``at``; GOOD and UNKNOWN say nothing."""
        at = slice(None) if at is None else at
        bad = (flags == SUSPECT) | (flags == FAIL)
        self.worst[at] = np.maximum(self.worst[at], np.where(bad, flags, np.uint8(0)))
        self.why[at] |= np.where(bad, np.uint32(TESTS[test]), np.uint32(0))

    def mark(self, test: str, flag: int, at: Index) -> None:
        """One flag for the samples ``at``."""
        self.worst[at] = np.maximum(self.worst[at], np.uint8(flag))
        self.why[at] |= np.uint32(TESTS[test])

    def flags(
        self, q: NDArray[np.uint8], absent: NDArray[np.bool_], tested: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """The roll-up of the source's flags ``q`` with those found.

        A sample without a value stays MISSING, unless the source or a test says FAIL.
        """
        base = np.where((q == UNKNOWN) & tested, np.uint8(GOOD), q)
        found = np.where(self.worst == 0, np.uint8(MISSING), self.worst)
        flags = quality.roll_up(base, found)
        silent = (absent | (q == MISSING)) & (flags != FAIL)
        result: NDArray[np.uint8] = np.where(silent, np.uint8(MISSING), flags)
        return result

    def bits(self, block: Block) -> NDArray[np.uint32]:
        """The bits found, with those the block brought."""
        return self.why | block.why if block.why.size else self.why
