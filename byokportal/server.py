"""Run the web server: `python -m byokportal.server`, uvicorn with the bounds that it lacks.

uvicorn takes a request head of any length and waits for the end of a request for ever; both are bounded here, because memory and
connections of the process that gives out keys are not the caller's to use up. (Bodies are bounded by `byokportal.bodies`.) It believes `X-Forwarded-*` from loopback unless told otherwise;
whether there is a proxy is for Django to know (`BEHIND_PROXY`).
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 32 * 1024  # bytes of request line and headers
REQUEST_SECONDS = (
    20.0  # until a request is here in full, from its first byte; the first one from the connection's first moment
)
KEEP_ALIVE = 75  # seconds that a connection is kept while nothing is asked: services call again and again
GRACEFUL = 20  # seconds that requests under way have when the server is told to stop


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_under_way = self._is_in_head = False  # a request, or its head, has begun and is not here in full
        self._head = 0  # bytes of it so far
        self._until: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        self._limit()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unlimit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head += len(data)
        super().data_received(data)
        if self._is_in_head and self._head > HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")
        elif self._is_under_way and self._until is None:
            self._limit()

    def on_message_begin(self) -> None:
        self._is_under_way, self._is_in_head, self._head = True, True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_under_way = False
        self._unlimit()
        super().on_message_complete()

    def _limit(self) -> None:
        self._until = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _unlimit(self) -> None:
        if self._until is not None:
            self._until.cancel()
            self._until = None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m byokportal.server", description="Run the web server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes; one for each core")
    given = parser.parse_args()
    uvicorn.run(
        "byokportal.asgi:application", host=given.host, port=given.port, workers=given.workers,
        http="byokportal.server:BoundedProtocol", loop="uvloop", ws="none", lifespan="off", interface="asgi3",
        log_config=None, log_level="warning", access_log=False, proxy_headers=False, server_header=False,
        timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=GRACEFUL,
    )  # fmt: skip


if __name__ == "__main__":
    main()
