"""The embedded MQTT broker, as a command."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from app.embedded.ports import HOST
from app.processes import Command

_BROKER = Path(__file__).with_name("mqtt_broker.py")
_READY_TIMEOUT_S = 30.0

# MQTT 3.1.1, sections 3.1 and 3.2: CONNECT with a clean session, no client id; CONNACK, accepted.
_CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"
_CONNACK = b"\x20\x02\x00\x00"
_DISCONNECT = b"\xe0\x00"


def command(*, port: int) -> Command:
    """The command that runs the broker until it is stopped."""
    return Command(
        "mqtt",
        [sys.executable, "-I", str(_BROKER), HOST, str(port)],
        ready=lambda: answers(port),
        ready_timeout_s=_READY_TIMEOUT_S,
    )


def answers(port: int) -> bool:
    """Whether the broker accepts a client."""
    try:
        with socket.create_connection((HOST, port), timeout=2.0) as line:
            line.sendall(_CONNECT)
            answer = b""
            while len(answer) < len(_CONNACK) and (part := line.recv(4)):
                answer += part
            line.sendall(_DISCONNECT)
            return answer == _CONNACK
    except OSError:
        return False
