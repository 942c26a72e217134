"""REDIS_URL: the server's certificate is checked by Celery and by the cache,
and what is mistyped fails `check --deploy`."""

from __future__ import annotations

import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.cache.backends.redis import RedisCache
from django.core.checks import run_checks

from byokportal import redis_url

HERE = Path(__file__)
MISTYPED = [
    "rediss://cache.example/0?ssl_cert_reqs=none",
    "rediss://cache.example/0?ssl_cert_reqs=CERT_NONE",
    "rediss://cache.example/0?ssl_cert_reqs=optional",
    "rediss://cache.example/0?ssl_cert_reqs=",
    "rediss://cache.example/0?ssl_cert_req=required",
    "rediss://cache.example/0?sslcert_reqs=required",
    "rediss://cache.example/0?ssl_check_hostname=false",
    "rediss://cache.example/0?ssl_check_hostname=0",
    "rediss://cache.example/0?ssl_ca_cert=/etc/ssl/ca.pem",
    "rediss://cache.example/0?ssl_ca_certs=/nowhere/ca.pem",
    "redis://cache.example/0?ssl_cert_reqs=required",
    "redis+tls://cache.example/0",
    "redisss://cache.example/0",
    "https://cache.example/0",
    "cache.example:6379",
    "rediss://cache.example/?dbb=1",
    "redis+sentinel://s1:26379,s2:26379",
    "redis+sentinel://s1:port/byok",
    "redis+sentinel://s1,,s2/byok",
    "redis+sentinel://s1/byok/zero",
    "redis+sentinel://s1/byok?db=1",
    "redis+sentinel://s1/byok?ssl_cert_reqs=required",
    "rediss+sentinel://s1/byok?ssl_cert_reqs=none",
    "rediss+sentinel://s1/byok?ssl_check_hostname=false",
    "redis-sentinel://s1/byok",
]
RIGHT = [
    "redis://redis:6379/0",
    "rediss://:secret@cache.example:6380/0",
    "rediss://cache.example/0?ssl_cert_reqs=required&ssl_check_hostname=True",
    f"rediss://cache.example/0?ssl_ca_certs={HERE}",
    "unix:///tmp/valkey.sock?db=0",
    "redis+sentinel://s1:26379,s2:26380,s3/byok/0",
    "rediss+sentinel://:secret@s1,s2,s3/byok?sentinel_password=another&ssl_cert_reqs=required",
]


def named(settings: Any) -> set[str | None]:
    return {
        found.id
        for found in run_checks(tags=["security"], include_deployment_checks=True)
        if found.id and found.id.startswith("byok.") and found.id.endswith(("020", "021"))
    }


@pytest.mark.parametrize("url", MISTYPED)
def test_a_mistyped_address_fails_the_check_and_is_no_weaker_for_it(url: str, settings: Any) -> None:
    settings.REDIS_URL = url
    assert named(settings) == {"byok.E020"}
    if url.startswith(("rediss:", "rediss+")):
        tls = redis_url.parse(url).tls
        assert (tls["ssl_cert_reqs"], tls["ssl_check_hostname"]) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("url", RIGHT)
def test_a_right_address_passes(url: str, settings: Any) -> None:
    settings.REDIS_URL = url
    assert named(settings) == set()


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_an_address_that_passes_us_by_fails_the_check(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = RIGHT[0]
    monkeypatch.setenv(name, "rediss://cache.example/0")
    assert named(settings) == {"byok.E021"}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(None, set()), ("verify-full", set()), ("require", {"byok.W020"}), ("verifyfull", {"byok.W020"})],
)
def test_a_database_that_is_not_checked_is_warned_of(
    mode: str | None, expected: set[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = RIGHT[0]
    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", {"sslmode": mode} if mode else {})
    assert named(settings) == expected


def test_the_settings_give_both_the_same(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "EMBEDDED": "1", "SECRET_KEY": "x", "VAR_DIR": str(tmp_path)}
    program = (
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'byokportal.settings'; django.setup()\n"
        "import json; from django.conf import settings; from byokportal.celery import app\n"
        "from django.core.cache import cache\n"
        "pool = cache._cache._get_connection_pool(write=True)\n"
        "broker = app.connection_for_write()\n"
        "keep = lambda found: {k: str(v) for k, v in found.items() if k.startswith('ssl_')}\n"
        "print(json.dumps([pool.connection_class.__name__, keep(pool.connection_kwargs), broker.transport_cls, "
        "keep(broker.ssl)]))"
    )
    url = f"rediss://127.0.0.1:1/0?ssl_cert_reqs=none&ssl_ca_certs={HERE}"
    out = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"REDIS_URL": url},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = {"ssl_cert_reqs": str(ssl.CERT_REQUIRED), "ssl_check_hostname": "True", "ssl_ca_certs": str(HERE)}
    assert out.stdout, out.stderr[-2000:]
    assert json.loads(out.stdout) == ["SSLConnection", expected, "rediss", expected]


# --- a server with a certificate of its own -----------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path, list[str]]]:
    """A TLS server that says PONG to everything; yields its port, its authority's certificate and what it heard."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, private = tmp_path / "ca.pem", tmp_path / "key.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, private)
    listener, heard = socket.create_server(("127.0.0.1", 0)), []

    def answer(raw: socket.socket) -> None:
        try:
            with context.wrap_socket(raw, server_side=True) as one:
                while data := one.recv(4096):
                    heard.append(data.decode())
                    one.sendall(b"+PONG\r\n")
        except OSError:
            pass

    def serve() -> None:
        try:
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], authority, heard
    listener.close()


@pytest.mark.parametrize("query", ["", "?ssl_cert_reqs=none", "?ssl_cert_req=none", "?ssl_check_hostname=false"])
def test_a_server_with_a_strangers_certificate_is_told_nothing(query: str, server: tuple[int, Path, list[str]]) -> None:
    port, _, heard = server
    read = redis_url.parse(f"rediss://:the-password@localhost:{port}/0{query}")
    # One connection: by a command redis-py tries ten times, for three seconds.
    connection = RedisCache(read.plain, {"OPTIONS": read.tls})._cache._get_connection_pool(write=True).make_connection()
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        connection._connect()
    plainest = redis_url.parse(f"rediss://:the-password@localhost:{port}/0")
    assert (read.broker, read.tls) == (plainest.broker, plainest.tls)  # with which the broker is asked once, below
    assert not heard


def test_a_broker_with_a_strangers_certificate_is_told_nothing(server: tuple[int, Path, list[str]]) -> None:
    port, _, heard = server
    read = redis_url.parse(f"rediss://:the-password@localhost:{port}/0")
    with (
        kombu.Connection(read.broker, ssl=read.tls) as broker,
        pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        broker.default_channel.client.ping()
    assert not heard


def test_a_server_whose_authority_is_named_is_spoken_to(server: tuple[int, Path, list[str]]) -> None:
    port, authority, heard = server
    read = redis_url.parse(f"rediss://localhost:{port}/0?ssl_ca_certs={authority}")
    assert not read.problems
    pool = RedisCache(read.plain, {"OPTIONS": read.tls})._cache._get_connection_pool(write=True)
    made = pool.make_connection()
    made._connect()  # the handshake
    read_name = redis_url.parse(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority}")
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):  # the certificate is another host's
        RedisCache(read_name.plain, {"OPTIONS": read_name.tls})._cache._get_connection_pool(
            write=True
        ).make_connection()._connect()
    assert not heard
