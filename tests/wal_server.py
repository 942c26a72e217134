"""A PostgreSQL of a drill: its WAL goes to another folder before a commit is answered, and its disk can be lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from on_servers import _exists, _free_port


class WalServer:
    """Runs as the package's user: PostgreSQL refuses to run as root."""

    def __init__(self, binaries: Path) -> None:
        import pwd

        self._binaries, self.port = binaries, _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="byok-wal-"))
        self._data, self._backup, self._wal = (self.folder / name for name in ("data", "backup", "wal"))
        self._as_user: dict[str, Any] = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres" if _exists("postgres") else "nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._run(
            "initdb", "-D", str(self._data), "-U", "byok", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        self._start()

    def back_up(self) -> None:
        """Make a base backup, and from then on keep each commit in another folder too."""
        self._wal.mkdir()
        if self._as_user:
            os.chown(self._wal, self._as_user["user"], self._as_user["group"])
        self._spawn("pg_receivewal", "-D", str(self._wal), *self._where, "--synchronous", "--no-loop")
        self._run("pg_basebackup", "-D", str(self._backup), *self._where, "--wal-method=fetch", "--checkpoint=fast")
        for statement in ("ALTER SYSTEM SET synchronous_standby_names = 'pg_receivewal'", "SELECT pg_reload_conf()"):
            self._run("psql", *self._where, "-d", "postgres", "-qc", statement)
        self._until("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")

    def lose_the_disk(self) -> None:
        """Kill the server as a loss of power does, and remove what it had."""
        self._processes[0].send_signal(signal.SIGQUIT)
        self.stop()
        shutil.rmtree(self._data)

    def recover(self) -> None:
        """Start from the base backup and all WAL that was kept."""
        self._backup.rename(self._data)
        (self._data / "recovery.signal").touch()
        (self._data / "postgresql.auto.conf").write_text(
            f"restore_command = 'cp {self._wal}/%f %p || cp {self._wal}/%f.partial %p'\n"
        )
        self._start()
        self._until("SELECT NOT pg_is_in_recovery()")

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGINT)
        for process in self._processes:
            process.wait(20)
        self._processes.clear()

    @property
    def _where(self) -> tuple[str, ...]:
        return "-h", "127.0.0.1", "-p", str(self.port), "-U", "byok"

    def _start(self) -> None:
        settings = ("listen_addresses=127.0.0.1", "max_connections=60", f"unix_socket_directories={self.folder}")
        options = [part for one in settings for part in ("-c", one)]
        self._spawn("postgres", "-D", str(self._data), "-p", str(self.port), *options)
        self._until("SELECT true")

    def _spawn(self, name: str, *arguments: str) -> None:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **self._as_user}
        self._processes.append(subprocess.Popen([self._binaries / name, *arguments], cwd=self.folder, **quiet))

    def _run(self, name: str, *arguments: str) -> str:
        said = {"capture_output": True, "text": True, "check": True, **self._as_user}
        return str(subprocess.run([self._binaries / name, *arguments], cwd=self.folder, **said).stdout).strip()

    def _until(self, question: str) -> None:
        for _ in range(300):
            with contextlib.suppress(subprocess.CalledProcessError):
                if self._run("psql", *self._where, "-d", "postgres", "-Atqc", question) == "t":
                    return
            time.sleep(0.1)
        raise TimeoutError(question)


@contextlib.contextmanager
def wal_server(binaries: Path) -> Iterator[WalServer]:
    server = WalServer(binaries)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
