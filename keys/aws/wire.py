"""HTTP/1.1 for the hot paths: one pool of kept connections and one TLS context for all tenants,
one send and one read a call.

urllib3 costs more CPU than signing and parsing together, and in sixty threads it hands the interpreter to and fro at
each of its small reads and writes. What is left out here is what these calls do not need: redirects, cookies,
compression, streaming. Through a proxy it is botocore's own client. Failures are botocore's exceptions, so
`keys.aws.faults` reads them by the table that it has.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import get_cert_path

LARGEST = 1024 * 1024  # bytes of an answer: those of STS and KMS have a few thousand
IDLE = 15.0  # seconds that a connection is kept unused: less than AWS keeps it
READ = 64 * 1024  # bytes asked for at once


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are in lower case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class Pool:
    """The connections to one endpoint.

    Args:
        endpoint: `https://kms.eu-central-1.amazonaws.com`, or the http address of the local AWS.
        connect_timeout, read_timeout: seconds.
        keep: connections kept at most while nobody uses them.
    """

    def __init__(self, endpoint: str, *, connect_timeout: float, read_timeout: float, keep: int) -> None:
        parts = urlsplit(endpoint)
        self._endpoint, self._host, self._netloc = endpoint, parts.hostname or "", parts.netloc
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._connect_timeout, self._read_timeout = connect_timeout, read_timeout
        # a full one drops its oldest, which closes it
        self._idle: deque[tuple[socket.socket, float]] = deque(maxlen=keep)

    def send(self, request: Any) -> Answer:
        """Send a signed request and read its answer; a kept connection that AWS has closed costs one more try.

        Raises:
            ConnectTimeoutError, EndpointConnectionError, SSLError, ReadTimeoutError,
            ConnectionClosedError: no answer came.
        """
        fields = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
        path = urlsplit(request.url).path or "/"
        head = (
            f"{request.method} {path} HTTP/1.1\r\nHost: {self._netloc}\r\nContent-Length: {len(request.body)}\r\n"
            f"{fields}\r\n"
        )
        message = head.encode("latin-1") + request.body
        kept = self._kept()
        if kept is not None:
            with contextlib.suppress(ConnectionClosedError):
                return self._exchange(kept, message)
        return self._exchange(self._connect(), message)

    def _kept(self) -> socket.socket | None:
        while True:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < IDLE:
                return connection
            connection.close()

    def _connect(self) -> socket.socket:
        try:
            plain = socket.create_connection((self._host, self._port), self._connect_timeout)
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self._endpoint, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self._endpoint, error=error) from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            made = _tls().wrap_socket(plain, server_hostname=self._host) if self._is_tls else plain
        except TimeoutError as error:
            plain.close()
            raise ConnectTimeoutError(endpoint_url=self._endpoint, error=error) from error
        except OSError as error:  # ssl.SSLError among them
            plain.close()
            raise SSLError(endpoint_url=self._endpoint, error=error) from error
        made.settimeout(self._read_timeout)
        return made

    def _exchange(self, connection: socket.socket, message: bytes) -> Answer:
        try:
            connection.sendall(message)
            answer, is_kept = _read(connection, time.monotonic() + self._read_timeout)
        except TimeoutError as error:
            connection.close()
            raise ReadTimeoutError(endpoint_url=self._endpoint, error=error) from error
        except (OSError, EOFError, ValueError) as error:
            connection.close()
            raise ConnectionClosedError(endpoint_url=self._endpoint, error=error) from error
        if is_kept:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()
        return answer


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True))


def forget() -> None:
    """Forget what a fork must not share."""
    _tls.cache_clear()


# --- reading (RFC 9112) -----------------------------------------------------------------------------------------------


def _read(connection: socket.socket, until: float) -> tuple[Answer, bool]:
    """Return the answer, and whether the connection may carry another.

    Raises:
        EOFError: it ended too early.
        ValueError: it is no HTTP/1.1 that we know.
        TimeoutError: it drips so slowly that the whole takes too long.
    """
    got = _Got(connection, until)
    while True:
        first, *lines = got.through(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, *_ = first.split(" ", 2)
        if version not in {"HTTP/1.1", "HTTP/1.0"} or len(status) != 3:
            raise ValueError("no status line")
        if not status.startswith("1"):  # 100 Continue and its like come before the answer
            break
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _chunks(got)
    elif length is not None:
        body = got.exactly(_size(length, 10))
    else:
        raise ValueError("an answer without length")
    is_kept = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower() and got.is_empty
    return Answer(int(status), headers, body), is_kept


def _chunks(got: _Got) -> bytes:
    body = bytearray()
    while size := _size(got.through(b"\r\n").decode("latin-1").partition(";")[0], 16):
        body += got.exactly(size)
        got.exactly(2)
        if len(body) > LARGEST:
            raise ValueError("too long")
    while got.through(b"\r\n"):
        pass  # trailers
    return bytes(body)


def _size(text: str, base: int) -> int:
    size = int(text.strip(), base)
    if not 0 <= size <= LARGEST:
        raise ValueError("too long")
    return size


class _Got:
    """What has come so far and is not used up."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection, self._until, self._data = connection, until, bytearray()

    @property
    def is_empty(self) -> bool:
        return not self._data

    def through(self, end: bytes) -> bytes:
        """Return what stands before `end`, and use both up."""
        while (at := self._data.find(end)) < 0:
            if len(self._data) > READ:
                raise ValueError("too long")
            self._more()
        found = bytes(self._data[:at])
        del self._data[: at + len(end)]
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._data) < size:
            self._more()
        found = bytes(self._data[:size])
        del self._data[:size]
        return found

    def _more(self) -> None:
        if time.monotonic() > self._until:
            raise TimeoutError("the answer takes too long")
        more = self._connection.recv(READ)
        if not more:
            raise EOFError("the connection was closed")
        self._data += more
