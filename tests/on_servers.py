"""Runs what asks a database or a broker on PostgreSQL and Redis:
those of DATABASE_URL and REDIS_URL, else servers started for the run."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# What a server may leave out whose data nobody needs tomorrow.
CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def main() -> int:
    if sys.argv[1:] == ["--found"]:
        return 0 if _are_found() else 1
    with contextlib.ExitStack() as stack:
        try:
            database = os.environ.get("DATABASE_URL") or stack.enter_context(postgresql())
            broker = os.environ.get("REDIS_URL") or stack.enter_context(redis())
        except FileNotFoundError as missing:
            print(f"== SKIPPED: the suite on PostgreSQL and Redis; {missing} was not found on this machine")
            return 1 if os.environ.get("CI") else 0
        print("== what asks a database or a broker, on PostgreSQL and Redis", flush=True)
        environment = {**os.environ, "DATABASE_URL": database, "REDIS_URL": broker}
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-n",
                "2",
                "--dist",
                "worksteal",
                "-q",
                "--on-servers",
                "-m",
                "not slow or servers",
            ],
            env=environment,
            check=False,
        ).returncode


@contextlib.contextmanager
def postgresql(*, durable: bool = False) -> Iterator[str]:
    """Start a PostgreSQL of our own; it refuses to run as root, so then it runs as its package's user.

    Args:
        durable: wait for the disk at each commit, as production does; tests need not.
    """
    binary = _postgresql_programs()
    folder = tempfile.mkdtemp(prefix="byok-pg-")
    as_user: dict[str, object] = {}
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres" if _exists("postgres") else "nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, port = f"{folder}/data", _free_port()
    subprocess.run(
        [binary / "initdb", "-D", data, "-U", "byok", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **as_user,  # type: ignore[call-overload]
    )
    server = subprocess.Popen(
        [
            binary / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-k",
            folder,
            "-c",
            "listen_addresses=127.0.0.1",
            *(() if durable else (part for setting in CARELESS for part in ("-c", setting))),
            "-c",
            "max_connections=300",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        **as_user,  # type: ignore[call-overload]
    )
    try:
        for _ in range(150):
            ready = (
                subprocess.run(
                    [binary / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)], check=False
                ).returncode
                == 0
            )
            if ready:
                break
            time.sleep(0.1)
        yield f"postgres://byok@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # at once: the smart way waits for every client to leave
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def redis() -> Iterator[str]:
    server = _redis_program()
    folder = tempfile.mkdtemp(prefix="byok-redis-")
    sock = f"{folder}/redis.sock"
    process = subprocess.Popen(
        [server, "--port", "0", "--unixsocket", sock, "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
    )
    try:
        while not Path(sock).exists():
            time.sleep(0.05)
        yield f"unix://{sock}?db=0"
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _are_found() -> bool:
    """Tell whether there is a database and a broker to run on."""
    with contextlib.suppress(FileNotFoundError):
        return bool(
            (os.environ.get("DATABASE_URL") or _postgresql_programs())
            and (os.environ.get("REDIS_URL") or _redis_program())
        )
    return False


def _postgresql_programs() -> Path:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    folder = Path(found[-1] if found else shutil.which("postgres") or "").parent
    if not (folder / "postgres").exists():
        raise FileNotFoundError("PostgreSQL")
    return folder


def _redis_program() -> str:
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    if server is None:
        raise FileNotFoundError("Redis")
    return server


def _exists(user: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
