"""Runs one simulator in this process: ``python -m connectors.simulators.run CONFIG.json``.

Prints one JSON line when it listens, ``{"ready": true, "endpoint": ...}``, and one at the end,
``{"finished": true, ...}`` with the counts. Ends on SIGTERM and SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import TypeAdapter, ValidationError

from connectors.simulators.config import (
    ModbusSimulator,
    MqttSimulator,
    OpcUaSimulator,
    Simulator,
    Trace,
    dump,
)
from connectors.simulators.control import listen_stdin, listen_tcp
from connectors.simulators.journal import Journal
from connectors.simulators.player import AnySimulator, Player, Speaker
from connectors.simulators.trace import read_trace

Control = Literal["none", "stdin", "tcp"]
Say = Callable[..., None]
_ADAPTER: TypeAdapter[AnySimulator] = TypeAdapter(Simulator)


def parse(data: object) -> AnySimulator:
    """The simulator of JSON or TOML values. Raises ValueError naming field, value and remedy."""
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        lines = []
        for found in error.errors():
            field = ".".join(str(part) for part in found["loc"])
            lines.append(f"{field}: {found['msg']}, not {found['input']!r}")
        raise ValueError("\n".join(lines)) from None


def with_trace(simulator: AnySimulator, trace: Trace, **fields: Any) -> AnySimulator:
    """The simulator playing a recording; its asset's signals, if any, give way to it.

    ``fields`` override others, such as ``exit_at_end=True, journal=...``. Raises ValueError.
    """
    values = dump(simulator)
    for asset in values["assets"]:
        if asset["name"] == trace.asset:
            asset.update(tags={}, rows=None)
            if "fields" in asset:
                asset["fields"] = {}
    values["trace"] = trace.model_dump(mode="json")
    return parse({**values, **fields})


def _speaker(simulator: AnySimulator, journal: Journal, trace_tags: list[str]) -> Speaker:
    # each protocol's library is loaded only by those that speak it: asyncua alone takes seconds
    match simulator:
        case OpcUaSimulator():
            from connectors.simulators.opcua import OpcUaSpeaker

            return OpcUaSpeaker(simulator, journal, trace_tags)
        case ModbusSimulator():
            from connectors.simulators.modbus import ModbusSpeaker

            return ModbusSpeaker(simulator, journal, trace_tags)
        case MqttSimulator():
            from connectors.simulators.mqtt import MqttSpeaker

            return MqttSpeaker(simulator, journal, trace_tags)


def _say(**line: Any) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(line), flush=True)


async def play(
    simulator: AnySimulator,
    control: Control,
    *,
    say: Say = _say,
    began: Callable[[Player], None] = lambda _: None,
) -> None:
    """Run until the end. Raises OSError and ValueError for what keeps it from starting.

    ``say`` is told what is printed otherwise; ``began`` gets the player before it starts.
    """
    recording = read_trace(simulator.trace) if simulator.trace is not None else None
    with Journal(simulator.journal) as journal:
        speaker = _speaker(simulator, journal, recording.tags if recording else [])
        player = Player(simulator, speaker, recording)
        began(player)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # only the main thread can take signals
            with contextlib.suppress(RuntimeError, ValueError):
                loop.add_signal_handler(number, player.stopped.set)
        try:
            await _serve(simulator, speaker, player, control, say)
        finally:
            await speaker.stop()
            status = player.status()
            journal.close(rows=status["rows"], overrun=status["overrun"], done=status["done"])
        say(finished=True, **status)


async def _serve(
    simulator: AnySimulator, speaker: Speaker, player: Player, control: Control, say: Say
) -> None:
    stopped = asyncio.create_task(player.stopped.wait())
    start = asyncio.create_task(speaker.start())
    await asyncio.wait([start, stopped], return_when=asyncio.FIRST_COMPLETED)
    if not start.done():
        start.cancel()
        return
    ready: dict[str, Any] = {"endpoint": start.result(), "name": simulator.name}
    server, commands = None, None
    if control == "tcp":
        server, ready["control"] = await listen_tcp(player.command)
    elif control == "stdin":
        commands = asyncio.create_task(listen_stdin(player.command))
    say(ready=True, kind=simulator.kind, **ready)
    try:
        await player.run()
    finally:
        stopped.cancel()
        if server is not None:
            server.close()
        if commands is not None:
            commands.cancel()


def run(
    simulator: AnySimulator,
    *,
    control: Control | None = None,
    say: Say = _say,
    began: Callable[[Player], None] = lambda _: None,
) -> int:
    """Run a simulator until it is stopped; 0, or 1 after saying on stderr what failed.

    For ``say`` and ``began`` see `play`.
    """
    failures: list[BaseException] = []
    try:
        asyncio.run(play(simulator, control or simulator.control, say=say, began=began))
    except* (OSError, ValueError) as group:
        failures.extend(_leaves(group))
    for error in failures:
        print(f"simulator {simulator.name or simulator.kind}: {error}", file=sys.stderr)
    return 1 if failures else 0


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def main(
    config: Annotated[str, typer.Argument(help="JSON file of a simulator, or - for stdin.")],
    control: Annotated[str, typer.Option(help="Commands from: none, stdin or tcp.")] = "",
) -> None:
    """Run the simulator that a JSON file describes."""
    try:
        text = sys.stdin.read() if config == "-" else Path(config).read_text(encoding="utf-8")
        values = json.loads(text)
        if control:
            values["control"] = control
        simulator = parse(values)
    except (OSError, ValueError) as error:
        print(f"{config}: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    raise typer.Exit(run(simulator))


if __name__ == "__main__":
    typer.run(main)
