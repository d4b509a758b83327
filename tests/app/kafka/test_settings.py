"""Kafka settings: secrets stay out of files, our guarantees out of the site's hands."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.kafka import KafkaSettings, consumer_options, producer_options


def test_every_client_promises_the_same() -> None:
    settings = KafkaSettings(options={"security.protocol": "SASL_SSL"}, username="plant")
    producer = producer_options(settings, "sink", linger_ms=5)
    assert producer["enable.idempotence"] is True
    assert producer["acks"] == "all"
    assert producer["partitioner"] == "murmur2_random"
    assert producer["linger.ms"] == 5
    consumer = consumer_options(settings, "sink", "group")
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["enable.auto.commit"] is False
    for options in (producer, consumer):
        assert options["security.protocol"] == "SASL_SSL"
        assert options["sasl.username"] == "plant"
        assert options["client.id"].startswith("plantstream-sink-")


def test_a_secret_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("hunter2\n")
    assert KafkaSettings(password_file=file).connection()["sasl.password"] == "hunter2"
    plain = KafkaSettings(password="hunter2")
    assert plain.connection()["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(plain)
    assert "hunter2" not in plain.model_dump_json()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"options": {"sasl.password": "x"}}, "give it as 'password'"),
        ({"options": {"acks": 1}}, "set by Plantstream"),
        ({"prefix": "a b."}, "Kafka allows"),
        ({"password": "x", "password_file": "y"}, "not both"),
        ({"partitions": 0}, "greater than or equal to 1"),
        ({"brokers": "x"}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        KafkaSettings(**given)
