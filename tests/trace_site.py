"""Recordings played through the whole plant by the command line, and what is needed to judge it.

The files are read here with `csv` and the store with pymongo: nothing is shared with what is
tested.
"""

from __future__ import annotations

import csv
import subprocess
import tomllib
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient
from typer.testing import CliRunner

from app.cli.app import application
from app.embedded import EmbeddedStack
from app.observe.processes import running
from connectors.simulators.opcua import free_port
from models.catalogue import Knowledge
from tests.plant_site import PlantSite

#: Tag, event time (ns since 1970 UTC), value.
Reading = tuple[str, int, float]


@dataclass(frozen=True)
class Recorded:
    """A recorded file, and how it is written."""

    name: str
    path: str
    delimiter: str
    time: str
    #: Columns that people added, which no sensor measured.
    labels: frozenset[str] = frozenset()

    def readings(self, folder: Path) -> Counter[Reading]:
        """Every row × tag of the file, and how often it is there."""
        with (folder / self.path).open(newline="") as file:
            found: Counter[Reading] = Counter()
            for row in csv.DictReader(file, delimiter=self.delimiter):
                moment = datetime.strptime(row[self.time], "%Y-%m-%d %H:%M:%S")
                t = int(moment.replace(tzinfo=UTC).timestamp()) * 1_000_000_000
                for column, cell in row.items():
                    if column != self.time and column not in self.labels:
                        found[column, t, float(cell)] += 1
        return found


@dataclass(frozen=True)
class Play:
    """A file through a protocol, as an asset."""

    recorded: Recorded
    protocol: str

    @property
    def asset(self) -> str:
        """The asset; that of MQTT is also the topic, which a template of ``glass`` reads."""
        if self.protocol == "mqtt":
            return f"glass/env/{self.recorded.name}"
        return f"glass/{self.recorded.name}-{self.protocol}"

    def __str__(self) -> str:
        return f"{self.recorded.name}-{self.protocol}"

    def words(self, folder: Path, port: int) -> list[str]:
        """What a user types to play it."""
        words = ["simulate", self.protocol, "--trace", str(folder / self.recorded.path)]
        words += ["--asset", self.asset, "--speed", "max"]
        return words if self.protocol == "mqtt" else [*words, "--port", str(port)]


class TraceSite(PlantSite):
    """A site whose configuration is what ``simulate --snippet`` says of each play."""

    def __init__(
        self, stack: EmbeddedStack, prefix: str, folder: Path, data: Path, plays: Iterable[Play]
    ) -> None:
        self.commands = {play: play.words(data, free_port()) for play in plays}
        merged: dict[str, Any] = {}
        for words in self.commands.values():
            for section, values in tomllib.loads(_snippet(words)).items():
                assert not merged.setdefault(section, {}).keys() & values.keys()
                merged[section].update(values)
        where = stack.endpoints
        broker = {"broker": f"{where.mqtt_host}:{where.mqtt_port}"}
        super().__init__(stack, prefix, folder, Knowledge(), mqtt=broker, **merged)
        #: Names of the connectors by protocol.
        self.connectors: dict[str, list[str]] = {}
        for name, connector in merged["connectors"].items():
            self.connectors.setdefault(connector["kind"], []).append(name)

    def play(self, play: Play) -> subprocess.Popen[bytes]:
        """Start the simulator of a play."""
        return self.start(*self.commands[play])

    def metric(self, kind: str, name: str, by: str, **where: str) -> Counter[str]:
        """A counter or gauge on the /metrics pages of a kind of process, summed by a label.

        Only series whose labels end in what ``where`` says; empty while none runs that answers.
        """
        found: Counter[str] = Counter()
        for process in running(self.folder / "data"):
            url = process.url("metrics")
            if process.kind != kind or url is None:
                continue
            try:
                with urllib.request.urlopen(url, timeout=10) as page:
                    text = page.read().decode()
            except OSError:
                continue
            for family in text_string_to_metric_families(text):
                for name_, labels, value, *_ in family.samples:
                    if name_ == f"plantstream_{name}" and all(
                        labels[label].endswith(end) for label, end in where.items()
                    ):
                        found[labels[by]] += int(value)
        return found

    def readings(self, topology: str) -> Iterator[Mapping[str, Any]]:
        """The documents of the topology's readings."""
        client: MongoClient[dict[str, Any]] = MongoClient(self._uri)
        try:
            yield from client["plantstream"][f"{self.store_prefix}{topology}_readings"].find()
        finally:
            client.close()

    def sample_count(self, topology: str) -> int:
        """Samples in these documents."""
        client: MongoClient[dict[str, Any]] = MongoClient(self._uri)
        try:
            found = client["plantstream"][f"{self.store_prefix}{topology}_readings"]
            return sum(int(document["n"]) for document in found.find({}, {"n": 1}))
        finally:
            client.close()


def _snippet(words: list[str]) -> str:
    done = CliRunner().invoke(application, [*words, "--snippet"])
    assert done.exit_code == 0, done.output
    return done.stdout


def samples(document: Mapping[str, Any]) -> Iterator[tuple[Reading, int]]:
    """Each sample of a document with its flag. A column whose entries are equal is one number."""
    size, tags = document["n"], document["tags"]
    columns = [
        column if isinstance(column, list) else [column] * size
        for column in (document["tag"], document["t"], document["v"], document["q"])
    ]
    assert {len(column) for column in columns} == {size}
    for tag, t, value, flag in zip(*columns, strict=True):
        yield (tags[tag], t, value), flag
