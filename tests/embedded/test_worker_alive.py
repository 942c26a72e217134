"""A worker says by a file that it lives: while its loop goes round, and while it waits for a Redis that is away."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from byokportal import celery_programs

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from byokportal import celery_programs
from byokportal.celery import app
import django
django.setup()
celery_programs.EVERY = 0.1
app.Worker(queues=["checks"], concurrency=1, hostname="celery@tests").start()
"""
REDIS = shutil.which("redis-server")


def until(ready: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def says_again(alive: Path) -> None:
    """See that the file comes back: twice, because the first one may have been on its way."""
    for _ in range(2):
        until(alive.exists)
        alive.unlink()
    until(alive.exists)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def worker(tmp_path: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    left = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    variables = {"VAR_DIR": str(tmp_path), "EMBEDDED": "1", "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env={**left, **variables}, stdout=out, stderr=out, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def redis(folder: Path, port: int) -> Iterator[None]:
    command = [str(REDIS), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.kill()
        server.wait()


@pytest.mark.skipif(REDIS is None, reason="redis-server is not on this machine")
def test_a_worker_says_that_it_lives_with_redis_without_it_and_with_it_again(
    tmp_path: Path, port: int, worker: subprocess.Popen[str]
) -> None:
    alive, log = tmp_path / celery_programs.ALIVE, tmp_path / "worker.log"

    def logged(words: str, times: int = 1) -> Callable[[], bool]:
        return lambda: log.read_text().count(words) >= times

    says_again(alive)  # there was no Redis yet
    for each in (1, 2):
        with redis(tmp_path, port):
            until(logged("mingle: all alone", each))
            says_again(alive)
        until(logged("onnection to broker lost", each))
        says_again(alive)
    assert worker.poll() is None


@pytest.mark.skipif(REDIS is None, reason="redis-server is not on this machine")
def test_a_worker_outlives_a_redis_that_refuses_to_be_written_to(
    tmp_path: Path, port: int, worker: subprocess.Popen[str]
) -> None:
    """As the old master does in a failover, and any server whose disk or memory is full."""
    log = tmp_path / "worker.log"

    def logged(words: str, times: int = 1) -> Callable[[], bool]:
        def is_so() -> bool:
            assert worker.poll() is None, log.read_text()[-2000:]
            return log.read_text().count(words) >= times

        return is_so

    with redis(tmp_path, port), Redis(port=port) as client:
        until(logged("mingle: all alone"))
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        until(logged("onnection to broker lost"))
        says_again(tmp_path / celery_programs.ALIVE)
        client.execute_command("REPLICAOF", "NO", "ONE")
        until(logged("mingle: all alone", 2))
