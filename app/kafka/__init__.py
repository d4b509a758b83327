"""Everything about Kafka that more than one process needs: settings, client options, topics."""

from app.kafka.clients import (
    admin_client,
    client_id,
    consumer_options,
    describe,
    error_name,
    producer_options,
    wait_for_kafka,
)
from app.kafka.headers import UNREADABLE, read_headers
from app.kafka.settings import KafkaSettings

__all__ = [
    "UNREADABLE",
    "KafkaSettings",
    "admin_client",
    "client_id",
    "consumer_options",
    "describe",
    "error_name",
    "producer_options",
    "read_headers",
    "wait_for_kafka",
]
