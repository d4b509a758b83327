"""A whole plant under one supervisor: embedded stack, simulators, connectors, workers, sinks."""

from __future__ import annotations

import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import app
from app.embedded import EmbeddedStack
from app.embedded.ports import find_free
from app.observe.processes import running
from app.plant.status import Status, gather
from app.processes import Command, Event, NotReadyError, Supervisor
from app.settings import ALL, EMBEDDED, Settings, load
from models.errors import PlantstreamError

Progress = Callable[[str], None]
_READY_S = 90.0
_PAGE_S = 2.0


class PlantError(PlantstreamError):
    """A process of the plant did not come up."""


class Plant:
    """Everything that a site's configuration names, in child processes that end with this one.

    A context manager stops it. Services of the embedded stack run only where the configuration
    says 'embedded'; topologies and connectors that are switched off do not run.
    """

    def __init__(
        self,
        file: Path | str | None = None,
        overrides: Sequence[str] = (),
        *,
        fresh: bool = False,
        simulators: bool = True,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Reads and checks the configuration; raises SettingsError. Nothing is started.

        ``fresh`` deletes everything in the data folder at `start`. Without ``simulators`` the
        connectors speak to the devices of the configuration.
        """
        self._file = None if file is None else Path(file)
        self._overrides = tuple(overrides)
        self._fresh, self._on_event = fresh, on_event
        self.settings: Settings = load(self._file, self._overrides, check=ALL)
        self._with_simulators = simulators
        self._stack: EmbeddedStack | None = None
        self._supervisor: Supervisor | None = None
        self._ports: dict[str, int] = {}

    def __enter__(self) -> Plant:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def simulators(self) -> list[str]:
        """All simulators of the configuration."""
        return list(self.settings.site.simulators) if self._with_simulators else []

    @property
    def connectors(self) -> list[str]:
        """Connectors that are not switched off."""
        return [name for name, each in self.settings.site.connectors.items() if each.enabled]

    @property
    def processes(self) -> list[str]:
        """Names of all child processes that should run, the stack's left out."""
        return [command.name for command in (*self._devices(), *self._rest(), *self._connect())]

    def start(
        self, progress: Progress = lambda _: None, stop: threading.Event | None = None
    ) -> None:
        """Start everything and wait until all of it is ready; ``stop`` ends the wait.

        Raises StackError (such as where one runs already), PlantError. What was started before
        the error is stopped.
        """
        stop = stop or threading.Event()
        try:
            self._start_stack(progress)
            self._supervisor = Supervisor(self.settings.data_dir / "logs", on_event=self._on_event)
            # Workers take longest to start and need no device; connectors need the simulators.
            first = [*self._devices(), *self._rest()]
            progress(f"starting {len(first) + len(self._connect())} processes")
            for command in first:
                self._supervisor.start(command, wait=False)
            self._wait(self._devices(), progress, stop)
            for command in self._connect():
                self._supervisor.start(command, wait=False)
            self._wait([*self._rest(), *self._connect()], progress, stop)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, the stack last. Safe to repeat."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            with ThreadPoolExecutor(max_workers=16) as pool:
                list(pool.map(supervisor.stop, supervisor.running()))
            supervisor.stop()
        if self._stack is not None:
            self._stack.stop()
            self._stack = None

    def status(self) -> Status:
        """What runs, how far behind it is, and what was stored."""
        return gather(self.settings)

    def troubles(self) -> list[str]:
        """Processes that ended or were started again, one sentence each."""
        supervisor = self._supervisor
        if supervisor is None:
            return ["the plant does not run"]
        found = []
        alive = set(supervisor.running())
        for name in self.processes:
            codes = supervisor.exit_codes(name)
            if codes or name not in alive:
                last = supervisor.log_tail(name).splitlines()[-1:] or [""]
                code = ", ".join(map(str, codes)) or "?"
                again = f"started again {supervisor.restarts(name)} times"
                found.append(f"{name} ended with code {code}, {again}: {last[0]}")
        return found

    def _start_stack(self, progress: Progress) -> None:
        site = self.settings.site
        kafka = site.kafka.bootstrap == EMBEDDED
        store = site.store.uri is None and site.store.uri_file is None
        mqtt = site.mqtt.broker == EMBEDDED
        if kafka or store or mqtt:
            stack = EmbeddedStack(
                self.settings.data_dir, kafka=kafka, store=store, mqtt=mqtt, fresh=self._fresh
            )
            stack.start(progress)
            self._stack = stack

    def _wait(
        self, commands: Sequence[Command], progress: Progress, stop: threading.Event
    ) -> None:
        assert self._supervisor is not None
        for command in commands:
            if stop.is_set():
                return
            try:
                self._supervisor.wait_ready(command.name)
            except NotReadyError as error:
                raise PlantError(str(error)) from None
            progress(f"{command.name} is ready")

    def _devices(self) -> list[Command]:
        """Simulators, each on a port that stays the same when it is started again."""
        commands = []
        for name in self.simulators:
            words = ["simulate", name]
            if self.settings.site.simulators[name].kind != "mqtt":
                port = self._ports.setdefault(name, find_free(self._ports.values()))
                words += ["--port", str(port)]
            commands.append(self._command(f"simulator-{name}", words))
        return commands

    def _connect(self) -> list[Command]:
        names = self.connectors
        return [self._command("connect", ["connect", *names])] if names else []

    def _rest(self) -> list[Command]:
        commands = []
        for name in self.settings.enabled():
            for number in range(self.settings.entry(name).workers):
                words = ["worker", name, "--instance", str(number)]
                commands.append(self._command(f"worker-{name}-{number}", words))
        commands += [
            self._command(f"sink-{name}", ["sink", name]) for name in self.settings.enabled()
        ]
        commands.append(self._command("watchdog", ["watchdog"]))
        return commands

    def _command(self, name: str, words: list[str]) -> Command:
        file = [] if self._file is None else ["--config", str(self._file.absolute())]
        sets = [part for text in self._overrides for part in ("--set", text)]
        root = str(Path(app.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        return Command(
            name,
            [sys.executable, "-m", "app", *file, *sets, *words],
            # Several processes on two cores: one thread each for what numpy does in parallel.
            env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            ready=lambda: self._is_ready(name),
            ready_timeout_s=_READY_S,
            restart=True,
        )

    def _is_ready(self, name: str) -> bool:
        pid = self._supervisor.pid(name) if self._supervisor is not None else None
        for process in running(self.settings.data_dir):
            if process.pid == pid:
                url = process.url("ready")
                return url is None or _answers(url)
        return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_PAGE_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
