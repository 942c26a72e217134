"""The system under the drill: two web processes, each kind of worker alone, beat, and the servers that they need."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from byokportal.embedded.processes import Supervisor, die_with_parent
from byokportal.embedded.stack import CUSTOMERS, ROOT, _free_port, _listens
from byokportal.localaws import fault_socket
from tests.soak.__main__ import TIMES
from tests.soak.chaos.servers import NotHere, PostgreSQL, Redis, Server
from tests.soak.upgrade import Proxy, is_ready

# Each kind of worker alone, as in docker-compose.yml: name → queues, processes.
WORKERS = {
    "checks": ("checks", 2),
    "configuration": ("configuration", 1),
    "probes": ("sweep", 2),
    "bulk": ("bulk", 2),
    "webhooks": ("webhooks,streams", 2),
}
WEBS = ("web-1", "web-2")
SETTINGS = {**TIMES, "SEAL_HEAD_SECONDS": "20", "SEAL_USES_SECONDS": "30", "MANY_DENIALS": "50"}
HELD = 4.0  # seconds that a table is held at a time: less than anybody waits for a lock
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"


class System:
    """Everything in one folder; whoever waits by `wait` and `rest` keeps what fell coming up again, as systemd does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "logs").mkdir()
        (folder / "clocks").mkdir()
        self.postgresql, self.redis = PostgreSQL(folder / "postgresql"), Redis(folder / "redis")
        self.proxy = Proxy()
        self._supervisor = Supervisor(lambda line: None)
        self._environments: dict[str, dict[str, str]] = {}
        self.ports = {name: _free_port() for name in WEBS}
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_"))},
            "DJANGO_SETTINGS_MODULE": "byokportal.settings",
            "DATABASE_URL": self.postgresql.url,
            "REDIS_URL": self.redis.url,
            "VAR_DIR": str(folder),
            "EMBEDDED": "1",
            "AWS_MODE": "local",
            "BASE_URL": f"http://localhost:{self.proxy.port}",
            **SETTINGS,
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def start(self) -> dict[str, Any]:
        """Start everything; return what `tests.soak.onboard` needs."""
        self._child("aws", "-m", "byokportal.localaws", "--port", "0", "--var-dir", str(self.folder))
        self.wait("the local AWS", lambda: (self.folder / "localaws.json").exists(), 60)
        self.manage("migrate", "--verbosity", "0")
        self.manage("open_service_role")
        for name, port in self.ports.items():
            self._child(name, "-m", "byokportal.server", "--port", str(port))
        for name, (queues, processes) in WORKERS.items():
            options = ["-n", f"{name}@%h", "-Q", queues, "-c", str(processes)]
            options += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            self._child(name, "-m", "celery", "-A", "byokportal", "worker", *options, VAR_DIR=str(self.folder))
        schedule = str(self.folder / "schedule")
        self._child("beat", "-m", "celery", "-A", "byokportal", "beat", "-s", schedule, "--pidfile=")
        self.proxy.backends = list(self.ports.values())
        self.wait("the web processes", self.is_ready, 180)
        self.local = json.loads((self.folder / "localaws.json").read_text())
        account = CUSTOMERS[0]
        return {
            "url": self.url,
            "aws_endpoint": self.local["endpoint"],
            "accounts": {account: self.local["accounts"][account]},
        }

    def stop(self) -> None:
        self._supervisor.stop()
        self.postgresql.close()
        self.redis.close()

    def manage(self, *arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=die_with_parent,
        )
        if ran.returncode:
            raise SystemExit(f"NOT: manage.py {arguments[0]} failed:\n{ran.stderr[-3000:]}")
        return ran.stdout

    # --- waiting ------------------------------------------------------------------------------------------------

    def rest(self, seconds: float) -> None:
        self._supervisor.watch(seconds)

    def wait(self, what: str, is_so: Callable[[], object], seconds: float) -> None:
        """Wait until something is so.

        Raises:
            TimeoutError: it was not in time.
        """
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds:g} s: {what}")
            self._supervisor.tend()
            time.sleep(0.02)

    def is_ready(self) -> bool:
        return _listens(self.proxy.port) and all(is_ready(port) for port in self.ports.values())

    # --- killing ------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """Kill a process with all that it started: `kill -9`, or a machine that is gone."""
        self._supervisor.kill(name)

    def kill_children(self, name: str) -> None:
        """Kill what a worker's first process started, as the kernel does when memory is short."""
        for pid in Family(self._child_of(name)).family()[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def is_up(self, name: str) -> bool:
        return any(one.name == name and one.process is not None for one in self._supervisor._children)

    def _child_of(self, name: str) -> subprocess.Popen[bytes]:
        child = next(one for one in self._supervisor._children if one.name == name)
        assert child.process is not None, f"{name} does not run"
        return child.process

    # --- clocks -------------------------------------------------------------------------------------------------

    def wears(self, name: str) -> dict[str, str]:
        """Return the environment in which a process reads the time through a file that `set_clock` writes.

        Raises:
            NotHere: libfaketime is not on this machine.
        """
        library = next(iter(sorted(Path("/").glob(FAKETIME.lstrip("/")))), None)
        if library is None:
            raise NotHere("libfaketime (Debian's package faketime)")
        self.set_clock(name, "+0")
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._clock(name)),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def set_clock(self, name: str, offset: str) -> None:
        """Set the clock of a process that wears one: "-1h", "+0"."""
        self._clock(name).write_text(offset)
        self._clock(name).chmod(0o644)

    def _clock(self, name: str) -> Path:
        return self.folder / "clocks" / name

    def dress(self, name: str, clothes: dict[str, str] | None) -> None:
        """Start a process anew with other variables in its environment, or without them (None)."""
        environment = self._environments[name]
        for variable in ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE", "FAKETIME_CACHE_DURATION"):
            environment.pop(variable, None)
        environment.update(clothes or {})
        self.kill(name)

    # --- the database ---------------------------------------------------------------------------------------------

    def connect(self, name: str = "drill") -> psycopg.Connection[Any]:
        return psycopg.connect(self.postgresql.url, autocommit=True, connect_timeout=5, application_name=name)

    def ask(self, statement: str, *parameters: Any) -> list[Any]:
        with self.connect() as connection:
            return connection.execute(statement, parameters).fetchall()

    def kill_at(self, table: str, *names: str, kill: Callable[[str], None], within: float = 240.0) -> None:
        """Hold a table until one of the processes stands before a write to it, and kill that one there.

        That is how a kill meets one point of the code, without a word about it in the code. The table is held for some
        seconds at a time: who comes to this point may wait for others, who wait for the table too. So work that beat
        begins once a minute may be missed more than once.

        Raises:
            TimeoutError: none came there.
        """
        end = time.monotonic() + within
        while time.monotonic() < end:
            with self.connect("holder") as holder, holder.transaction(force_rollback=True):
                holder.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")  # readers go on
                with contextlib.suppress(TimeoutError):
                    self.wait(table, lambda: self._stand_at(table, names), HELD)
                if found := self._stand_at(table, names):
                    kill(found[0][0])
                    return
            self.rest(HELD / 2)
        raise TimeoutError(f"not within {within:g} s: {', '.join(names)} at {table}")

    def _stand_at(self, table: str, names: tuple[str, ...]) -> list[Any]:
        return self.ask(
            "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.relation = %s::regclass AND NOT l.granted AND a.application_name = ANY(%s)",
            table,
            list(names),
        )

    # --- the local AWS ------------------------------------------------------------------------------------------

    def fault(self, **rule: Any) -> None:
        """Let a rule of `manage.py faults` stand."""
        self._ask_faults(do="add", rule=rule)

    def end_faults(self) -> None:
        self._ask_faults(do="clear")

    def has_met(self, times: int) -> bool:
        """Tell whether a call has met the rule that stands for so many."""
        return any(rule["times"] < times for rule in self._ask_faults(do="list")["rules"])

    def _ask_faults(self, **question: Any) -> dict[str, Any]:
        answer = fault_socket.ask(self.folder / fault_socket.NAME, question)
        assert "error" not in answer, answer
        return answer

    def _child(self, name: str, *arguments: str, **more: str) -> None:
        database = f"{self.postgresql.url}?application_name={name}"
        self._environments[name] = environment = {**self._environment, "DATABASE_URL": database, **more}
        log = self.folder / "logs" / f"{name}.log"
        self._supervisor.start(name, [sys.executable, *arguments], environment, log)


class Family(Server):
    """A process of ours with its children."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process


@contextlib.contextmanager
def running() -> Iterator[tuple[System, dict[str, Any]]]:
    """Run a system of its own; CHAOS_LOGS names where its logs are kept.

    Raises:
        FileNotFoundError: PostgreSQL or Redis is not on this machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="byok-chaos-"))
    folder.chmod(0o755)  # PostgreSQL's user goes through it
    try:
        system = System(folder)
        try:
            yield system, system.start()
        finally:
            system.stop()
            if kept := os.environ.get("CHAOS_LOGS"):
                shutil.copytree(folder / "logs", kept, dirs_exist_ok=True)
                for log in folder.glob("*.log"):
                    shutil.copy(log, kept)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
