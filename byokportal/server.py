"""Run the web server: `python -m byokportal.server`, uvicorn with the bounds that it lacks.

uvicorn takes a request of any length, waits for its end for ever, and waits for ever for a reader who reads nothing.
All that is bounded here, because memory, connections and threads of the process that gives out keys are not the
caller's to use up. It takes trailers for headers and names with `_` for their twins with `-`; both are dropped, because
with them a caller could say what only our proxy may say. It believes `X-Forwarded-*` from loopback unless told
otherwise; whether there is a proxy is for Django to know (`BEHIND_PROXY`).
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD = 32 * 1024  # bytes of address and headers, trailers included
REQUEST = 1024 * 1024  # bytes on the wire: more than any address of ours takes, in the smallest of chunks
# until a request is here in full, from its first byte; the first one from the connection's first moment
REQUEST_SECONDS = 20.0
READING_SECONDS = 20.0  # in which a caller has to read something of an answer that is waiting for him
KEEP_ALIVE = 75  # seconds that a connection is kept while nothing is asked: services call again and again
GRACEFUL = 20  # seconds that requests under way have when the server is told to stop
CONNECTIONS = 2_000  # of one process; what comes on top is a 503


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_complete = True  # the last thing that came was the end of a request
        self._is_in_head = False
        self._head = self._received = 0  # bytes of this request: of names and values, and on the wire
        self._until: asyncio.TimerHandle | None = None  # the request has to be here
        self._reading: asyncio.TimerHandle | None = None  # the caller has to read on

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        self._until = self.loop.call_later(REQUEST_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._until, self._reading):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_complete = False
        self._received += len(data)
        super().data_received(data)
        if self._is_complete or self.transport.is_closing():
            return
        if self._received > (HEAD if self._is_in_head else REQUEST):
            self.send_400_response("The request is too long.")
        elif self._until is None:
            self._until = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        super().resume_writing()

    # What the parser calls; a ValueError becomes a 400 and ends the connection.

    def on_message_begin(self) -> None:
        self._is_in_head, self._is_complete, self._head, self._received = True, False, 0, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        if self._is_in_head and b"_" not in name:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_complete = True
        if self._until is not None:
            self._until.cancel()
            self._until = None
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > HEAD:
            raise ValueError("the head of the request is too long")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m byokportal.server", description="Run the web server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=1, help="processes; one for each core")
    given = parser.parse_args()
    uvicorn.run(
        "byokportal.asgi:application",
        host=given.host,
        port=given.port,
        workers=given.workers,
        http="byokportal.server:BoundedProtocol",
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACEFUL,
        limit_concurrency=CONNECTIONS,
    )


if __name__ == "__main__":
    main()
