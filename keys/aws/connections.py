"""HTTP for the hot paths: urllib3, one pool of kept connections for each endpoint, one TLS context for all of them.

Failures are botocore's exceptions, so `keys.aws.faults` reads them by the table that it has.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

import urllib3
from botocore import exceptions
from botocore.httpsession import ProxyConfiguration, get_cert_path, mask_proxy_url
from botocore.utils import get_environ_proxies
from urllib3 import exceptions as urllib3_exceptions

LARGEST = 1024 * 1024  # bytes of an answer: those of STS and KMS have a few thousand
# The kernel asks after a connection that is idle for 15 s, so that one which a firewall forgot is found dropped.
SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are found in any letter case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


class TlsConnection(urllib3.connection.HTTPSConnection):
    """A connection that also counts as dropped when bytes that nobody asked for are decrypted already:
    urllib3 looks at the socket alone, where they stand no more."""

    @property
    def is_connected(self) -> bool:
        return super().is_connected and not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending())


class Pool:
    """The connections to one endpoint, through the proxy of the environment where it names one.

    urllib3 looks at a kept connection before it is used again, and drops one that AWS has closed or written to.

    Args:
        endpoint: `https://kms.eu-central-1.amazonaws.com`, or the http address of the local AWS.
        connect_timeout, read_timeout: seconds; each read has to bring something in that time.
        keep: connections kept at most while nobody uses them.
    """

    def __init__(self, endpoint: str, *, connect_timeout: float, read_timeout: float, keep: int) -> None:
        self._endpoint = endpoint
        # The local AWS is asked over http: a proxy of the developer's is not on the way to this machine.
        is_tls = endpoint.startswith("https://")
        configuration = ProxyConfiguration(get_environ_proxies(endpoint) if is_tls else {})
        self._proxy = configuration.proxy_url_for(endpoint)
        options: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=connect_timeout, read=read_timeout),
            "maxsize": keep,
            "socket_options": SOCKET_OPTIONS,
        }
        if is_tls:
            options["ssl_context"] = _tls()
        if self._proxy:
            options |= {
                "proxy_headers": configuration.proxy_headers_for(self._proxy),
                "proxy_ssl_context": _tls(),
            }
            manager: urllib3.PoolManager = urllib3.ProxyManager(self._proxy, **options)
        else:
            manager = urllib3.PoolManager(**options)
        self._connections = manager.connection_from_url(endpoint)
        if is_tls:
            self._connections.ConnectionCls = TlsConnection

    def send(self, request: Any) -> Answer:
        """Send a signed request once and read its answer.

        Nothing is sent again here, and no redirect is followed: whether a call that may have reached AWS is repeated
        is for the caller to say.

        Raises:
            ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError, SSLError, ReadTimeoutError,
            ConnectionClosedError, HTTPClientError: no answer came, or none that is complete.
        """
        try:
            answer = self._connections.urlopen(
                "POST",
                "/",
                request.body,
                request.headers,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            # Without a length, nobody could tell a whole answer from one that was cut.
            length = 0 if answer.chunked else answer.length_remaining
            content = b"" if length is None or length > LARGEST else answer.read(LARGEST + 1)
            if length is None or max(length, len(content)) > LARGEST:
                answer.close()
                raise urllib3_exceptions.ProtocolError("an answer without length, or too long")
            return Answer(answer.status, answer.headers, content)
        except urllib3_exceptions.HTTPError as error:
            self._raise(error)

    def _raise(self, error: urllib3_exceptions.HTTPError) -> NoReturn:
        """Raise what botocore's own client raises for the same failure."""
        match error:
            case urllib3_exceptions.SSLError():
                raise exceptions.SSLError(endpoint_url=self._endpoint, error=error) from error
            case urllib3_exceptions.NewConnectionError():
                raise exceptions.EndpointConnectionError(endpoint_url=self._endpoint, error=error) from error
            case urllib3_exceptions.ProxyError():
                proxy = mask_proxy_url(self._proxy)
                raise exceptions.ProxyConnectionError(proxy_url=proxy, error=error) from error
            case urllib3_exceptions.ConnectTimeoutError():
                raise exceptions.ConnectTimeoutError(endpoint_url=self._endpoint, error=error) from error
            case urllib3_exceptions.ReadTimeoutError():
                raise exceptions.ReadTimeoutError(endpoint_url=self._endpoint, error=error) from error
            case urllib3_exceptions.ProtocolError():
                raise exceptions.ConnectionClosedError(endpoint_url=self._endpoint, error=error) from error
            case _:
                raise exceptions.HTTPClientError(error=error) from error


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or get_cert_path(True))


def forget() -> None:
    """Forget what a fork must not share."""
    _tls.cache_clear()
