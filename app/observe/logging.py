"""Logs: structlog over the standard library, so that libraries' lines come out the same way.

    configure(settings, process="worker-glass")
    log = get_logger("plantstream.worker")
    log.info("partitions assigned", topic="raw.opcua", partitions=[0, 1])

Plain ``logging.getLogger("plantstream.…")`` works as well. Nothing that looks like a secret is
written, whoever logs it.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import IO, Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.observe.settings import LogSettings

_SECRET_NAMES = re.compile(r"passw|secret|token|credential|private.?key|api.?key|^uri$", re.I)
#: The password of a URL, and ``password=…`` or ``'password': '…'`` in a sentence.
_SECRET_TEXT = (
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/@]+@", re.I), r"\1:***@"),
    (
        re.compile(
            r"(\b[\w.]*(?:password|passwd|secret|token)['\"]?\s*[=:]\s*['\"]?)[^\s'\",;}]+", re.I
        ),
        r"\1***",
    ),
)


def configure(
    settings: LogSettings | None = None, *, process: str = "", stream: IO[str] | None = None
) -> None:
    """Send every log line of this process to ``stream`` (stderr), as the site wants them.

    ``process`` is written with each line. May be called again; the last call counts.
    """
    settings = settings or LogSettings()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _named(process),
                *_rendering(settings, handler.stream),
            ],
        )
    )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    _set_levels(settings)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes fields: ``log.warning("away", server="…", seconds=3)``."""
    return structlog.stdlib.get_logger(name)


def redact(value: Any, name: str = "") -> Any:
    """The value without what looks like a secret, by its name or by its form."""
    if name and _SECRET_NAMES.search(name) and value not in (None, "", False, True):
        return "***"
    if isinstance(value, str):
        for pattern, shown in _SECRET_TEXT:
            value = pattern.sub(shown, value)
        return value
    if isinstance(value, dict):
        return {key: redact(entry, str(key)) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redact(entry) for entry in value]
    return value


def _redacted(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {name: redact(value, name) for name, value in event.items()}


def _named(process: str) -> Processor:
    def add(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if process:
            event.setdefault("process", process)
        return event

    return add


def _rendering(settings: LogSettings, stream: IO[str]) -> list[Processor]:
    if settings.format == "json":
        return [
            structlog.processors.format_exc_info,
            _redacted,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str),
        ]
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=0,
    )
    return [structlog.processors.format_exc_info, _redacted, console]


def _set_levels(settings: LogSettings) -> None:
    for name, logger in logging.Logger.manager.loggerDict.items():
        # What an earlier configuration set; loggers of libraries keep what they set themselves.
        if name.split(".")[0] == "plantstream" and isinstance(logger, logging.Logger):
            logger.setLevel(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("plantstream").setLevel(settings.level.upper())
    for name, level in settings.levels.items():
        logging.getLogger(name).setLevel(level.upper())
