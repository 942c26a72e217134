"""A database that is locked, or falls silent as a frozen server or a lost network does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections, transaction


def in_a_thread_of_its_own(do: Callable[[], Any]) -> Any:
    """Do it with another connection than the test's."""

    def closing() -> Any:
        try:
            return do()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(closing).result()


@contextlib.contextmanager
def a_locked_table() -> Iterator[None]:
    """Hold the table, as a migration or a long transaction of somebody else would."""
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:  # SQLite: IMMEDIATE takes the one write lock
            if connection.vendor == "postgresql":
                cursor.execute("LOCK TABLE keys_keyuse IN ACCESS EXCLUSIVE MODE")
            locked.set()
            done.wait(20)

    thread = threading.Thread(target=lambda: in_a_thread_of_its_own(hold))
    thread.start()
    try:
        assert locked.wait(5)
        yield
    finally:
        done.set()
        thread.join()


def end_other_connections() -> None:
    """End every connection to the database but this one, as a restart of the server does."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server that could end a connection")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )


class Wire:
    """A TCP relay in front of PostgreSQL that can fall silent, as a frozen server or a lost network does."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self.silent = (host or "127.0.0.1", port), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                while self.silent.is_set():
                    time.sleep(0.01)
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def wire_to_the_database() -> Iterator[Wire]:
    """Let every connection that is opened from now on go through a wire that can fall silent."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server that could fall silent")
    mine = connections.settings["default"]
    straight = {name: mine[name] for name in ("HOST", "PORT")}
    wire = Wire(mine["HOST"], int(mine["PORT"] or 5432))
    mine.update(HOST="127.0.0.1", PORT=str(wire.port))
    try:
        yield wire
    finally:
        wire.silent.clear()
        mine.update(straight)
        connections.close_all()
        wire.close()
