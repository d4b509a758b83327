"""Reads back what a connector knew when it ended."""

from __future__ import annotations

import logging
import threading

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from app.kafka import KafkaSettings, consumer_options, describe
from app.shells.connector_runner import known
from app.shells.connector_runner.heartbeats import Known
from app.shells.connector_runner.known import Remembered
from models.errors import MalformedRecord, TransportError

LOG = logging.getLogger("plantstream.connector")
_POLL_S = 0.2
#: Kafka that gives nothing for so many polls is away: 15 s.
_PATIENCE = 75


def recall(kafka: KafkaSettings, name: str, stop: threading.Event) -> Remembered:
    """The assets that a connector of this name knew; what there is of them when ``stop`` is set.

    The topic must exist. Raises TransportError.
    """
    options = consumer_options(
        kafka, "connector", kafka.group(f"connector-{name}"),
        enable_partition_eof=True, fetch_wait_max_ms=10,
    )  # fmt: skip
    consumer = Consumer(options, logger=logging.getLogger("plantstream.kafka"))
    try:
        # no group is joined, and nothing committed
        consumer.assign([TopicPartition(kafka.topics.connectors, 0, 0)])
        pages = _last_pages(consumer, name, stop)
    except KafkaException as error:
        raise TransportError(f"cannot read {kafka.topics.connectors}: {error}") from error
    finally:
        consumer.close()
    assets: list[Known] = []
    for key, value in pages.items():
        try:
            assets += known.decode(value)
        except MalformedRecord as error:
            LOG.warning("%s: what was known of assets on page %d is lost: %s", name, key, error)
    return Remembered(assets, max(pages, default=-1) + 1)


def _last_pages(consumer: Consumer, name: str, stop: threading.Event) -> dict[int, bytes]:
    pages: dict[int, bytes] = {}
    silent = 0
    while not stop.is_set():
        messages = consumer.consume(1000, _POLL_S)
        silent = 0 if messages else silent + 1
        if silent >= _PATIENCE:
            raise TransportError(f"Kafka gives no records for {_POLL_S * _PATIENCE:g} s")
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return pages
                raise TransportError(describe(error))
            page = known.page_of((message.key() or b"").decode("utf-8", "replace"))
            if page is None or page[0] != name:
                continue
            value = message.value()
            if value is None:
                pages.pop(page[1], None)
            else:
                pages[page[1]] = value
    return pages
