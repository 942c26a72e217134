"""HTTP on the hot paths: what a server may do to a kept connection, and what it may not make us read."""

from __future__ import annotations

import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from keys.aws import connections, hot
from keys.aws.connections import LARGEST, Pool
from tests.bench import stub_aws

REQUEST: Any = SimpleNamespace(method="POST", url="http://x/", headers={"X-A": "1"}, body=b"hello")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amzn-RequestId: r\r\n\r\nok"
STRAY = b"HTTP/1.1 408 Request Time-out\r\nContent-Length: 4\r\n\r\nevil"
KEY = b'{"KeyMetadata": {"KeyId": "k", "Arn": "a"}}'
DESCRIBED = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(KEY), KEY)
# for each connection what is written for each request, a list of bytes with a pause after each; None: it is closed
# without an answer
Script = list[list[bytes | list[bytes] | None]]
PAUSE = 0.05  # seconds: long enough that the client has read the whole answer and keeps the connection


def receive(connection: socket.socket) -> bytes:
    """Return one request, which comes in pieces: its head, then its body; b"" at the end of the connection."""
    got = b""
    while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + length_in(got):
        try:
            more = connection.recv(65536)
        except OSError:
            more = b""
        if not more:
            return b""
        got += more
        if got.startswith(b"\x16"):  # the beginning of TLS, which this server does not know
            return got
    return got


def length_in(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


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
                    got = receive(connection)
                    if not got:
                        break
                    came.append(got)
                    if answer is None:
                        break
                    for part in answer if isinstance(answer, list) else [answer]:
                        connection.sendall(part)
                        start.sent.append(part)  # type: ignore[attr-defined]
                        if isinstance(answer, list):
                            time.sleep(PAUSE)
                if None in answers:
                    connection.close()

        threading.Thread(target=run, daemon=True).start()
        return Pool(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=1, read_timeout=0.5, keep=4), came

    start.sent = []  # type: ignore[attr-defined]  # each piece that has been written
    yield start
    for one in opened:
        one.close()


def test_the_request_is_whole_and_the_connection_is_kept(serving: Callable[..., Any]) -> None:
    pool, came = serving([[OK, OK]])
    answers = [pool.send(REQUEST) for _ in range(2)]
    assert [(answer.status_code, answer.content, answer.headers["x-amzn-requestid"]) for answer in answers] == [
        (200, b"ok", "r")
    ] * 2
    head, _, body = came[0].partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert (first, body) == (b"POST / HTTP/1.1", b"hello")
    assert {b"Content-Length: 5", b"X-A: 1", b"Host: 127.0.0.1:%d" % pool._connections.port} <= set(fields)


def test_a_kept_connection_that_was_closed_meanwhile_costs_one_more_try(serving: Callable[..., Any]) -> None:
    """The request may have reached AWS, so it is for the client of the hot paths to send it again."""
    pool, came = serving([[DESCRIBED, None], [DESCRIBED]])
    client = hot.Client("kms", "eu-central-1", pool._endpoint, ReadOnlyCredentials("a", "s", "t"))
    assert client.describe_key(KeyId="k")["KeyMetadata"]["Arn"] == "a"
    assert client.describe_key(KeyId="k")["KeyMetadata"]["Arn"] == "a"
    assert len(came) == 3


def test_a_stray_408_after_an_answer_is_not_the_next_one(serving: Callable[..., Any]) -> None:
    """AWS says 408 to a connection that it is about to close for idleness."""
    pool, came = serving([[[OK, STRAY], OK], [OK]])
    answers = []
    for sent in (2, 3):
        answers.append(pool.send(REQUEST))
        while len(serving.sent) < sent:  # type: ignore[attr-defined]
            time.sleep(0.01)
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"ok")] * 2
    assert len(came) == 2


