"""One small HTTP server a process: /live, /ready and /metrics."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.observe.health import Health
from app.observe.metrics import Metrics

_JSON = "application/json"
_REUSE = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


class ObserveServer:
    """Serves health and metrics from threads of its own until closed; a context manager.

    Raises OSError where the port is taken.
    """

    def __init__(
        self, health: Health, metrics: Metrics, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._server = _Server((host, port), _handler(health, metrics))
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="observe", daemon=True
        )
        self._thread.start()

    def url(self, page: str = "ready") -> str:
        """Address of a page, from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{host}:{self.port}/{page}"

    def close(self) -> None:
        """Stop serving. Safe to repeat."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)

    def __enter__(self) -> ObserveServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def server_bind(self) -> None:
        # As socketserver does it; http.server asks DNS for our name besides, which may hang.
        self.socket.setsockopt(*_REUSE)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


def _handler(health: Health, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            page = self.path.split("?")[0].rstrip("/")
            if page == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, metrics.text())
            elif page == "/ready":
                report = health.report()
                self._json(200 if report["ready"] else 503, report)
            elif page == "/live":
                live = health.live
                self._json(200 if live else 503, {"live": live, "problems": health.problems()})
            else:
                self._json(404, {"error": "there are /live, /ready and /metrics"})

        def _json(self, status: int, content: dict[str, Any]) -> None:
            self._answer(status, _JSON, json.dumps(content).encode() + b"\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Scrapes are not worth a line."""

    return Handler
