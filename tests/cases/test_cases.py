"""Each case folder gives what it says."""

from __future__ import annotations

import pytest

from tests.cases import Case, find_cases, run, shown
from topologies.core.discover import find


@pytest.mark.parametrize("case", find_cases(), ids=lambda case: case.name)
def test_case(case: Case) -> None:
    got = [shown(emission) for emission in run(case)]
    expected = case.expected()
    for number, (have, want) in enumerate(zip(got, expected, strict=False)):
        assert have == want, f"emission {number}"
    assert len(got) == len(expected)


def test_every_topology_has_a_case() -> None:
    assert {case.path.parent.name for case in find_cases()} == set(find())