def test_a_kept_connection_that_the_server_closed_is_not_used_again(serving: Callable[..., Any]) -> None:
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        lost: list[bytes] = []

        def run() -> None:
            first, _ = listener.accept()
            with first:
                receive(first)
                first.sendall(OK)
                first.shutdown(socket.SHUT_WR)
                closing.set()
                second, _ = listener.accept()
                with second:
                    receive(second)
                    second.sendall(OK)
                    first.settimeout(60)
                    lost.append(first.recv(65536))

        server = threading.Thread(target=run, daemon=True)
        server.start()
        pool = Pool(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=1, read_timeout=0.5, keep=4)
        assert pool.send(REQUEST).content == b"ok"
        assert closing.wait(60)
        assert pool.send(REQUEST).content == b"ok"
        server.join(60)
        assert lost == [b""]  # nothing was sent on the closed one: ours is closed too


def test_what_tls_has_decrypted_already_is_not_the_next_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer and more in one TLS record: the rest stands in the TLS layer, and the socket has nothing to read."""
    server = stub_aws.certificate(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    connections.forget()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # http.client reads 8,192 bytes at once, and throws away what it does not need of them
        answers = [[OK.ljust(8192) + STRAY.replace(b"408", b"200"), OK], [OK]]

        def run() -> None:
            for of_connection in answers:
                with server.wrap_socket(listener.accept()[0], server_side=True) as connection:
                    for answer in of_connection:
                        if not receive(connection):
                            break
                        connection.sendall(answer)

        threading.Thread(target=run, daemon=True).start()
        pool = Pool(f"https://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=1, read_timeout=0.5, keep=4)
        try:
            assert [pool.send(REQUEST).content for _ in range(2)] == [b"ok", b"ok"]
        finally:
            connections.forget()


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
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (LARGEST + 1, bytes(LARGEST + 1)),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s"
        % (b"%x\r\n%s\r\n" % (LARGEST // 2, bytes(LARGEST // 2)) * 3),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP\r\n\r\n",
    ],
    ids=[
        "ssh",
        "no length",
        "negative",
        "words",
        "too long",
        "bad chunk",
        "long chunk",
        "many chunks",
        "long head",
        "short",
    ],
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
    pool, _ = serving([[OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", OK]])
    assert [pool.send(REQUEST).content for _ in range(2)] == [b"ok", b"ok"]


def test_a_redirect_is_an_answer_and_not_followed(serving: Callable[..., Any]) -> None:
    pool, came = serving(
        [[b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", OK], [OK]]
    )
    assert pool.send(REQUEST).status_code == 307
    assert len(came) == 1


def test_nobody_there_and_no_tls_there(serving: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EndpointConnectionError):
        Pool(f"http://127.0.0.1:{port}", connect_timeout=1, read_timeout=1, keep=1).send(REQUEST)
    plain, _ = serving([[b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"]])
    with pytest.raises(SSLError):
        Pool(plain._endpoint.replace("http:", "https:"), connect_timeout=1, read_timeout=1, keep=1).send(REQUEST)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy:  # takes one connection, and answers no other
        address = busy.getsockname()
        taken = [socket.socket() for _ in range(3)]
        for one in taken:
            one.setblocking(False)
            one.connect_ex(address)
        with pytest.raises(ConnectTimeoutError):
            Pool(f"http://127.0.0.1:{address[1]}", connect_timeout=0.3, read_timeout=1, keep=1).send(REQUEST)
        for one in taken:
            one.close()


def test_the_proxy_of_the_environment_is_on_the_way_to_aws(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, came = serving([[b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]])
    proxy = plain._endpoint.replace("http://", "http://us:secret-of-the-proxy@")
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    pool = Pool("https://kms.eu-central-1.amazonaws.com", connect_timeout=1, read_timeout=0.5, keep=4)
    with pytest.raises(ProxyConnectionError) as refused:
        pool.send(REQUEST)
    assert came[0].startswith(b"CONNECT kms.eu-central-1.amazonaws.com:443 HTTP/1.")
    assert b"Basic " + b64encode(b"us:secret-of-the-proxy") in came[0]
    assert b"hello" not in came[0]
    assert "secret-of-the-proxy" not in str(refused.value)
