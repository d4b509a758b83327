"""Commands while a simulator runs: JSON lines, each answered by one JSON line.

``{"do": "fault", "asset", "tag", "kind", "for", "at", "size"}``, ``{"do": "pause"}``,
``{"do": "resume"}``, ``{"do": "status"}``, ``{"do": "stop"}``. The answer is ``{"ok": true, ...}``
or ``{"ok": false, "error": ...}``. Over stdin the answers go to stdout.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

Command = Callable[[dict[str, Any]], dict[str, Any]]


def answer(raw: bytes, command: Command) -> dict[str, Any]:
    """Carry out one line."""
    try:
        message = json.loads(raw)
        if not isinstance(message, dict):
            raise ValueError("a command is a JSON object with a field 'do'")
        return command(message)
    except ValueError as error:
        return {"ok": False, "error": str(error)}


async def listen_tcp(command: Command) -> tuple[asyncio.Server, str]:
    """Take commands on a free loopback port; the server and its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while raw := await reader.readline():
                writer.write(json.dumps(answer(raw, command)).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    return server, f"{host}:{port}"


async def listen_stdin(command: Command) -> None:
    """Take commands from stdin until it ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while raw := await reader.readline():
        if raw.strip():
            print(json.dumps(answer(raw, command)), flush=True)
