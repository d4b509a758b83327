"""Each process of a site from its configuration to its exit code."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType

from app.observe import Observed, observed
from app.processes.signals import set_in_handler
from app.settings import Settings, SettingsError, resolve
from app.settings.collisions import collisions
from models.errors import PlantstreamError

LOG = logging.getLogger("plantstream")


def run_connectors(settings: Settings, names: list[str]) -> int:
    """Connectors in this process, each in a thread of its own; the first that fails ends all.

    Raises SettingsError, NotRunning.
    """
    from app.shells.connector_runner import ConnectorStats, run_connector, watch

    kafka = resolve.kafka(settings)
    stop = threading.Event()
    codes: dict[str, int] = {}
    expected = _expected(settings)
    with _observed(settings, "connect", _joined(names)) as watched, stopping(stop):
        found = {name: resolve.connector(settings, name) for name in names}

        def run(name: str) -> None:
            entry, parameters = found[name]
            try:
                codes[name] = run_connector(
                    name,
                    entry.kind,
                    parameters,
                    kafka=kafka,
                    modbus_templates=settings.site.modbus_templates,
                    settings=settings.site.connector,
                    stats=stats[name],
                    stop=stop,
                    expected=expected.get(name, ()),
                )
            finally:
                stop.set()

        stats = {name: ConnectorStats(name, entry.kind) for name, (entry, _) in found.items()}
        threads = [threading.Thread(target=run, args=(name,), name=name) for name in names]
        for each in stats.values():
            watch(each, watched)
        for thread in threads:
            thread.start()
        # Waiting with a time-out lets signals in.
        while any(thread.is_alive() for thread in threads):
            stop.wait(0.5)
            for thread in threads:
                thread.join(0.05)
    return max((codes.get(name, 1) for name in names), default=0)


def _expected(settings: Settings) -> Mapping[str, Collection[str]]:
    """By connector, the assets of the catalogue that should be heard through it alone."""
    from app.shells.connector_runner import make_connector
    from app.shells.connector_runner.expected import expected_assets

    site = settings.site
    made = {}
    for name, entry in site.connectors.items():
        if not entry.enabled:
            continue
        try:
            _, parameters = settings.connector(name)
            made[name] = make_connector(
                name, entry.kind, parameters, modbus_templates=site.modbus_templates
            )
        except PlantstreamError as error:
            # its own process says so; it brings nothing, then
            LOG.debug("connector %s: %s", name, error)
    return expected_assets(site.catalogue, made)


def run_topology(
    settings: Settings,
    name: str,
    *,
    instance: str | None = None,
    show: bool = False,
    accept_reset: bool = False,
) -> int:
    """A worker. Raises SettingsError, NotRunning."""
    from app.plant.show import printed
    from app.shells.worker import WorkerStats, run_worker, watch

    topology, kafka = settings.topology(name), resolve.kafka(settings)
    stats, stop = WorkerStats(name), threading.Event()
    with (
        _observed(settings, "worker", name) as watched,
        watch(stats, watched),
        printed(settings, kafka, name) if show else nullcontext(),
    ):
        return run_worker(
            topology,
            kafka=kafka,
            data_dir=settings.data_dir,
            worker=settings.site.worker,
            knowledge=settings.site.knowledge,
            instance=instance,
            accept_reset=accept_reset,
            stop=stop,
            stats=stats,
        )


def run_store_sink(settings: Settings, name: str) -> int:
    """A sink process. Raises SettingsError, NotRunning."""
    from app.plant.sink_pages import watch
    from app.shells.sink import OutputSpec, SinkStats, run_sink

    topology = settings.topology(name)
    if shared := collisions(settings, name):
        raise SettingsError(shared)
    kafka, store = resolve.kafka(settings), resolve.store(settings)
    outputs = [OutputSpec(each.name, each.kind, each.retention) for each in topology.outputs]
    stats = SinkStats(name)
    with _observed(settings, "sink", name) as watched:
        watch(stats, kafka.group(f"sink-{name}"), watched)
        return run_sink(
            name,
            topology.version,
            outputs,
            kafka=kafka,
            store=store,
            sink=settings.site.sink,
            stats=stats,
        )


def run_watchdog(settings: Settings) -> int:
    """The watchdog; 1 where it ended by itself. Raises NotRunning."""
    from app.shells.connector_runner import Watchdog, WatchdogStats, watch_watchdog

    stop, stats = threading.Event(), WatchdogStats()
    kafka = resolve.kafka(settings)
    with _observed(settings, "watchdog", "") as watched, stopping(stop):
        watch_watchdog(stats, watched)
        thread = threading.Thread(target=Watchdog(kafka, stats).run, args=(stop,))
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
    return 0 if stop.is_set() else 1


def run_stack(settings: Settings, *, fresh: bool = False) -> None:
    """The embedded stack in the foreground. Raises StackError, such as where one runs already."""
    from app.embedded import EmbeddedStack

    stop = threading.Event()
    stack = EmbeddedStack(settings.data_dir, fresh=fresh)
    with stopping(stop):
        try:
            endpoints = stack.start(lambda line: print(line, flush=True))
            with _observed(settings, "up", ""):
                print(f"Kafka    {endpoints.kafka_bootstrap}")
                print(f"MongoDB  {endpoints.mongodb_uri}")
                print(f"MQTT     {endpoints.mqtt_host}:{endpoints.mqtt_port}")
                print(f"Data in {stack.data_dir}; Ctrl-C stops everything.", flush=True)
                while not stop.wait(0.5):
                    pass
        finally:
            stack.stop()


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """SIGTERM, SIGHUP and SIGINT set ``stop``; a second SIGINT interrupts at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        set_in_handler(stop)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _observed(settings: Settings, kind: str, name: str) -> AbstractContextManager[Observed]:
    site = settings.site
    return observed(kind, name, data_dir=settings.data_dir, log=site.log, metrics=site.metrics)


def _joined(names: list[str]) -> str:
    text = ",".join(names)
    return text if len(text) <= 60 else f"{text[:50]},+{len(names)}"

