"""The peer: a bare loop that consumes, decodes and produces, exactly once, and does nothing else.

What a user would write by hand with confluent-kafka at its best: batches of 500, one transaction a
tenth of a second, the same decoder and encoder of records as ours.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

import numpy as np
from confluent_kafka import Consumer, Producer

from app.kafka import KafkaSettings, consumer_options, producer_options
from models.records import block, raw


def main(text: str) -> int:
    """``{"kafka": …, "group": …, "source": …, "target": …}``; runs until SIGTERM."""
    job = json.loads(text)
    kafka = KafkaSettings(**job["kafka"])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consumer = Consumer(consumer_options(kafka, "bare", job["group"]))
    producer = Producer(
        producer_options(kafka, "bare", transactional_id=job["group"], linger_ms=2)
    )
    producer.init_transactions()
    consumer.subscribe([job["source"]])
    producer.begin_transaction()
    due = time.monotonic() + 0.1
    pending = 0
    while not stop.is_set():
        for message in consumer.consume(500, 0.02):
            if message.error():
                raise RuntimeError(str(message.error()))
            record = raw.decode_opcua(message.value())
            good = np.ones(record.t.size, np.uint8)
            decoded = block.Block(
                "bare", record.tags, record.tag, record.t, record.v, good, received=record.received
            )
            producer.produce(job["target"], block.encode(decoded), message.key())
            pending += 1
            producer.poll(0)
        if pending and time.monotonic() >= due:
            positions = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
            producer.commit_transaction()
            producer.begin_transaction()
            due, pending = time.monotonic() + 0.1, 0
    producer.abort_transaction()
    consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
