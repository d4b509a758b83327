"""What is rehearsed before the first record reaches steps as real records do."""

from __future__ import annotations

import pytest

from topologies.core.discover import find
from topologies.core.rehearsal import rehearse

TOPOLOGIES = find()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_rehearsal_reaches_the_steps_of_any_tag_and_fails_in_none(name: str) -> None:
    counts = rehearse(TOPOLOGIES[name])
    assert counts["samples"] > 1000
    assert not [count for count in counts if count.startswith(("dead.", "skipped."))]
    for step in TOPOLOGIES[name].steps:
        if step.kind in ("window", "limits", "ewma", "robust_z"):
            assert counts[f"made.{step.name}"] > 0
