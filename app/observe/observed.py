"""What every process begins with: logs, metrics, health, and a line in the run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.observe.health import Health
from app.observe.logging import configure
from app.observe.metrics import Metrics
from app.observe.processes import announced
from app.observe.server import ObserveServer, Pages
from app.observe.settings import LogSettings, MetricsSettings
from models.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Observed:
    """Handles of a process that is watched."""

    health: Health
    metrics: Metrics
    #: Port of its pages; None where it serves none.
    port: int | None
    #: Further pages, by name.
    pages: Pages = field(default_factory=dict)


@contextmanager
def observed(
    kind: str,
    name: str,
    *,
    data_dir: Path,
    log: LogSettings | None = None,
    metrics: MetricsSettings | None = None,
) -> Iterator[Observed]:
    """Configure logs, serve health and metrics, and announce the process while the block runs.

    Raises ConfigError where the port of ``metrics`` cannot be had.
    """
    configure(log, process=f"{kind}-{name}" if name else kind)
    settings = metrics or MetricsSettings()
    health, numbers = Health(), Metrics(kind, name)
    pages: Pages = {}
    with ExitStack() as stack:
        port: int | None = None
        if settings.enabled:
            try:
                server = ObserveServer(health, numbers, settings.host, settings.port, pages)
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on {settings.host}: {error.strerror or error}",
                    field="metrics.port",
                    value=settings.port,
                ) from error
            stack.callback(server.close)
            port = server.port
        stack.enter_context(announced(data_dir, kind, name, port=port, host=settings.host))
        yield Observed(health, numbers, port, pages)
