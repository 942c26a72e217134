"""The web server takes neither trailers nor names with `_` for headers; the proxy's bounds are in test_proxy.py."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from byokportal import server

seen: list[list[bytes]] = []


async def application(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] == "http.request":
        pass
    seen.append([name for name, _ in scope["headers"]])


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http=server.HeadersOnly, loop="uvloop", lifespan="off", log_config=None, ws="none"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([listener])), daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield listener.getsockname()[1]
    running.should_exit = True
    thread.join()


def connect(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 5)
    made.settimeout(5)
    return made


def test_neither_trailers_nor_names_with_underscores_are_headers(port: int) -> None:
    seen.clear()
    with connect(port) as connection:
        connection.sendall(
            b"POST /names HTTP/1.1\r\nHost: localhost\r\nX_Forwarded_Proto: https\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\nx\r\n0\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        time.sleep(0.3)
    until = time.monotonic() + 60
    while not seen and time.monotonic() < until:
        time.sleep(0.01)
    assert seen == [[b"host", b"transfer-encoding"]]
