"""Redis behind Sentinels, over TLS: cache, broker and preflight go to whichever server is the master now."""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis
from django.core.cache.backends.redis import RedisCache

from byokportal import redis_url
from support import preflight

ROOT = Path(__file__).resolve().parents[2]
MASTER, PASSWORD = "byok", "the-servers"  # what the Sentinels call the servers; what lets us in to those
OF_SENTINELS = "the-sentinels"


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(number)]


@dataclass
class Servers:
    """Two servers, of which one follows the other, and three Sentinels; all speak TLS alone."""

    folder: Path
    binary: str
    ports: list[int] = field(default_factory=lambda: free_ports(5))
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        first, second, *sentinels = self.ports
        self.serve(first)
        self.serve(second, "--replicaof", "localhost", str(first))
        self.until(lambda: self.client(second).info("replication")["master_link_status"] == "up")
        for port in sentinels:
            file = self.folder / f"{port}.conf"  # a Sentinel writes its own
            file.write_text(
                "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel announce-ip localhost\n"
                f"sentinel monitor {MASTER} localhost {first} 2\nsentinel auth-pass {MASTER} {PASSWORD}\n"
                f"sentinel down-after-milliseconds {MASTER} 700\nsentinel failover-timeout {MASTER} 3000\n"
                f"requirepass {OF_SENTINELS}\n"
            )
            self.run(port, str(file), "--sentinel", "--tls-replication", "yes")
        for port in sentinels:
            asked = self.client(port, OF_SENTINELS)
            self.until(lambda asked=asked: self.know(asked) == (2, 1))  # type: ignore[misc]

    @staticmethod
    def know(asked: Any) -> tuple[int, int]:
        """Return how many other Sentinels, and how many servers that follow, a Sentinel knows."""
        master = asked.sentinel_master(MASTER)
        return master["num-other-sentinels"], master["num-slaves"]

    def serve(self, port: int, *options: str) -> None:
        given = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--tls-replication", "yes", "--save", ""]
        # By name: a certificate says who somebody is by that, and the Sentinels hand on what they are told.
        self.run(port, *given, "--replica-announce-ip", "localhost", *options)

    def run(self, port: int, *options: str) -> None:
        tls = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--bind", "127.0.0.1"]
        for name, file in (("cert-file", "proxy.pem"), ("key-file", "proxy.key"), ("ca-cert-file", "ca.pem")):
            tls += [f"--tls-{name}", str(self.folder / file)]
        # The configuration of a Sentinel stands first.
        files = [one for one in options if one.endswith(".conf")]
        others = [one for one in options if one not in files]
        self.running[port] = subprocess.Popen(
            [self.binary, *files, *tls, *others, "--dir", str(self.folder)], stdout=subprocess.DEVNULL
        )
        self.until(lambda: self.listens(port))

    def listens(self, port: int) -> bool:
        assert self.running[port].poll() is None, "it ended at its start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    def client(self, port: int, password: str = PASSWORD) -> Any:
        return redis.Redis("localhost", port, password=password, ssl=True, ssl_ca_certs=str(self.folder / "ca.pem"))

    def kill_the_master(self) -> None:
        self.running[self.ports[0]].kill()
        self.running[self.ports[0]].wait()

    def until(self, is_so: Callable[[], object]) -> None:
        end = time.monotonic() + 60  # a machine that is busy; nobody waits for it on another
        while True:
            with contextlib.suppress(redis.RedisError):
                if is_so():
                    return
            assert time.monotonic() < end
            time.sleep(0.05)

    @property
    def url(self) -> str:
        hosts = ",".join(f"localhost:{port}" for port in self.ports[2:])
        query = f"ssl_ca_certs={self.folder}/ca.pem&sentinel_password={OF_SENTINELS}"
        return f"rediss+sentinel://:{PASSWORD}@{hosts}/{MASTER}/0?{query}"


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.skip("Redis is not on this machine")
    monkeypatch.setattr(os, "chown", lambda *_: None)
    runpy.run_path(str(ROOT / "deploy/compose/certificates.py"))["main"](tmp_path, "localhost")
    made = Servers(tmp_path, binary)
    try:
        made.start()
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()


def broker_of(read: redis_url.RedisUrl) -> kombu.Connection:
    # Patient: how long settings let anybody wait is another question.
    waits = {"socket_timeout": 5, "socket_connect_timeout": 5, "max_retries": 0}
    return kombu.Connection(read.broker, ssl=read.tls, transport_options={**waits, **read.broker_options})


def cache_of(url: str) -> RedisCache:
    read = redis_url.parse(url)
    waits = {"socket_timeout": 5, "socket_connect_timeout": 5}
    return RedisCache([url], {"OPTIONS": {**waits, **read.tls, **read.cache_options}})


def test_cache_broker_and_preflight_follow_a_failover(servers: Servers, settings: Any) -> None:
    read, cache = redis_url.parse(servers.url), cache_of(servers.url)
    assert not read.problems
    cache.set("kept", "before")
    with broker_of(read) as broker:
        broker.SimpleQueue("drill").put({"number": 1})
    servers.until(lambda: cache.get("kept") == "before" and servers.client(servers.ports[1]).exists("drill"))

    servers.kill_the_master()
    servers.until(lambda: cache.set("kept", "after") or True)  # the same cache: it asks the Sentinels anew
    assert cache.get("kept") == "after"
    with broker_of(read) as broker:
        message = broker.SimpleQueue("drill").get(timeout=10)
        assert message.payload == {"number": 1}
        message.ack()

    settings.REDIS_URL, settings.CELERY_BROKER_URL = servers.url, read.broker
    settings.CELERY_BROKER_USE_SSL = read.tls
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"max_retries": 0, **read.broker_options}
    said = list(preflight._broker("broker"))
    assert [(one.level, one.text) for one in said] == [
        ("ok", "It answers."),
        ("ok", "3 of 3 Sentinels answer, and all name the same master."),
    ]
    servers.running[servers.ports[2]].kill()
    servers.running[servers.ports[2]].wait()
    assert [one.level for one in preflight._broker("broker")] == ["ok", "warn"]


def test_neither_sentinel_nor_server_with_a_strangers_certificate_is_told_anything(servers: Servers) -> None:
    stranger = servers.url.replace(f"ssl_ca_certs={servers.folder}/ca.pem&", "")
    read = redis_url.parse(stranger)
    asked = cache_of(stranger)._cache._get_connection_pool(write=True).sentinel_manager.sentinels[0]
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        asked.connection_pool.make_connection()._connect()
    with broker_of(read) as broker, pytest.raises(Exception, match="No master found"):
        broker.default_channel.client.ping()


def test_the_settings_of_an_address_of_sentinels() -> None:
    read = redis_url.parse(
        "rediss+sentinel://user:p%40ss@s1,s2:26380/byok/3?sentinel_password=other&ssl_ca_certs=/dev/null"
    )
    assert read.problems == ()
    assert read.sentinels == (("s1", 26379), ("s2", 26380))
    assert read.broker == "sentinel://user:p%40ss@s1:26379/3;sentinel://user:p%40ss@s2:26380/3"
    assert (read.master, read.db, read.credentials) == ("byok", 3, {"username": "user", "password": "p@ss"})
    assert read.sentinel_options["password"] == "other"
    assert read.sentinel_options["ssl_check_hostname"] is True
