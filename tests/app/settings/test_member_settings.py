"""What workers and sinks share of their settings, they share by one base."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from app.kafka.settings import MemberSettings
from app.shells.worker import WorkerSettings
from app.store import SinkSettings


@pytest.mark.parametrize("kind", [WorkerSettings, SinkSettings])
def test_both_judge_a_membership_alike(kind: type[MemberSettings]) -> None:
    default = kind()
    assert (default.session_timeout, default.max_poll_interval) == (6 * 10**9, 60 * 10**9)
    with pytest.raises(ValidationError, match="max_poll_interval must be at least session"):
        kind.model_validate({"session_timeout": "30s", "max_poll_interval": "20s"})
    with pytest.raises(ValidationError, match="session_timeout"):
        kind.model_validate({"session_timeout": "1s"})


def test_a_sink_hands_over_before_it_is_thought_stuck() -> None:
    with pytest.raises(ValidationError, match="hand_over must be less than max_poll_interval"):
        SinkSettings.model_validate({"hand_over": "60s"})
