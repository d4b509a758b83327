"""Fixtures for all tests: the shared stack, the shared recorded data, and what a test may need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.stack import data_dir, stack, topic_prefix

__all__ = ["data_dir", "require", "shared_data", "stack", "topic_prefix"]

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("plantstream", deadline=None)
settings.load_profile("plantstream")

ROOT = Path(__file__).resolve().parent.parent


def require(condition: object, reason: str) -> None:
    """Go on only if ``condition`` holds: skip the test here, fail it where PLANTSTREAM_CI is set.

    For parts that a developer's machine may lack and continuous integration must have.
    """
    if condition:
        return
    if os.environ.get("PLANTSTREAM_CI"):
        pytest.fail(f"missing, and PLANTSTREAM_CI is set: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded data sets (skab, nab); the test is skipped where it is absent.

    ``../shared/data`` beside the project, or ``PLANTSTREAM_SHARED_DATA``. Never required, also
    not under PLANTSTREAM_CI: a clone does not bring it.
    """
    named = os.environ.get("PLANTSTREAM_SHARED_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if named:
            pytest.fail(f"PLANTSTREAM_SHARED_DATA names no folder: {named}", pytrace=False)
        pytest.skip(f"recorded data not found in {folder}")
    return folder
