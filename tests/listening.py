"""A web service on the loopback, for what is told to an address."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Address:
    """Notes what it is told.

    Attributes
    ----------
    told, keys : list
        Bodies that came, and their keys.
    statuses : list of int
        What it answers first; after that, that all is well.
    held : Event
        It answers nobody before this is set.
    """

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.statuses: list[int] = []
        self.held = threading.Event()
        self.held.set()
        address = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                address.held.wait(60)
                status = address.statuses.pop(0) if address.statuses else 204
                address.keys.append(self.headers["Idempotency-Key"])
                address.told.append(said)
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *said: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/done"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
