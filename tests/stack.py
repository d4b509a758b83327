"""One embedded stack for the whole test session, started when the first test asks for it."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded import EmbeddedStack

_number = itertools.count(1)
_run = uuid.uuid4().hex[:6]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """Real Kafka, document store and MQTT broker; ``stack.endpoints`` says where.

    Shared by all tests of the session: take names from `topic_prefix`, and start again whatever
    a test stops.
    """
    with EmbeddedStack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> str:
    """A prefix for topics, groups, databases and clients that no other test uses."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40]
    return f"{words}-{_run}-{next(_number)}."


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A folder for a stack of the test's own; it does not exist yet."""
    return tmp_path / "data"
