"""Logs as a person or a log store sees them."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from app.observe import LogSettings, configure, get_logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """pytest's own handlers come back after each test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def _lines(settings: LogSettings) -> io.StringIO:
    stream = io.StringIO()
    configure(settings, process="worker-glass", stream=stream)
    return stream


def test_json_lines_carry_fields_logger_level_process_and_time() -> None:
    stream = _lines(LogSettings(format="json"))
    get_logger("plantstream.test").info("assigned", topic="raw.opcua", partitions=[0, 1])
    line = json.loads(stream.getvalue())
    assert line["message"] == "assigned"
    assert line["topic"] == "raw.opcua"
    assert line["partitions"] == [0, 1]
    assert line["level"] == "info"
    assert line["logger"] == "plantstream.test"
    assert line["process"] == "worker-glass"
    assert line["timestamp"].endswith("Z")


def test_lines_of_plain_logging_come_out_the_same_way() -> None:
    stream = _lines(LogSettings(format="json"))
    logging.getLogger("plantstream.worker").warning("behind by %d", 7, extra={"topic": "raw.mqtt"})
    line = json.loads(stream.getvalue())
    assert (line["message"], line["level"], line["topic"]) == ("behind by 7", "warning", "raw.mqtt")


def test_console_lines_are_one_line_each() -> None:
    stream = _lines(LogSettings())
    get_logger("plantstream.test").info("assigned", topic="raw.opcua")
    (line,) = stream.getvalue().splitlines()
    assert "assigned" in line
    assert "topic=raw.opcua" in line


def test_levels_hold_for_us_and_for_libraries() -> None:
    stream = _lines(LogSettings(format="json", level="info", levels={"asyncua.client": "info"}))
    logging.getLogger("plantstream.x").debug("hidden")
    logging.getLogger("asyncua.server").info("hidden")
    logging.getLogger("asyncua.client").info("shown 1")
    logging.getLogger("asyncua.server").warning("shown 2")
    logging.getLogger("plantstream.x").info("shown 3")
    shown = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert shown == ["shown 1", "shown 2", "shown 3"]


def test_tracebacks_are_part_of_their_line() -> None:
    stream = _lines(LogSettings(format="json"))
    try:
        raise ValueError("no such register")
    except ValueError:
        logging.getLogger("plantstream.x").exception("poll failed")
    (line,) = stream.getvalue().splitlines()
    assert "no such register" in json.loads(line)["exception"]


def test_warnings_of_python_are_lines_too() -> None:
    stream = _lines(LogSettings(format="json"))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old option", UserWarning, stacklevel=1)
    assert "old option" in json.loads(stream.getvalue())["message"]


@pytest.mark.parametrize("kind", ["json", "console"])
def test_secrets_are_never_written(kind: str) -> None:
    stream = _lines(LogSettings(format=kind))  # type: ignore[arg-type]
    log = get_logger("plantstream.x")
    log.info("settings", password="hunter2", nested={"sasl.password": "hunter2"})
    log.info("connecting to mongodb://plant:hunter2@db.example:27017/?x=1")
    log.info("settings", uri=SecretStr("mongodb://plant:hunter2@db"))
    logging.getLogger("pymongo").warning("failed: {'password': 'hunter2', 'user': 'plant'}")
    logging.getLogger("plantstream.x").error("option sasl.password=hunter2 refused")
    try:
        raise ValueError("mqtt://user:hunter2@broker refused")
    except ValueError:
        log.exception("failed")
    written = stream.getvalue()
    assert "hunter2" not in written
    assert "db.example:27017" in written
    assert written.count("***") >= 5
