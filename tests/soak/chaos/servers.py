"""A PostgreSQL and a Redis that can be stopped, killed, paused, emptied, filled and set back in time."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
import redis as redis_client

from byokportal.embedded.processes import die_with_parent
from byokportal.embedded.stack import _free_port, _listens
from tests.on_servers import _exists

DISK = 640  # MiB for PostgreSQL's data, WAL included
REDIS_DISK = 8  # MiB for the append-only file of Redis


class NotHere(Exception):
    """This machine cannot play the case; the message says what it lacks."""


class Disk:
    """A small file system in memory that a server writes to; a plain folder where nothing can be mounted."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        folder.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(folder)], capture_output=True, check=False
        )
        self.is_bounded = made.returncode == 0

    def fill(self) -> None:
        """Leave no room on it.

        Raises:
            NotHere: it has no bounds.
        """
        if not self.is_bounded:
            raise NotHere("to mount a small file system (root)")
        with (self.folder / "ballast").open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 65_536)
                file.flush()

    def empty(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)

    def remove(self) -> None:
        if self.is_bounded:
            subprocess.run(["umount", "-l", str(self.folder)], check=False)


class Server:
    """A server process with its children, as an operating system and an operator treat it."""

    process: subprocess.Popen[bytes]

    def family(self) -> list[int]:
        """Return the ids of the server's process and of all that it started."""
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                found += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found

    def pause(self) -> None:
        self._all(signal.SIGSTOP)

    def go_on(self) -> None:
        self._all(signal.SIGCONT)

    def kill(self) -> None:
        self._all(signal.SIGKILL)
        self.process.wait()

    def is_up(self) -> bool:
        return self.process.poll() is None

    def _all(self, number: signal.Signals) -> None:
        for pid in self.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class PostgreSQL(Server):
    """Runs as its package's user: PostgreSQL refuses to run as root.

    Raises:
        FileNotFoundError: it is not on this machine.
    """

    def __init__(self, folder: Path) -> None:
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        self._binaries = Path(found[-1] if found else shutil.which("postgres") or "").parent
        if not (self._binaries / "postgres").exists():
            raise FileNotFoundError("PostgreSQL")
        self.disk, self.port = Disk(folder, DISK), _free_port()
        self._user: dict[str, object] = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres" if _exists("postgres") else "nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._folder, self._log = folder, folder.parent / "postgresql.log"
        self.url = f"postgres://byok@127.0.0.1:{self.port}/postgres"
        initdb = ["initdb", "-D", "data", "-U", "byok", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [self._binaries / initdb[0], *initdb[1:]],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **self._user,  # type: ignore[call-overload]
        )
        self.start()

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        settings = ("listen_addresses=127.0.0.1", "max_connections=200", "max_wal_size=128MB", "fsync=off")
        options = [part for one in settings for part in ("-c", one)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._binaries / "postgres", "-D", "data", "-p", str(self.port), "-k", self._folder, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, **(environment or {})},
                preexec_fn=die_with_parent,
                **self._user,  # type: ignore[call-overload]
            )
        end = time.monotonic() + 60
        while not self.answers():
            if time.monotonic() > end or not self.is_up():
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it as an operator does: at once, without waiting for clients to leave."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def answers(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.url, connect_timeout=2) as connection:
            return connection.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,)
        return False

    def close(self) -> None:
        if self.is_up():
            self.kill()
        self.disk.remove()


class Redis(Server):
    """Keeps its data, as production's does.

    Raises:
        FileNotFoundError: it is not on this machine.
    """

    def __init__(self, folder: Path) -> None:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if found is None:
            raise FileNotFoundError("Redis")
        self._binary, self._folder = found, folder
        self.disk, self.port = Disk(folder, REDIS_DISK), _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""]
        options += ["--appendfsync", "everysec", "--auto-aof-rewrite-min-size", "1mb", "--dir", str(self._folder)]
        with (self._folder.parent / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._binary, *options], stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        end = time.monotonic() + 20
        while not _listens(self.port):
            if time.monotonic() > end:
                raise RuntimeError("Redis did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def lose(self) -> None:
        """Kill it and remove what it had written."""
        self.kill()
        for part in self._folder.iterdir():
            shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()

    def ask(self, *command: object) -> object:
        with redis_client.Redis(port=self.port, socket_timeout=5) as client:
            return client.execute_command(*command)

    def close(self) -> None:
        if self.is_up():
            self.kill()
        self.disk.remove()
