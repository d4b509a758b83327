"""Simulated devices from the configuration or from a recording, with their progress shown."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.observe import announced, configure
from app.settings import Settings, SettingsError, resolve
from app.settings.problems import explain, unknown
from connectors.simulators.config import Simulator, Trace, dump
from connectors.simulators.player import AnySimulator, Player
from connectors.simulators.run import run
from connectors.simulators.trace import Recording, read_trace
from models.errors import ConfigError, PlantstreamError

PROTOCOLS = ("opcua", "modbus", "mqtt")
_EVERY_S = 5.0


def chosen(
    settings: Settings, name: str, trace: Mapping[str, Any], over: Mapping[str, Any]
) -> AnySimulator:
    """A simulator by name, or a new one of a protocol for a recording; ``over`` goes over it.

    Raises SettingsError that names the option.
    """
    site = settings.site
    if name in site.simulators:
        values = dump(site.simulators[name])
        given = site.simulators[name].model_fields_set
        values = {key: value for key, value in values.items() if key in given}
        if trace:
            _give_way(values, str(trace["asset"]))
    elif name in PROTOCOLS:
        if not trace:
            raise _bad(f"simulating {name} needs a recording: --trace FILE --asset NAME", "")
        values = {"kind": name, "name": name}
    else:
        raise _bad(unknown(name, [*site.simulators, *PROTOCOLS], "simulator"), "")
    if trace:
        if not trace["asset"]:
            raise _bad("--trace needs --asset NAME", "")
        values["trace"] = dict(trace)
    try:
        adapter: TypeAdapter[AnySimulator] = TypeAdapter(Simulator)
        return adapter.validate_python({**values, **over})
    except ValidationError as error:
        raise SettingsError(explain(error, Simulator, lambda _: f"simulate {name}")) from None


def run_simulator(settings: Settings, simulator: AnySimulator) -> int:
    """Run it until it is stopped or through; its exit code.

    Raises TraceError, and NotRunning where there is no broker to speak to.
    """
    simulator = resolve.at_site(settings, simulator)
    configure(settings.site.log, process=f"simulator-{simulator.name}")
    rows = 0 if simulator.trace is None else int(recording(simulator.trace).t.size)
    with ExitStack() as stack:
        began = stack.enter_context(_progress(rows))

        def say(**line: Any) -> None:
            if line.get("ready"):
                endpoint = line["endpoint"]
                print(f"{simulator.kind} simulator {simulator.name}: {endpoint}", flush=True)
                stack.enter_context(
                    announced(
                        settings.data_dir, "simulator", simulator.name, endpoint=str(endpoint)
                    )
                )
            if line.get("finished"):
                print(
                    f"{simulator.name}: {line['rows']} rows, {line['samples']} samples sent,"
                    f" {line['overrun']} rows overrun",
                    flush=True,
                )

        return run(simulator, say=say, began=began)


def snippet_of(simulator: AnySimulator) -> str:
    """The configuration with which a connector reads its recording, as TOML. Raises TraceError."""
    from app.plant.snippet import snippet

    assert simulator.trace is not None
    try:
        return snippet(simulator, recording(simulator.trace))
    except ValueError as error:
        raise TraceError(str(error)) from None


def recording(trace: Trace) -> Recording:
    """The rows of a file. Raises TraceError."""
    try:
        return read_trace(trace)
    except OSError as error:
        raise TraceError(f"{trace.path}: {error.strerror or error}") from None
    except ValueError as error:
        raise TraceError(str(error)) from None


class TraceError(PlantstreamError):
    """A recording that cannot be played."""

    exit_code = 2


class _Began:
    """Follows the player, once there is one."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.player: Player | None = None

    def __call__(self, player: Player) -> None:
        self.player = player

    @property
    def done(self) -> int:
        return int(self.player.status()["rows"]) if self.player is not None else 0


@contextmanager
def _progress(rows: int) -> Iterator[_Began]:
    """Shows how far a recording is: a bar on a terminal, else a line every few seconds."""
    began, over = _Began(rows), threading.Event()
    if not rows:
        yield began
        return
    show = _bar if sys.stderr.isatty() else _lines
    thread = threading.Thread(target=show, args=(began, over), name="progress", daemon=True)
    thread.start()
    try:
        yield began
    finally:
        over.set()
        thread.join(2.0)


def _bar(began: _Began, over: threading.Event) -> None:
    columns = (
        TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True)
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("rows", total=began.rows)
        while not over.wait(0.2):
            progress.update(task, completed=began.done)
        progress.update(task, completed=began.done)


def _lines(began: _Began, over: threading.Event) -> None:
    while not over.wait(_EVERY_S):
        print(f"{began.done} of {began.rows} rows", file=sys.stderr, flush=True)


def _give_way(values: dict[str, Any], asset: str) -> None:
    """The signals of the asset that is played give way to the recording."""
    for each in values.get("assets", ()):
        if each["name"] == asset:
            each.update(tags={}, rows=None)
            if "fields" in each:
                each["fields"] = {}


def _bad(message: str, field: str) -> ConfigError:
    return ConfigError(message, file="simulate", field=field)
