"""Free TCP ports on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection

HOST = "127.0.0.1"

# Below the ranges from which Linux (32768-60999) and macOS (49152-65535) take the local ports of
# outgoing connections: there, a client that keeps calling a broker which is down for a moment can
# be given the broker's own port, and the broker cannot come back.
_FIRST, _LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def find_free(taken: Collection[int] = ()) -> int:
    """A free port of loopback, not in ``taken``. Raises `OSError` when none is found."""
    for port in random.sample(range(_FIRST, _LAST), 500):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port found between {_FIRST} and {_LAST} on {HOST}")
