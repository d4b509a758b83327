"""Each case folder gives what it says: exactly, but for the last digits of computed numbers, which
differ between processors."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.cases import Case, find_cases, find_topologies, run, shown


@pytest.mark.parametrize("case", find_cases(), ids=lambda case: case.name)
def test_case(case: Case) -> None:
    got = [shown(emission) for emission in run(case)]
    expected = case.expected()
    for number, (have, want) in enumerate(zip(got, expected, strict=False)):
        assert _close(have, want), f"emission {number}:\n{have}\nexpected\n{want}"
    assert len(got) == len(expected)


def _close(have: Any, want: Any) -> bool:
    if isinstance(want, dict):
        return isinstance(have, dict) and have.keys() == want.keys() and all(
            _close(have[name], value) for name, value in want.items()
        )
    if isinstance(want, list):
        return (
            isinstance(have, list) and len(have) == len(want) and all(map(_close, have, want))
        )
    if isinstance(want, float) and isinstance(have, float):
        return math.isclose(have, want, rel_tol=1e-9, abs_tol=1e-9)
    return bool(have == want)


def test_every_topology_has_a_case() -> None:
    assert {case.path.parent.name for case in find_cases()} == set(find_topologies())
