"""Heartbeats come back as they were written, and malformed ones are refused with a reason."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import MalformedRecord
from models.records import heartbeat
from models.records.heartbeat import Heartbeat, State

NS = st.integers(-(2**63) + 1, 2**63 - 1)


@given(
    st.builds(
        Heartbeat,
        asset=st.text(min_size=1),
        state=st.sampled_from(State),
        t=NS,
        received=NS,
        elapsed=st.none() | st.integers(0, 2**63 - 1),
    )
)
def test_comes_back_as_written(beat: Heartbeat) -> None:
    assert heartbeat.decode(heartbeat.encode(beat)) == beat


def test_without_elapsed_nothing_was_heard() -> None:
    payload = b'{"asset": "a", "state": "alive", "t": 1, "received": 2}'
    assert heartbeat.decode(payload) == Heartbeat("a", State.ALIVE, 1, 2, None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": "asleep"}, "'state' is 'asleep', not one of alive, disconnected, backfilling"),
        ({"t": 2**63}, "'t'"),
        ({"t": 1.5}, "'t'"),
        ({"asset": None}, "'asset' is not str"),
        ({"elapsed": -1}, "'elapsed' is negative (-1)"),
        ({"elapsed": 2**63}, "'elapsed'"),
        ({"elapsed": True}, "'elapsed'"),
        ({"elapsed": "5s"}, "'elapsed'"),
    ],
)
def test_malformed_is_refused(change: dict[str, object], reason: str) -> None:
    record = {"asset": "a", "state": "alive", "t": 1, "received": 2, "elapsed": 3} | change
    text = orjson.dumps(record)
    with pytest.raises(MalformedRecord, match="heartbeat") as refused:
        heartbeat.decode(text)
    assert reason in str(refused.value)
