"""What nginx does in front of the web server, with the configuration that docs/deploy.md names.

Behind it runs a bare uvicorn, without anything of `byokportal.server`: what these tests show is the proxy's doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from django.conf import settings

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") or shutil.which("nginx")
pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx on this machine: apt-get install nginx")

LARGE = 50_000_000
HEAD = b"POST /x HTTP/1.1\r\nHost: byok.example.com\r\n"
# What came to the web server: headers and body of each request, and the sizes of the answers that it was rid of.
requests: list[tuple[dict[str, str], bytes]] = []
answered: list[int] = []


async def application(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    requests.append(({name.decode(): value.decode() for name, value in scope["headers"]}, body))
    pieces = [bytes(1_000_000)] * 50 if scope["path"] == "/large" else [b"{}"]
    size = sum(map(len, pieces))
    headers = [(b"content-length", b"%d" % size), (b"date", b"Sat, 01 Jan 2000 00:00:00 GMT")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    answered.append(size)


def until(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    requests.clear()
    answered.clear()
    behind = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http="httptools", loop="uvloop", lifespan="off", log_config=None, ws="none", date_header=False
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([behind])), daemon=True)
    thread.start()
    assert until(lambda: running.started)
    with socket.create_server(("127.0.0.1", 0)) as free:
        front = free.getsockname()[1]
    documented = Path(settings.BASE_DIR, "docs/examples/nginx.conf").read_text()
    site = documented.replace("127.0.0.1:8000", f"127.0.0.1:{behind.getsockname()[1]}").replace(
        "443 ssl", f"127.0.0.1:{front}"
    )
    site = re.sub(r"^ *ssl_.*\n", "", site, flags=re.MULTILINE)
    site = re.sub(r"(client_header|client_body)_timeout 20s", r"\1_timeout 1s", site)
    folders = "\n".join(f"{one}_temp_path {tmp_path};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    Path(tmp_path, "nginx.conf").write_text(
        f"user {getpass.getuser()}; daemon off; pid {tmp_path}/pid; error_log {tmp_path}/errors;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}\n{site}\n}}\n"
    )
    assert NGINX is not None
    proxy = subprocess.Popen([NGINX, "-p", str(tmp_path), "-e", f"{tmp_path}/errors", "-c", f"{tmp_path}/nginx.conf"])
    try:
        assert until(lambda: _answers(front)), Path(tmp_path, "errors").read_text()
        yield front
    finally:
        proxy.terminate()
        proxy.wait(30)
        running.should_exit = True
        thread.join()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def say(port: int, *pieces: bytes) -> bytes:
    """Send the pieces, and return all that comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        # The proxy may refuse and close while we are still sending.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in pieces:
                connection.sendall(piece)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                received += data
        return received


def test_a_request_comes_with_what_the_proxy_says_of_its_caller(port: int) -> None:
    answer = say(
        port,
        HEAD
        + b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    )
    assert answer.startswith(b"HTTP/1.1 200")
    # Ours is handed on.
    assert b"\r\ndate: Sat, 01 Jan 2000 00:00:00 GMT\r\n" in answer
    ((headers, body),) = requests
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"], body) == ("6.6.6.6, 127.0.0.1", "http", b"{}")


@pytest.mark.parametrize("start", [b"GET /", HEAD + b"X: "])
def test_a_head_without_end_is_refused(port: int, start: bytes) -> None:
    answer = say(port, start, *[b"a" * 1024] * 1024)
    assert re.match(rb"HTTP/1.1 4(00|14) ", answer)
    assert requests == []


@pytest.mark.parametrize("start", [b"POST /x HTTP/1.1\r\nHost: loc", HEAD + b"Content-Length: 2\r\n\r\n{"])
def test_a_request_that_does_not_come_in_full_is_never_seen_and_ends(port: int, start: bytes) -> None:
    answer = say(port, start)
    assert not answer or answer.startswith(b"HTTP/1.1 408")
    assert requests == []


def test_a_body_in_small_pieces_is_seen_in_one(port: int) -> None:
    chunks = b"".join(b"1\r\nx\r\n" for _ in range(1000))
    assert say(
        port, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n"
    ).startswith(b"HTTP/1.1 200")
    ((headers, body),) = requests
    assert (headers["content-length"], body) == ("1000", b"x" * 1000)


@pytest.mark.parametrize("declares", [True, False])
def test_a_body_without_end_is_refused(port: int, declares: bool) -> None:
    how = b"Content-Length: 5000000000\r\n\r\n" if declares else b"Transfer-Encoding: chunked\r\n\r\n"
    piece = b"x" * 65536 if declares else b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert say(port, HEAD + how, *[piece] * 64).startswith(b"HTTP/1.1 413")
    assert requests == []


def test_a_caller_who_does_not_read_keeps_nobody_waiting(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(HEAD.replace(b"/x", b"/large") + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
        assert until(lambda: answered == [LARGE])
        received = 0
        while data := connection.recv(1_000_000):
            received += len(data)
    # The proxy has kept all of it for the caller; it was not rid of the caller.
    assert received > LARGE


def test_neither_trailers_nor_names_with_underscores_come_through(port: int) -> None:
    answer = say(
        port,
        HEAD + b"X_Forwarded_For: 6.6.6.6\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\nX-Forwarded-Proto: https\r\nX-Other: 1\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200")
    ((headers, _),) = requests
    assert sorted(headers) == ["content-length", "host", "x-forwarded-for", "x-forwarded-proto"]
    assert (headers["x-forwarded-for"], headers["x-forwarded-proto"]) == ("127.0.0.1", "http")
