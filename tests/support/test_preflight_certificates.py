"""`manage.py preflight` says until when the certificates are good that we and our customers check."""

from __future__ import annotations

import contextlib
import runpy
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.preflight import certificates
from support.preflight.findings import REMEDIES

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db
Serve = Callable[[timedelta], tuple[int, Path]]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Return a function that starts a server whose certificate lasts so long; it returns port and authority."""
    program = runpy.run_path(str(ROOT / "deploy/compose/certificates.py"))
    monkeypatch.setattr("os.chown", lambda *_: None)
    with contextlib.ExitStack() as stack:

        def start(lasts: timedelta) -> tuple[int, Path]:
            monkeypatch.setitem(program["main"].__globals__, "LASTS", lasts)
            program["main"](tmp_path, "localhost")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tmp_path / "proxy.pem", tmp_path / "proxy.key")
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            threading.Thread(target=answer, args=(server, context), daemon=True).start()
            return server.getsockname()[1], tmp_path / "ca.pem"

        yield start


def answer(server: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):  # closed: the test is over
        while True:
            with server.accept()[0] as plain, contextlib.suppress(OSError):
                context.wrap_socket(plain, server_side=True).close()


@pytest.mark.parametrize(("days", "level", "says"), [
    (825, "ok", "That of localhost is good until 20"),
    (29.5, "warn", "That of localhost ends on 20"),
])  # fmt: skip
def test_a_certificate_that_ends_soon_is_named_with_its_day(
    serve: Serve, settings: Any, days: float, level: str, says: str
) -> None:
    port, authority = serve(timedelta(days=days))
    settings.REDIS_URL = f"rediss://:p@localhost:{port}/0?ssl_ca_certs={authority}"
    (found,) = certificates.look("certificates")
    assert (found.level, found.text[: len(says)]) == (level, says)
    assert ("in 29 days" in found.text, bool(found.remedy)) == (level == "warn", level == "warn")


def test_each_sentinel_is_looked_at(serve: Serve, settings: Any) -> None:
    port, authority = serve(timedelta(days=90))
    hosts = f"localhost:{port},localhost:{port}"
    settings.REDIS_URL = f"rediss+sentinel://{hosts}/byok/0?ssl_ca_certs={authority}"
    assert [one.level for one in certificates.look("certificates")] == ["ok", "ok"]


def test_one_of_redis_s_that_has_ended_or_that_nobody_vouches_for_fails(serve: Serve, settings: Any) -> None:
    port, authority = serve(timedelta(minutes=-1))
    settings.REDIS_URL = f"rediss://localhost:{port}/0?ssl_ca_certs={authority}"
    (found,) = certificates.look("certificates")
    assert (found.level, found.text) == ("fail", f"That of localhost:{port} is refused: it has ended.")
    assert found.remedy == REMEDIES["certificates"]
    settings.REDIS_URL = f"rediss://localhost:{port}/0"
    (found,) = certificates.look("certificates")
    assert (found.level, "nobody whom this process trusts" in found.text) == ("fail", True)
    settings.REDIS_URL = f"rediss://127.0.0.2:{port}/0?ssl_ca_certs={authority}"
    (found,) = certificates.look("certificates")
    assert (found.level, "could not be looked at (ConnectionRefusedError)" in found.text) == ("fail", True)


def test_a_sentinel_that_nobody_vouches_for_keeps_the_others_not_back(serve: Serve, settings: Any) -> None:
    port, authority = serve(timedelta(days=90))
    hosts = f"127.0.0.2:{port},localhost:{port}"
    settings.REDIS_URL = f"rediss+sentinel://{hosts}/byok/0?ssl_ca_certs={authority}"
    assert [one.level for one in certificates.look("certificates")] == ["fail", "ok"]


def test_where_the_portal_s_cannot_be_checked_from_here_somebody_else_looks(serve: Serve, settings: Any) -> None:
    port, _ = serve(timedelta(days=90))
    settings.BASE_URL = f"https://localhost:{port}"
    (found,) = certificates.look("certificates")
    assert (found.level, "could not be looked at from here" in found.text) == ("warn", True)


@pytest.mark.parametrize(("days", "host", "level", "says"), [
    (-1 / 1440, "localhost", "fail", "That of localhost is refused: it has ended."),
    (90, "localhost.localdomain", "fail", "That of localhost.localdomain is refused: it is of another name."),
    (90, "localhost", "ok", "That of localhost is good until 20"),
])  # fmt: skip
def test_the_portal_s_that_is_wrong_for_everybody_fails(
    serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch, days: float, host: str, level: str, says: str
) -> None:
    port, authority = serve(timedelta(days=days))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setattr("socket.create_connection", to_this_machine(socket.create_connection))
    settings.BASE_URL = f"https://{host}:{port}"
    (found,) = certificates.look("certificates")
    assert (found.level, found.text[: len(says)]) == (level, says)


def to_this_machine(connect: Callable[..., socket.socket]) -> Callable[..., socket.socket]:
    """Return a function that connects to this machine, whatever the host: DNS would say so."""
    return lambda address, *rest: connect(("127.0.0.1", address[1]), *rest)


def test_one_of_redis_s_that_nobody_vouches_for_keeps_the_portal_s_not_back(serve: Serve, settings: Any) -> None:
    port, _ = serve(timedelta(days=90))
    settings.REDIS_URL, settings.BASE_URL = f"rediss://localhost:{port}/0", f"https://localhost:{port}"
    assert [one.level for one in certificates.look("certificates")] == ["warn", "fail"]


def test_without_tls_there_is_nothing_to_look_at(settings: Any) -> None:
    settings.REDIS_URL, settings.BASE_URL = "redis://localhost:6379/0", "http://localhost:8000"
    assert [one.level for one in certificates.look("certificates")] == ["ok"]
