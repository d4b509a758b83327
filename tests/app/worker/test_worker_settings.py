"""A latency goal chooses what nobody chose by hand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.shells.worker import WorkerSettings
from models.time import NS_PER_MS, NS_PER_S


def test_the_defaults_are_those_of_the_default_goal() -> None:
    goal = WorkerSettings.model_fields["latency"].default
    assert WorkerSettings() == WorkerSettings(latency=goal)


def test_commits_follow_from_the_goal_and_can_be_chosen_all_the_same() -> None:
    quick = WorkerSettings(latency="100ms", linger="0s")
    assert quick.commit_interval == 50 * NS_PER_MS
    assert (quick.poll, quick.linger) == (10 * NS_PER_MS, 0)
    assert WorkerSettings(latency="10s").commit_interval == 2 * NS_PER_S


def test_a_goal_that_cannot_be_met_is_refused() -> None:
    with pytest.raises(ValidationError, match="latency"):
        WorkerSettings(latency="5ms")
    with pytest.raises(ValidationError, match="not 'soon'"):
        WorkerSettings(latency="soon")
