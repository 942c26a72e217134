"""A receiver of webhooks for tests: it checks each signature with the library that our documentation names."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver:
    """Answers by a function of the test, 200 without one; keeps what it took.

    Attributes:
        secret: with which it checks what comes; without one it checks nothing.
        status: what it answers to the request of that number, from 0.
        took: id and body of what it answered with 2xx.
        came: the same of all that came, whatever it answered.
    """

    def __init__(self, settings: Any) -> None:
        self.secret, self.took, self.heard = "", list[tuple[str, Any]](), list[dict[str, str]]()
        self.came = list[tuple[str, bytes]]()
        self.status: Callable[[int], int] = lambda number: 200
        self.headers: dict[str, str] = {}
        self.text, self.seconds, self.refused = b"ok", 0.0, 0
        self._lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer._answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads, self._server.block_on_close = True, False
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        settings.OUTBOUND_ALLOW = [*settings.OUTBOUND_ALLOW, self.origin]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            number = len(self.heard)
            self.heard.append({**headers, "path": request.path})
            self.came.append((headers.get("webhook-id", ""), body))
        if self.seconds:
            time.sleep(self.seconds)
        status = self.status(number)
        if self.secret:
            try:
                Webhook(self.secret).verify(body, headers)
            except WebhookVerificationError:
                self.refused, status = self.refused + 1, 401
        if 200 <= status < 300:
            with self._lock:
                self.took.append((headers.get("webhook-id", ""), json.loads(body)))
        request.send_response(status)
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(self.text)))
        request.end_headers()
        request.wfile.write(self.text)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
