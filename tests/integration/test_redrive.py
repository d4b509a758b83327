"""Dead letters on a real Kafka, through the command line: looked at, mended, sent back, once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from app.embedded import EmbeddedStack
from app.kafka import producer_options
from app.kafka.reading import committed_records
from app.redrive import Mend, Redriver, read_letters, whole
from models.errors import PlantstreamError, TransportError
from models.records import deadletter, headers, late
from models.records.deadletter import DeadLetter
from tests.app.cli.test_command_line import Run, plantstream
from tests.oven_site import T0, Oven, S
from tests.sink_site import SinkSite, reading, until

pytestmark = pytest.mark.integration
__all__ = ["plantstream"]

def _wrong_time(payload: bytes) -> bytes:
    content = json.loads(payload)
    content["t"] = ["soon"]
    return json.dumps(content).encode()


def _cut(payload: bytes) -> bytes:
    return payload[:-20]


@pytest.fixture
def oven(plantstream: Run, tmp_path: Path, stack: EmbeddedStack, topic_prefix: str) -> Oven:
    return Oven(tmp_path, str(stack.endpoints.kafka_bootstrap), topic_prefix)


def test_within_grace_a_mended_record_lands_in_its_window(oven: Oven, plantstream: Run) -> None:
    second = T0 + 4 * S
    with oven.running():
        oven.feed(2, 1.0)
        oven.feed(4, 100.0, _wrong_time)
        oven.feed(6, 4.0)
        oven.feed(15, 7.0)  # the next window has begun
        listed = json.loads(plantstream("redrive", "oven", "--json").stdout)
        (letter,) = listed
        assert (letter["reason"], letter["step"]) == ("malformed", "decode")
        assert letter["redriven"] is None
        address = letter["letter"]

        shown = plantstream("redrive", "oven", address, "--show")
        assert '"soon"' in shown.stdout
        assert "event-id: plc:1:2" in shown.stdout
        words = ("redrive", "oven", address, "--change", f"t[0]={second}")
        dry = plantstream(*words, "--send", "--dry-run")
        assert dry.returncode == 0
        assert "would go back" in dry.stdout
        assert f"+    {second}" in dry.stdout
        refused = plantstream(*words)
        assert (refused.returncode, "add --send" in refused.stderr) == (2, True)
        assert oven.received() == 4  # nothing was sent

        sent = plantstream(*words, "--send")
        assert sent.returncode == 0, sent.stderr
        assert "1 records went back" in sent.stdout
        oven.taken(1)
        # Neither by mistake nor by two people is it sent twice.
        repeated = plantstream(*words, "--send").stdout
        assert "0 records went back; 1 were sent back before" in repeated
        oven.feed(200, 0.0)
        assert oven.rows(2)[0] == (0.0, 3, 35.0)
        assert oven.counted("late") == 0
    (marked,) = json.loads(plantstream("redrive", "oven", "--json").stdout)
    assert marked["redriven"] is not None

    messages = list(committed_records(oven.kafka, oven.raw, "test"))
    (again,) = [m for m in messages if headers.REDRIVES in dict(m.headers())]
    head = dict(again.headers())
    assert head[headers.EVENT_ID] == b"plc:1:2"
    assert (head[headers.REDRIVES], head[headers.REDRIVE_FOR]) == (b"1", b"oven")
    assert head[headers.REDRIVE_OF].decode() == address
    assert (again.key(), again.timestamp()[1]) == (b"oven/1", second // 10**6)
    assert again.partition() == int(address.split(":")[1])


def test_after_grace_its_samples_are_refused_as_late_and_nothing_changes(
    oven: Oven, plantstream: Run
) -> None:
    with oven.running():
        oven.feed(2, 1.0)
        oven.feed(4, 100.0, _wrong_time)
        oven.feed(200, 0.0)
        before = oven.rows(1)
        change = ("--change", f"t[0]={T0 + 4 * S}")
        assert plantstream("redrive", "oven", *change, "--send").returncode == 0
        oven.taken(1)
        oven.feed(400, 0.0)
        assert oven.rows(2)[:1] == before == [(0.0, 1, 1.0)]
        assert oven.counted("late") == 1
    topic = oven.kafka.topics.output("oven", "late")
    (told,) = [late.decode(m.value()) for m in committed_records(oven.kafka, topic, "test")]
    assert (told.window, told.v.tolist(), told.t.tolist()) == ("window", [100.0], [T0 + 4 * S])
    assert (int(told.start[0]) - T0, int(told.end[0]) - T0) == (0, 10 * S)


def test_what_is_not_mended_comes_back_as_another_letter_that_counts(
    oven: Oven, plantstream: Run
) -> None:
    with oven.running():
        oven.feed(2, 1.0, _cut)
        refused = plantstream("redrive", "oven", "--change", "t[0]=1", "--send")
        assert (refused.returncode, "is not JSON" in refused.stderr) == (2, True)
        assert plantstream("redrive", "oven", "--send").returncode == 0
        oven.taken(1)
        first, second = json.loads(plantstream("redrive", "oven", "--json").stdout)
        assert (first["redrives"], second["redrives"]) == (0, 1)
        assert (first["redriven"] is None, second["redriven"] is None) == (False, True)
        assert plantstream("redrive", "oven", second["letter"], "--send", "--again").returncode == 0
        oven.taken(1)


def test_filters_leave_what_is_meant(oven: Oven, plantstream: Run) -> None:
    with oven.running():
        oven.feed(2, 1.0, _cut)
        oven.feed(4000, 1.0, _cut)

    def found(*words: str) -> int:
        return len(json.loads(plantstream("redrive", "oven", *words, "--json").stdout))

    first = json.loads(plantstream("redrive", "oven", "--json").stdout)[0]["letter"]
    topic, partition, offset = first.split(":")
    assert found() == 2
    assert found("--reason", "mal*", "--step", "decode", "--key", "oven/?") == 2
    assert found("--key", "kiln/*") == found("--step", "window") == found("--reason", "step") == 0
    assert found("--since", "2023-11-14T22:30:00Z") == 1
    assert found("--until", "2023-11-14T22:30:00+00:00") == 1
    assert found("--since", "10m") == 0
    assert found(first) == 1
    assert found(topic, f"{topic}:{partition}", f"{topic}:{partition}:{offset}-99") == 2
    wrong = plantstream("redrive", "oven", "raw.opcua:x:1")
    assert (wrong.returncode, "TOPIC:PARTITION:OFFSET" in wrong.stderr) == (2, True)
    text = plantstream("redrive", "oven").stdout
    assert "2 dead letters, 0 of them sent back" in text
    assert first in text


def test_an_editor_mends_one(
    oven: Oven, plantstream: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"sed -i s/soon/{T0}/;s/\\\"{T0}\\\"/{T0}/")
    with oven.running():
        oven.feed(0, 5.0, _wrong_time)
        done = plantstream("redrive", "oven", "--edit", "--send")
        assert done.returncode == 0, done.stderr
        oven.taken(1)
        oven.feed(100, 0.0)
        assert oven.rows(1) == [(0.0, 1, 5.0)]
    monkeypatch.setenv("EDITOR", "false")
    done = plantstream("redrive", "oven", "--edit", "--send", "--again")
    assert done.returncode == 1
    assert "ended with code 1" in done.stderr


def test_of_two_who_redrive_at_once_the_second_sends_and_the_first_is_told(oven: Oven) -> None:
    with oven.running():
        oven.feed(2, 1.0, _cut)
    letters = read_letters(oven.kafka, "oven")
    with Redriver(oven.kafka, "oven") as first, Redriver(oven.kafka, "oven") as second:
        with pytest.raises(PlantstreamError, match="nothing was sent: somebody else"):
            first.send(letters)
        assert second.send(second.unsent(letters)) == 1
        assert second.unsent(letters) == []
    assert len(list(committed_records(oven.kafka, oven.raw, "test"))) == 2


def test_a_letter_of_the_sink_goes_to_the_sink_alone(
    stack: EmbeddedStack, topic_prefix: str
) -> None:
    site = SinkSite(stack, topic_prefix)
    good = reading(1)
    with site.running() as stats:
        site.feed([good._replace(value=b"{}")])
        site.until_committed()
        (letter,) = whole(site.kafka, read_letters(site.kafka, "plant"))
        assert letter.dead.topology == "sink:plant"
        mended = Mend(payload=good.value)(letter)
        with Redriver(site.kafka, "plant") as redriver:
            redriver.send([mended])
        until(lambda: stats.documents == 1, 30)
        # One that a topology failed on, which reads this output too: stored long since.
        other = {**good.head, headers.REDRIVE_FOR: b"other", headers.EVENT_ID: b"test:pump:9"}
        site.feed([good._replace(head=other), reading(2)])
        site.until_committed()
    assert site.stored()["readings"].keys() == {"test:pump:1", "test:pump:2"}


def test_a_record_too_large_for_its_letter_comes_from_where_it_lies(
    tmp_path: Path, stack: EmbeddedStack, topic_prefix: str
) -> None:
    bootstrap = str(stack.endpoints.kafka_bootstrap)
    oven = Oven(tmp_path, bootstrap, topic_prefix, "max_message_bytes = 4194304")
    producer = Producer(producer_options(oven.kafka, "test"))
    large = b"x" * 3_000_000
    with oven.running():
        oven.feed(2, 1.0)
        head: list[tuple[str, Any]] = [(headers.SCHEMA, headers.RAW_OPCUA.header)]
        producer.produce(oven.raw, large, b"oven/1", headers=head, timestamp=T0 // 10**6)
        assert producer.flush(20) == 0
        oven.taken(1)
    letters = read_letters(oven.kafka, "oven")
    assert [(each.stripped, each.dead.value) for each in letters] == [(True, None)]
    (letter,) = whole(oven.kafka, letters)
    assert (letter.dead.value, letter.dead.key) == (large, b"oven/1")


def test_a_send_that_fails_leaves_no_transaction_open(oven: Oven) -> None:
    with oven.running():
        oven.feed(2, 1.0, _cut)
    (letter,) = read_letters(oven.kafka, "oven")
    large = Mend(payload=b"x" * (5 * oven.kafka.max_message_bytes))(letter)

    class AtOnce(Redriver):
        def _put(self, *args: Any, **more: Any) -> None:
            super()._put(*args, **more)
            self._producer.flush(20)  # Kafka has it before the next one fails

    with (
        pytest.raises(TransportError, match="nothing was sent"),
        AtOnce(oven.kafka, "oven") as redriver,
    ):
        redriver.send([letter, large])
    producer = Producer(producer_options(oven.kafka, "test"))
    producer.produce(oven.raw, b"behind it", b"oven/1")
    assert producer.flush(20) == 0
    found = [message.value() for message in committed_records(oven.kafka, oven.raw, "test")]
    assert (len(found), found[-1]) == (2, b"behind it")


def test_what_a_connector_could_not_land_is_sent_to_its_topic_for_everybody(
    oven: Oven, plantstream: Run
) -> None:
    file = oven.settings.file
    file.write_text(
        f"{file.read_text()}\n[connectors.plc]\n"
        'kind = "opcua"\nendpoint = "opc.tcp://plc.example:4840"\n'
        'items = [{ node = "ns=2;s=top", asset = "oven/1", tag = "top" }]\n'
    )
    with oven.running():
        oven.feed(2, 1.0)
        (fed,) = committed_records(oven.kafka, oven.raw, "test")
        head = {**dict(fed.headers()), headers.EVENT_ID: b"plc:1:9"}
        value = fed.value().replace(str(T0 + 2 * S).encode(), str(T0 + 4 * S).encode())
        lost = DeadLetter(
            "connect/plc", 0, "land", "too-large", "no", oven.raw, -1, 17, T0 // 10**6, b"oven/1",
            value, head,
        )  # fmt: skip
        cut = dataclasses.replace(
            lost, offset=18, value=None, error="no (too large to be kept here: the first 1)"
        )
        producer = Producer(producer_options(oven.kafka, "test"))
        for each in (lost, cut):
            producer.produce(oven.kafka.topics.dead_letters, deadletter.encode(each), b"oven/1")
        assert producer.flush(20) == 0

        listed = json.loads(plantstream("redrive", "connect/plc", "--json").stdout)
        assert [each["letter"] for each in listed] == [f"{oven.raw}:-1:17", f"{oven.raw}:-1:18"]
        shown = plantstream("redrive", "connect/plc", f"{oven.raw}:-1:18", "--show")
        assert "payload    none" in shown.stdout
        for words in (["--send"], ["--send", "--dry-run"]):
            refused = plantstream("redrive", "connect/plc", *words)
            assert refused.returncode == 2
            assert "holds only its first bytes: give its payload" in refused.stderr
        sent = plantstream("redrive", "connect/plc", f"{oven.raw}:-1:17", "--send")
        assert sent.returncode == 0, sent.stderr
        oven.taken(1)
        oven.feed(200, 0.0)
        assert oven.rows(1)[0] == (0.0, 2, 1.0)
    unknown = plantstream("redrive", "connect/plx")
    assert (unknown.returncode, "connector" in unknown.stderr) == (2, True)
    (again,) = [
        dict(message.headers())
        for message in committed_records(oven.kafka, oven.raw, "test")
        if headers.REDRIVES in dict(message.headers())
    ]
    assert headers.REDRIVE_FOR not in again
    assert again[headers.REDRIVE_OF] == f"{oven.raw}:-1:17".encode()
