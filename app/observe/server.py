"""One small HTTP server a process: /live, /ready, /metrics, and what its process adds."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.observe.health import Health
from app.observe.metrics import Metrics

#: What a process adds: a page by its name gives status and content, from the query's fields.
Pages = dict[str, Callable[[Mapping[str, str]], tuple[int, dict[str, Any]]]]

_JSON = "application/json"
_REUSE = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


class ObserveServer:
    """Serves health and metrics from threads of its own until closed; a context manager.

    Raises OSError where the port is taken.
    """

    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        host: str = "127.0.0.1",
        port: int = 0,
        pages: Pages | None = None,
    ) -> None:
        handler = _handler(health, metrics, {} if pages is None else pages)
        self._server = _Server((host, port), handler)
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


def _handler(
    health: Health, metrics: Metrics, pages: Pages
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            page = asked.path.rstrip("/")
            if page == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, metrics.text())
            elif page == "/ready":
                report = health.report()
                self._json(200 if report["ready"] else 503, report)
            elif page == "/live":
                live = health.live
                self._json(200 if live else 503, {"live": live, "problems": health.problems()})
            elif (more := pages.get(page.lstrip("/"))) is not None:
                try:
                    self._json(*more(dict(parse_qsl(asked.query))))
                except Exception as error:
                    self._json(500, {"error": f"{type(error).__name__}: {error}"})
            else:
                there = ", ".join(f"/{name}" for name in ("live", "ready", "metrics", *pages))
                self._json(404, {"error": f"there are {there}"})

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
