"""The bits of ``Block.why``: which tests a sample did not pass."""

from __future__ import annotations

NAMES = (
    "missing",
    "unknown_tag",
    "future",
    "gross_range",
    "rate_of_change",
    "flat_line",
    "spike",
    "time_gap",
    "duplicate",
)

#: The bit of each test.
TESTS: dict[str, int] = {name: 1 << place for place, name in enumerate(NAMES)}


def explain(why: int) -> list[str]:
    """The names of the tests whose bits are set."""
    return [name for name, bit in TESTS.items() if why & bit]
