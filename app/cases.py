"""Cases: records of a topology and what it makes of them, in a folder each.

* ``input.jsonl``: the records fed, a line each: source, key, headers, value (JSON where it is
  JSON, else base64) and Kafka timestamp;
* ``knowledge.json``: catalogue and register maps (optional);
* ``overrides.json``: parameters of steps that differ from the declaration (optional);
* ``expected.jsonl``: every emission: output, key, value.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.shells.driver import Driver
from models.catalogue import Knowledge
from topologies.core import Emission, Topology
from topologies.core.discover import get


@dataclass(frozen=True, slots=True)
class Fed:
    """One record fed to a topology."""

    source: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Case:
    """One case folder, ``<topology>/<case>``; ``paths``: where topologies of the site are."""

    path: Path
    paths: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """``glass/demo``."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def topology(self) -> Topology:
        """The topology, with the case's parameters. Raises ConfigError, DeclarationError."""
        declared = get(self.path.parent.name, self.paths)
        file = self.path / "overrides.json"
        if not file.exists():
            return declared
        return declared.with_overrides(orjson.loads(file.read_bytes()))

    @property
    def knowledge(self) -> Knowledge:
        """Its catalogue and register maps."""
        file = self.path / "knowledge.json"
        return Knowledge.model_validate_json(file.read_bytes()) if file.exists() else Knowledge()

    def records(self) -> list[Fed]:
        """What is fed."""
        return [_read(line) for line in (self.path / "input.jsonl").read_bytes().splitlines()]

    def expected(self) -> list[dict[str, Any]]:
        """What must come out, each as `shown` shows it."""
        lines = (self.path / "expected.jsonl").read_bytes().splitlines()
        return [orjson.loads(line) for line in lines]

    def driver(self, *, commit_every: int = 1) -> Driver:
        """A driver that nothing was fed to."""
        return Driver(self.topology, self.knowledge, commit_every=commit_every)


def feed(driver: Driver, record: Fed) -> list[Emission]:
    """Feed one record of a case."""
    return driver.raw(
        record.source, record.key, record.value, record.headers, timestamp_ms=record.timestamp_ms
    )


def run(case: Case, driver: Driver | None = None) -> list[Emission]:
    """Everything a case's records make the topology emit."""
    driver = driver or case.driver()
    for record in case.records():
        feed(driver, record)
    return driver.emissions


def shown(emission: Emission) -> dict[str, Any]:
    """An emission as ``expected.jsonl`` holds it."""
    return {
        "output": emission.output,
        "key": emission.key.decode(),
        "value": orjson.loads(emission.value),
    }


def write_input(folder: Path, records: Iterable[Fed]) -> None:
    """Write ``input.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "input.jsonl").write_bytes(b"".join(_line(record) for record in records))


def write_expected(case: Case) -> int:
    """Write ``expected.jsonl`` from what the topology emits now; how many lines."""
    lines = [orjson.dumps(shown(emission)) + b"\n" for emission in run(case)]
    (case.path / "expected.jsonl").write_bytes(b"".join(lines))
    return len(lines)


def _line(record: Fed) -> bytes:
    line: dict[str, Any] = {"source": record.source, "timestamp_ms": record.timestamp_ms}
    line["key"] = record.key.decode() if record.key is not None else None
    line["headers"] = {name: value.decode() for name, value in record.headers.items()}
    try:
        value = orjson.loads(record.value or b"")
        exact = orjson.dumps(value) == record.value
    except orjson.JSONDecodeError:
        exact = False
    if exact:
        line["value"] = value
    elif record.value is not None:
        line["base64"] = base64.b64encode(record.value).decode()
    return orjson.dumps(line) + b"\n"


def _read(text: bytes) -> Fed:
    line = orjson.loads(text)
    key = line.get("key")
    value: bytes | None = None
    if "value" in line:
        value = orjson.dumps(line["value"])
    elif "base64" in line:
        value = base64.b64decode(line["base64"])
    return Fed(
        line["source"],
        None if key is None else key.encode(),
        value,
        {name: text.encode() for name, text in line.get("headers", {}).items()},
        line.get("timestamp_ms", 0),
    )
