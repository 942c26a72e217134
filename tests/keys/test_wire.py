"""HTTP/1.1 on the hot paths: what a server may do to a kept connection, and what it may not make us read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)

from keys.aws.wire import LARGEST, Pool

REQUEST: Any = SimpleNamespace(method="POST", url="http://x/", headers={"X-A": "1"}, body=b"hello")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amzn-RequestId: r\r\n\r\nok"
# for each connection what is answered to each request; None: it is closed without an answer
Script = list[list[bytes | None]]


@pytest.fixture
def serving() -> Iterator[Callable[[Script], tuple[Pool, list[bytes]]]]:
    """Return a function that serves a script, and gives the pool that asks it and the requests that came."""
    opened: list[socket.socket] = []

    def start(script: Script) -> tuple[Pool, list[bytes]]:
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)
        came: list[bytes] = []

        def run() -> None:
            for answers in script:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                opened.append(connection)
                for answer in answers:
                    got = connection.recv(65536)
                    if not got:
                        break
                    came.append(got)
                    if answer is None:
                        break
                    connection.sendall(answer)
                if None in answers:
                    connection.close()

        threading.Thread(target=run, daemon=True).start()
        return Pool(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=1, read_timeout=0.5, keep=4), came

    yield start
    for one in opened:
        one.close()


def test_one_send_carries_head_and_body_and_the_connection_is_kept(serving: Callable[..., Any]) -> None:
    pool, came = serving([[OK, OK]])
    answers = [pool.send(REQUEST) for _ in range(2)]
    assert [(answer.status_code, answer.content, answer.headers["x-amzn-requestid"]) for answer in answers] == [
        (200, b"ok", "r")
    ] * 2
    assert came[0].startswith(b"POST / HTTP/1.1\r\nHost: 127.0.0.1:")
    assert came[0].endswith(b"\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello")


def test_a_kept_connection_that_was_closed_meanwhile_costs_one_more_try(serving: Callable[..., Any]) -> None:
    pool, came = serving([[OK, None], [OK]])
    assert pool.send(REQUEST).content == b"ok"
    assert pool.send(REQUEST).content == b"ok"
    assert len(came) == 3


def test_a_new_connection_that_is_closed_is_an_error(serving: Callable[..., Any]) -> None:
    pool, _ = serving([[None]])
    with pytest.raises(ConnectionClosedError):
        pool.send(REQUEST)


def test_a_server_that_says_close_is_believed(serving: Callable[..., Any]) -> None:
    pool, _ = serving([[OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")], [OK]])
    assert [pool.send(REQUEST).content for _ in range(2)] == [b"ok", b"ok"]


@pytest.mark.parametrize(
    ("said", "content"),
    [
        (
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n"
                b"T: 1\r\n\r\n"
            ),
            b"abc0123456789",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    ],
    ids=["chunks", "continue", "empty", "1.0"],
)
def test_what_http_allows(serving: Callable[..., Any], said: bytes, content: bytes) -> None:
    pool, _ = serving([[said]])
    assert pool.send(REQUEST).content == content


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LARGEST + 1),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (LARGEST + 1),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP\r\n\r\n",
    ],
    ids=["ssh", "no length", "negative", "words", "too long", "bad chunk", "long chunk", "long head", "short"],
)
def test_what_is_no_answer(serving: Callable[..., Any], said: bytes) -> None:
    pool, _ = serving([[said]])
    with pytest.raises(ConnectionClosedError):
        pool.send(REQUEST)


def test_half_an_answer_and_then_silence_is_a_time_out(serving: Callable[..., Any]) -> None:
    pool, _ = serving([[OK[:-1]]])
    with pytest.raises(ReadTimeoutError):
        pool.send(REQUEST)


def test_bytes_after_an_answer_are_not_the_next_one(serving: Callable[..., Any]) -> None:
    pool, _ = serving([[OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], [OK]])
    assert [pool.send(REQUEST).content for _ in range(2)] == [b"ok", b"ok"]


def test_nobody_there_and_no_tls_there(serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EndpointConnectionError):
        Pool(f"http://127.0.0.1:{port}", connect_timeout=1, read_timeout=1, keep=1).send(REQUEST)
    plain, _ = serving([[b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"]])
    with pytest.raises(SSLError):
        Pool(f"https://127.0.0.1:{plain._port}", connect_timeout=1, read_timeout=1, keep=1).send(REQUEST)

    def slow(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", slow)
    with pytest.raises(ConnectTimeoutError):
        Pool("http://127.0.0.1:1", connect_timeout=1, read_timeout=1, keep=1).send(REQUEST)
