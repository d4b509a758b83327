"""The sink process into the embedded store, beside a bare loop over the same topic.

The peer is what one would write first: consume, ``orjson.loads``, one unordered ``bulk_write`` of
inserts a batch, commit. It checks nothing, knows no revisions and no dead letters, and a repeat
makes it fail. Both run on a thread of this process, into a collection with the same indexes.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Consumer, KafkaException, Producer
from pymongo import InsertOne, MongoClient

from app.embedded import EmbeddedStack
from app.kafka import KafkaSettings, admin_client, consumer_options, producer_options
from app.kafka.topics import dead_letter_topic, ensure_topics, log_topic
from app.shells.sink import OutputSpec, SinkSettings, SinkStats, StoreSettings, run_sink
from app.store import collection_name, prepare
from benchmarks.progress import Say
from benchmarks.table import Outcome, Row
from models.records import block, features, headers

BLOCKS, SAMPLES = 4000, 100
RECORDS, ROWS = 400, 20
_THEN = 1_700_000_000_000_000_000
_TIMEOUT_S = 180.0


@dataclasses.dataclass(frozen=True)
class _Case:
    """Records on one output topic, and the documents they become."""

    what: str
    output: OutputSpec
    records: Sequence[tuple[bytes, bytes, dict[str, bytes]]]
    documents: int
    samples: int
    split: Callable[[dict[str, Any], str], list[dict[str, Any]]]


def run(stack: EmbeddedStack, say: Say, *, quick: bool = False) -> Outcome:
    """Blocks of 100 samples in both layouts, and feature rows: the peer, then the sink."""
    store = StoreSettings.model_validate({"uri": stack.endpoints.mongodb_uri})
    share = 5 if quick else 1
    rows: list[Row] = []
    for number, case in enumerate((_blocks(BLOCKS // share), _features(RECORDS // share))):
        kafka = KafkaSettings(
            bootstrap=str(stack.endpoints.kafka_bootstrap),
            prefix=f"bench-sink-{time.time_ns()}-{number}.",
        )
        say(case.what)
        _produce(kafka, case)
        peer = _peer(kafka, store, case)
        rows.append(_row(case, "bare consume, decode, insert", peer, None))
        for layout in ("arrays", "packed") if case.samples else ("arrays",):
            seconds = _sink(kafka, store, case, layout)
            who = "sink" if layout == "arrays" else "sink, packed columns"
            rows.append(_row(case, who, seconds, peer / seconds))
    return Outcome(rows)


def _row(case: _Case, who: str, seconds: float, ratio: float | None) -> Row:
    documents = case.documents / seconds
    if not case.samples:
        return Row(case.what, who, documents, "documents/s", ratio)
    note = f"{documents:,.0f} documents/s"
    return Row(case.what, who, case.samples / seconds, "samples/s", ratio, note)


# ---------------------------------------------------------------- input
def _blocks(count: int) -> _Case:
    random = np.random.default_rng(1)
    records = []
    for number in range(count):
        t = _THEN + number * 10**9 + np.arange(SAMPLES) * 10**7
        made = block.Block(
            f"asset-{number % 50}",
            tuple(f"tag-{i}" for i in range(10)),
            np.repeat(np.arange(10, dtype=np.int32), SAMPLES // 10),
            t.astype(np.int64),
            random.normal(100.0, 5.0, SAMPLES),
            np.where(random.random(SAMPLES) < 0.05, 3, 1).astype(np.uint8),
            received=int(t[-1]),
        )
        head = {headers.SCHEMA: headers.BLOCK.header, headers.EVENT_ID: f"b:{number}".encode()}
        records.append((made.asset.encode(), block.encode(made), head))
    what = f"blocks of {SAMPLES} samples"
    output = OutputSpec("readings", "readings")
    return _Case(what, output, records, count, count * SAMPLES, _as_it_is)


def _as_it_is(record: dict[str, Any], event_id: str) -> list[dict[str, Any]]:
    return [{"_id": event_id, **record}]


def _features(count: int) -> _Case:
    records = []
    rows = np.arange(ROWS)
    for number in range(count):
        start = np.full(ROWS, _THEN + number * 10**10)
        stats = dict.fromkeys(
            ("mean", "std", "min", "max", "slope", "rms"), (rows + number * 0.5).astype(np.float64)
        )
        made = features.Features(
            f"asset-{number % 50}",
            "w10",
            tuple(f"tag-{i}" for i in range(ROWS)),
            rows.astype(np.int32),
            start,
            start + 10**10,
            rows + 1,
            rows * 0,
            stats,
            np.zeros(ROWS, np.uint8),
        )
        head = {headers.SCHEMA: headers.FEATURES.header, headers.EVENT_ID: f"f:{number}".encode()}
        records.append((made.asset.encode(), features.encode(made), head))
    what, output = f"feature rows, {ROWS} a record", OutputSpec("features", "features")
    return _Case(what, output, records, count * ROWS, 0, _rows)


def _rows(record: dict[str, Any], event_id: str) -> list[dict[str, Any]]:
    names = ("start", "end", "count", "bad")
    return [
        {
            "_id": f"{event_id}:{row}",
            "asset": record["asset"],
            "window": record["window"],
            "tag": record["tags"][tag],
            **{name: record[name][row] for name in names},
            "stats": {name: column[row] for name, column in record["stats"].items()},
        }
        for row, tag in enumerate(record["tag"])
    ]


def _produce(kafka: KafkaSettings, case: _Case) -> None:
    topic = kafka.topics.output("bench", case.output.name)
    ensure_topics(admin_client(kafka), [log_topic(kafka, topic), dead_letter_topic(kafka)])
    producer = Producer(producer_options(kafka, "bench"))
    for key, value, head in case.records:
        producer.produce(topic, value, key, headers=list(head.items()))
        producer.poll(0)
    producer.flush()


# ---------------------------------------------------------------- the two
def _peer(kafka: KafkaSettings, store: StoreSettings, case: _Case) -> float:
    assert store.uri is not None
    name = f"peer{time.time_ns()}"
    client: MongoClient[dict[str, Any]] = MongoClient(store.uri.get_secret_value())
    database = client[store.database]
    prepare(database, name, "bench", [case.output])
    collection = database[collection_name(name, "bench", case.output.name)]
    options = consumer_options(kafka, "peer", f"{kafka.prefix}peer")
    consumer = Consumer({**options, "enable.auto.offset.store": True})
    consumer.subscribe([kafka.topics.output("bench", case.output.name)])
    count, begun = 0, 0.0
    while count < case.documents:
        messages = consumer.consume(1000, 0.1)
        begun = begun or (time.perf_counter() if messages else 0.0)
        operations: list[InsertOne[dict[str, Any]]] = []
        for message in messages:
            event_id = dict(message.headers())["event-id"].decode()
            record = orjson.loads(message.value())
            operations += [InsertOne(document) for document in case.split(record, event_id)]
        if operations:
            count += collection.bulk_write(operations, ordered=False).inserted_count
            consumer.commit(asynchronous=False)
    seconds = time.perf_counter() - begun
    consumer.close()
    collection.drop()
    client.close()
    return seconds


def _sink(kafka: KafkaSettings, store: StoreSettings, case: _Case, layout: str) -> float:
    prefix = f"{layout}{time.time_ns()}"
    stop, stats = threading.Event(), _Clock("bench")
    where = store.model_copy(update={"prefix": prefix})
    options = SinkSettings.model_validate({"layout": layout})
    topology = "bench"
    _rewind(kafka, topology)
    thread = threading.Thread(
        target=run_sink,
        args=(topology, 1, [case.output]),
        kwargs={"kafka": kafka, "store": where, "sink": options, "stop": stop, "stats": stats},
    )
    thread.start()
    deadline = time.monotonic() + _TIMEOUT_S
    while stats.documents < case.documents and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert stats.documents == case.documents, f"{stats.documents} of {case.documents} documents"
    assert store.uri is not None
    with MongoClient[dict[str, Any]](store.uri.get_secret_value()) as client:
        client[store.database].drop_collection(collection_name(prefix, topology, case.output.name))
    return stats.last - stats.first


def _rewind(kafka: KafkaSettings, topology: str) -> None:
    """Let the sink's group begin again."""
    group = kafka.group(f"sink-{topology}")
    admin = admin_client(kafka)  # it must outlive its futures
    for future in admin.delete_consumer_groups([group]).values():
        if not isinstance(error := future.exception(30), (KafkaException, type(None))):
            raise error  # anything but "there is none"


class _Clock(SinkStats):
    """Notes when the first batch was begun and the last committed."""

    def __init__(self, topology: str) -> None:
        super().__init__(topology)
        self.first = 0.0
        self.last = 0.0
        self._documents = 0

    @property
    def documents(self) -> int:
        return self._documents

    @documents.setter
    def documents(self, count: int) -> None:
        self._documents = count
        self.last = time.perf_counter()

    @property
    def assigned(self) -> Any:
        return self._assigned

    @assigned.setter
    def assigned(self, held: Any) -> None:
        self._assigned = held
        if held and not self.first:
            self.first = time.perf_counter()
