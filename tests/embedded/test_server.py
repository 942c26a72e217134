"""The web server bounds what uvicorn does not:
the length of a request's head, and the time until a request is here in full."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from byokportal import server

seen: list[list[bytes]] = []
REQUEST = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


async def application(scope: Any, receive: Any, send: Any) -> None:
    body = (await receive()).get("body", b"")
    if scope["path"] == "/names":
        while (await receive())["type"] == "http.request":
            pass
        seen.append([name for name, _ in scope["headers"]])
        return
    if scope["path"] == "/large":
        body = bytes(50_000_000)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http=server.BoundedProtocol, loop="uvloop", lifespan="off", log_config=None, ws="none"
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


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def test_between_two_requests_nothing_is_late(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 1.0)
    with connect(port) as connection:
        for _ in range(2):
            connection.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"{}"):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
            time.sleep(1.2)


def test_a_body_may_be_longer_than_a_head(port: int) -> None:
    with connect(port) as connection:
        body = b"x" * (2 * server.HEAD)
        connection.sendall(
            b"POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        assert until_closed(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", REQUEST + b"GET /"])
def test_a_head_without_end_is_refused(port: int, start: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(start)
        try:
            for _ in range(1024):  # more than comes in one piece
                connection.sendall(b"a" * 1024)
            received = until_closed(connection)
        except (ConnectionResetError, BrokenPipeError):  # closed while we were still sending
            return
        assert b"HTTP/1.1 400" in received


@pytest.mark.parametrize("start", [b"", b"POST /x HTTP/1.1\r\nHost: loc", REQUEST[:-1], REQUEST + b"POST /x"])
def test_a_request_that_does_not_come_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch, port: int, start: bytes
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.3)
    with connect(port) as connection:
        if start:
            connection.sendall(start)
        until_closed(connection)


def test_a_caller_who_reads_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(server, "READING_SECONDS", 0.3)
    with connect(port) as connection:
        connection.sendall(REQUEST.replace(b"/x", b"/large"))
        time.sleep(4)  # many times as long as the server waits: a busy machine is late
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1_000_000):
                received += len(data)
        assert received < 50_000_000


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


def test_trailers_without_end_are_refused(port: int) -> None:
    with connect(port) as connection, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        for number in range(20_000):
            connection.sendall(b"X-%d: %s\r\n" % (number, b"a" * 100))
        pytest.fail("two megabytes of trailers were taken")
