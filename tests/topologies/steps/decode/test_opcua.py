"""OPC UA: quality, exact values and source times survive."""

from __future__ import annotations

import math

from models.quality import FAIL, GOOD, MISSING, SUSPECT
from tests.topologies.steps.decode.reading import T0, opcua, rows

BAD_NO_COMMUNICATION = 0x80310000
UNCERTAIN_LAST_USABLE = 0x40900000


def test_the_status_becomes_a_flag_and_stays_beside_it() -> None:
    block = opcua(
        ("x", T0, 1.5, 0),
        ("x", T0 + 1, 2.5, UNCERTAIN_LAST_USABLE),
        ("y", T0 + 2, None, BAD_NO_COMMUNICATION),
    )
    assert rows(block) == [
        ("x", T0, 1.5, GOOD), ("x", T0 + 1, 2.5, SUSPECT), ("y", T0 + 2, None, FAIL),
    ]  # fmt: skip
    assert block.code.tolist() == [0, UNCERTAIN_LAST_USABLE, BAD_NO_COMMUNICATION]


def test_a_bad_status_that_repeats_the_last_good_value_is_not_good() -> None:
    block = opcua(("x", T0, 1.5, 0), ("x", T0 + 1, 1.5, BAD_NO_COMMUNICATION))
    assert block.q.tolist() == [GOOD, FAIL]


def test_good_without_a_value_is_missing() -> None:
    block = opcua(("x", T0, None, 0), ("x", T0 + 1, math.nan, 0), ("x", T0 + 2, 1.0, 0))
    assert block.q.tolist() == [MISSING, MISSING, GOOD]


def test_values_of_every_kind_are_exact() -> None:
    given = [2**63, -(2**53) - 1, True, "running", [1, 2], {"a": 1}, math.inf]
    block = opcua(*((f"t{n}", T0 + n, value, 0) for n, value in enumerate(given)))
    assert block.exact() == given
    assert block.q.tolist() == [GOOD] * len(given)
    assert block.v[2] == 1.0
