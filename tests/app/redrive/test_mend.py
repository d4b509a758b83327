"""Mending payloads, and showing them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.redrive import Letter, Mend, show_payload
from app.redrive.mend import change, changed
from app.redrive.send import redriven_headers
from models.errors import ConfigError
from models.records.deadletter import DeadLetter


def _letter(value: bytes | None, **headers: bytes) -> Letter:
    return Letter(
        DeadLetter("t", 1, "decode", "malformed", "no", "raw.mqtt", 0, 7, 5, b"k", value, headers)
    )


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("b[1].v=12.5", {"a": 1, "b": [0, {"v": 12.5}]}),
        ("a=text", {"a": "text", "b": [0, {"v": 2}]}),
        ('a="12"', {"a": "12", "b": [0, {"v": 2}]}),
        ("b[1].new=null", {"a": 1, "b": [0, {"v": 2, "new": None}]}),
        ("a={}", {"a": {}, "b": [0, {"v": 2}]}),
    ],
)
def test_a_value_is_set_by_its_path(text: str, after: Any) -> None:
    letter = _letter(json.dumps({"a": 1, "b": [0, {"v": 2}]}).encode(), schema=b"x/1")
    mended = Mend(changes=(change(text),), headers={"schema": b"raw-mqtt/1"})(letter)
    assert json.loads(mended.dead.value or b"") == after
    assert mended.dead.headers == {"schema": b"raw-mqtt/1"}
    assert letter.dead.headers == {"schema": b"x/1"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("c.d", "'c' is not in the payload; there are a, b"),
        ("b[7]", "7 is not in the payload; there are 1 entries"),
        ("a.x", "'x' is not in the payload; there is 1"),
        ("a..b", "is no path"),
        ("b[x]", "is no path"),
    ],
)
def test_a_path_that_leads_nowhere_says_how_far_it_leads(path: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"--change: .*{said.replace('[', '.')}"):
        changed({"a": 1, "b": [0]}, path, 3)


@pytest.mark.parametrize("text", ["novalue", "=3"])
def test_a_change_needs_path_and_value(text: str) -> None:
    with pytest.raises(ConfigError, match="must be PATH=VALUE"):
        change(text)


def test_a_connectors_letter_without_its_payload_is_sent_on_only_with_one() -> None:
    dead = DeadLetter(
        "connect/loggers", 0, "land", "too-large", "no (too large to be kept here: ...)",
        "raw.mqtt", -1, 7, 5, b"k", None, {"first-bytes": b"abc", "event-id": b"loggers:1:2"},
    )  # fmt: skip
    letter = Letter(dead)
    with pytest.raises(ConfigError, match=r"raw.mqtt:-1:7: .* only its first bytes: .*--replace"):
        Mend(headers={"schema": b"raw-mqtt/1"})(letter)
    mended = Mend(payload=b"{}")(letter)
    mended.check_whole()
    # It never was on its topic: nobody has taken it before, and all are to take it now.
    assert dict(redriven_headers(mended)) == {
        "event-id": b"loggers:1:2",
        "redrives": b"1",
        "redrive-of": b"raw.mqtt:-1:7",
    }


def test_payloads_are_shown_as_what_they_are() -> None:
    assert show_payload(b'{"a":1}') == ("json", '{\n  "a": 1\n}')
    assert show_payload(b"18,5 \xc2\xb0C") == ("text", "18,5 °C")
    assert show_payload(None) == ("none", "")
    kind, lines = show_payload(b"\x00\xffAB" * 5)
    assert kind == "hex"
    assert lines.splitlines()[0].endswith("..AB..AB..AB..AB")
    assert lines.splitlines()[1].startswith("00000010  00 ff 41 42 ")
