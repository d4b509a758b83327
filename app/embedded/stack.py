"""The embedded stack: Kafka, a MongoDB-wire store and an MQTT broker as children of this process.

For trying out and for tests. Everything lives under one data folder; see `app.embedded.datadir`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from app.embedded import kafka, mqtt, ports, store
from app.embedded.datadir import DataDir, Endpoints, ProcessId, Running, State, read_running
from app.embedded.errors import StackError
from app.embedded.kafka_jars import KAFKA_VERSION, kafka_classpath
from app.processes import ChildError, Command, NotReadyError, Supervisor

Progress = Callable[[str], None]
DEFAULT_HEAP_MB = 768
_PORTS = {"kafka": ("kafka", "kafka_controller"), "store": ("store",), "mqtt": ("mqtt",)}


def running_endpoints(data_dir: Path) -> Endpoints | None:
    """Where the stack of this folder listens, whichever process runs it; None if none does."""
    running = read_running(data_dir.expanduser().resolve())
    return running.endpoints if running else None


class EmbeddedStack:
    """Starts and stops the services; a context manager does both. Methods are thread-safe.

    ``fresh`` deletes everything in the data folder at `start`. Ports are chosen at the first
    start and remembered. ``kafka_heap_mb`` is Java's heap limit in MiB.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        kafka: bool = True,
        store: bool = True,
        mqtt: bool = True,
        fresh: bool = False,
        kafka_heap_mb: int = DEFAULT_HEAP_MB,
    ) -> None:
        wanted = {"store": store, "mqtt": mqtt, "kafka": kafka}
        self.services = tuple(name for name, want in wanted.items() if want)
        self._dir = DataDir(data_dir)
        self._fresh = fresh
        self._heap_mb = kafka_heap_mb
        self._lock = threading.RLock()
        self._supervisor: Supervisor | None = None
        self._commands: dict[str, Command] = {}
        self._endpoints: Endpoints | None = None

    def __enter__(self) -> EmbeddedStack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def data_dir(self) -> Path:
        """The folder of this stack, absolute."""
        return self._dir.path

    @property
    def endpoints(self) -> Endpoints:
        """Where the services listen. Raises `StackError` when the stack does not run."""
        if self._endpoints is None:
            raise StackError(f"the stack in {self.data_dir} is not started")
        return self._endpoints

    def start(self, progress: Progress = lambda _: None) -> Endpoints:
        """Start all services and wait until each answers a client of its protocol.

        Raises `StackError`: the folder is in use or not ours, its state is damaged, Kafka's files
        cannot be fetched, or a service does not come up (with the end of its log). Nothing is
        left running then.
        """
        with self._lock:
            if self._supervisor is not None:
                return self.endpoints
            self._dir.acquire(fresh=self._fresh)
            self._supervisor = Supervisor(self._dir.logs)
            try:
                self._start_all(progress)
            except (ChildError, NotReadyError, OSError) as error:
                self.stop()
                raise StackError(str(error)) from error
            except BaseException:
                self.stop()
                raise
            return self.endpoints

    def stop(self) -> None:
        """Stop all services in reverse order and give the folder back. Safe to repeat."""
        with self._lock:
            if self._supervisor is None:
                return
            try:
                self._supervisor.stop()
                self._dir.clear_running()  # not if interrupted: the next start waits for the rest
            finally:
                self._supervisor = None
                self._endpoints = None
                self._dir.release()

    def stop_service(self, name: str, *, kill: bool = False) -> None:
        """Stop one service, by SIGKILL if ``kill``; the others run on."""
        supervisor = self._running()
        self._known(name)
        (supervisor.kill if kill else supervisor.stop)(name)

    def start_service(self, name: str) -> None:
        """Start one service again, on the same port and data, and wait until it answers."""
        with self._lock:
            supervisor = self._running()
            try:
                supervisor.start(self._known(name))
            except (ChildError, NotReadyError) as error:
                raise StackError(str(error)) from error
            self._publish()

    def pid(self, name: str) -> int | None:
        """Process id of a service; None when it does not run."""
        self._known(name)
        return self._running().pid(name)

    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise StackError(f"the stack in {self.data_dir} is not started")
        return self._supervisor

    def _known(self, name: str) -> Command:
        if name not in self._commands:
            has = ", ".join(self.services)
            raise StackError(f"no service {name!r} in this stack; it has {has}")
        return self._commands[name]

    def _start_all(self, progress: Progress) -> None:
        assert self._supervisor is not None
        state = self._choose_ports(self._dir.read_state(), progress)
        self._commands = {name: self._command(name, state, progress) for name in self.services}
        self._dir.write_state(state)
        self._endpoints = _endpoints(self.services, state)
        for command in self._commands.values():
            progress(f"starting {_title(command.name)}")
            self._supervisor.start(command, wait=False)
            self._publish()
        for name in self._commands:
            self._supervisor.wait_ready(name)
            progress(f"{_title(name)} is ready")

    def _choose_ports(self, state: State, progress: Progress) -> State:
        chosen = dict(state.ports)
        for service in self.services:
            for name in _PORTS[service]:
                port = chosen.get(name)
                if port is None or not ports.is_free(port):
                    chosen[name] = ports.find_free(chosen.values())
                    if port is not None:
                        progress(f"port {port} is in use, {service} takes {chosen[name]}")
        return state.model_copy(update={"ports": chosen})

    def _command(self, name: str, state: State, progress: Progress) -> Command:
        folder = self.data_dir / name
        if name == "store":
            return store.command(folder, port=state.ports["store"])
        if name == "mqtt":
            return mqtt.command(port=state.ports["mqtt"])
        progress(f"resolving Apache Kafka {KAFKA_VERSION}")
        classpath = kafka_classpath(progress)
        state.kafka_cluster_id = (
            kafka.stored_cluster_id(folder) or state.kafka_cluster_id or kafka.new_cluster_id()
        )
        kafka.prepare(
            folder,
            port=state.ports["kafka"],
            controller_port=state.ports["kafka_controller"],
            cluster_id=state.kafka_cluster_id,
            classpath=classpath,
            progress=progress,
        )
        return kafka.command(
            folder, port=state.ports["kafka"], classpath=classpath, heap_mb=self._heap_mb
        )

    def _publish(self) -> None:
        """Say in the folder who runs the stack, for other processes and after a crash."""
        assert self._supervisor is not None
        owner = ProcessId.of(os.getpid())
        assert owner is not None
        pids = [self._supervisor.pid(name) for name in self._supervisor.running()]
        children = [child for pid in pids if pid and (child := ProcessId.of(pid))]
        self._dir.write_running(
            Running(owner=owner, endpoints=self.endpoints, children=children)
        )


def _title(name: str) -> str:
    return {"kafka": "Kafka", "store": "the document store", "mqtt": "the MQTT broker"}[name]


def _endpoints(services: tuple[str, ...], state: State) -> Endpoints:
    found = state.ports
    return Endpoints(
        kafka_bootstrap=f"{ports.HOST}:{found['kafka']}" if "kafka" in services else None,
        mongodb_uri=store.uri(found["store"]) if "store" in services else None,
        mqtt_host=ports.HOST if "mqtt" in services else None,
        mqtt_port=found["mqtt"] if "mqtt" in services else None,
    )
