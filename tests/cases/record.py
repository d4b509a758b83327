"""Record what a running site lands into a case: ``python -m tests.cases.record glass/demo``.

Reads the raw topics of the topology's inputs from their beginning, up to some records of each
asset, and writes input, catalogue and parameters; then what the topology emits now.
"""

from __future__ import annotations

import re
from fnmatch import translate
from pathlib import Path
from typing import Annotated

import orjson
import typer
from confluent_kafka import Consumer, TopicPartition

from app.kafka import consumer_options, read_headers
from app.settings import load, resolve
from models.catalogue import Catalogue
from tests.cases import FOLDER, Case, Fed, write_expected, write_input
from topologies.core import Input


def main(
    case: Annotated[str, typer.Argument(help="Topology and case, such as glass/demo")],
    each: Annotated[int, typer.Option(help="Records of each asset and input")] = 100,
    config: Annotated[Path, typer.Option(help="The site")] = Path("plantstream.toml"),
    data_dir: Annotated[str, typer.Option(help="Its data folder")] = ".plantstream",
) -> None:
    """Record a case from a running site."""
    settings = load(config, [f"data_dir={data_dir}"])
    name = case.split("/")[0]
    topology = settings.topology(name)
    kafka = resolve.kafka(settings)
    consumer = Consumer(
        {**consumer_options(kafka, "record", "record"), "enable.partition.eof": True}
    )
    fed = [
        one
        for source in topology.inputs
        for one in _read(consumer, source, source.topic(kafka.topics), each)
    ]
    consumer.close()
    fed.sort(key=lambda one: one.timestamp_ms)
    folder = FOLDER / case
    write_input(folder, fed)
    knowledge = settings.site.knowledge
    keys = {one.key.decode() for one in fed if one.key}
    assets = {name: asset for name, asset in knowledge.catalogue.assets.items() if name in keys}
    kept = knowledge.model_copy(update={"catalogue": Catalogue(assets=assets)})
    (folder / "knowledge.json").write_text(kept.model_dump_json(exclude_defaults=True))
    if steps := settings.entry(name).steps:
        (folder / "overrides.json").write_bytes(orjson.dumps(steps))
    print(f"{case}: {len(fed)} records, {write_expected(Case(folder))} emissions")


def _read(consumer: Consumer, source: Input, topic: str, each: int) -> list[Fed]:
    takes = re.compile("|".join(f"(?:{translate(pattern)})" for pattern in source.assets)).match
    partitions = consumer.list_topics(topic, 10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found: dict[bytes, list[Fed]] = {}
    ended: set[int] = set()
    while len(ended) < len(partitions):
        for message in consumer.consume(500, 1.0):
            if message.error():
                ended.add(message.partition())
                continue
            key = message.key() or b""
            records = found.setdefault(key, [])
            if takes(key.decode()) and len(records) < each:
                head = dict(read_headers(message))
                stamp = message.timestamp()[1]
                records.append(Fed(source.source, key, message.value(), head, stamp))
    return [one for records in found.values() for one in records]


if __name__ == "__main__":
    typer.run(main)
