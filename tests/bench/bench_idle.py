"""What the embedded system takes while nobody uses it, against an idle Django, an idle Celery worker and an idle beat.

Both run side by side for IDLE_SECONDS (default 600) once their starts are over; the brokers count on both sides. Beside
it: CPU of the starts of two commands. Byte code has to be compiled, as `make` does it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from byokportal import redis_url
from tests import on_servers
from tests.bench.figure import Figure
from tests.bench.stack import ROOT, answers, free_port, process, wait_for

SECONDS = float(os.environ.get("IDLE_SECONDS", "600"))
SETTLE = 20.0
TICK = os.sysconf("SC_CLK_TCK")


def measure() -> Iterator[Figure]:
    """Yield how many times the CPU of a bare Django, worker and beat an idle system takes, and what its parts take."""
    with bare() as compared, embedded() as (system, environment):
        tenant = json.loads((Path(environment["VAR_DIR"]) / "run.json").read_text())["tenant"]
        commands = {
            "customer": ["--tenant", tenant, "--step", "1"],
            "create_tenant": ["--name", "Idle Bank", "--owner", "owner@idle.example"],
        }
        for name, arguments in commands.items():
            before = os.times()
            subprocess.run(
                [sys.executable, "manage.py", name, *arguments],
                env=environment,
                cwd=ROOT,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            after = os.times()
            taken = after.children_user + after.children_system - before.children_user - before.children_system
            yield Figure(f"CPU of `manage.py {name}`", taken, "s", 2)
        time.sleep(SETTLE)
        began, before_theirs, before_ours = time.monotonic(), taken_by(compared), taken_by(system)
        time.sleep(SECONDS)
        passed = time.monotonic() - began
        theirs, ours = difference(taken_by(compared), before_theirs), difference(taken_by(system), before_ours)
    for side, parts in (("bare", theirs), ("ours", ours)):
        text = ", ".join(f"{name} {100 * taken / passed:.2f}" for name, taken in parts.items())
        print(f"        % of a core, {side}: {text}", flush=True)
    share = 100 * sum(ours.values()) / passed
    yield Figure(f"CPU of the idle system over {passed:.0f} s", share, "% core", 5)
    yield Figure("the same, against idle Django, worker and beat", sum(ours.values()) / sum(theirs.values()), "x", 2)


Parts = dict[str, int]  # name → process id


@contextlib.contextmanager
def bare() -> Iterator[Parts]:
    """Run a Django project with nothing in it, a worker and beat as Celery starts them, and their broker."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="byok-bench-"))
        broker = stack.enter_context(on_servers.redis())
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "BROKER": redis_url.parse(broker).broker}
        port = free_port()
        python = [sys.executable, "-m"]
        parts = {
            "web": ["uvicorn", "tests.bench.bare:application", "--port", str(port), "--log-level", "critical"],
            "worker": ["celery", "-A", "tests.bench.bare", "worker", "-c", "2", "-l", "critical"],
            "beat": [
                "celery",
                "-A",
                "tests.bench.bare",
                "beat",
                "-s",
                f"{folder}/beat",
                "--pidfile=",
                "-l",
                "critical",
            ],
        }
        running = {
            name: stack.enter_context(process([*python, *command], environment)).pid for name, command in parts.items()
        }
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/"), "the bare Django")
        yield running | {"broker": broker_of(broker)}


@contextlib.contextmanager
def embedded() -> Iterator[tuple[Parts, dict[str, str]]]:
    """Run what `make run` runs.

    Yields:
        its parts, and the environment of a shell that means this run.
    """
    with tempfile.TemporaryDirectory(prefix="byok-bench-") as folder:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DJANGO_"))}
        environment = {**kept, "VAR_DIR": folder, "PORT": str(free_port()), "AWS_PORT": str(free_port())}
        with process([sys.executable, "-m", "byokportal.embedded", "run"], environment) as supervisor:
            wait_for((Path(folder) / "run.json").exists, "the embedded system", seconds=90)
            parts = {name_of(pid): pid for pid, parent in parents().items() if parent == supervisor.pid}
            yield {"supervisor": supervisor.pid, **parts}, environment


def name_of(pid: int) -> str:
    """Return what a part of the embedded system does, from how it was started."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    for word, name in {"byokportal.localaws": "aws", "byokportal.server": "web", "beat": "beat"}.items():
        if word in command:
            return name
    return command[command.index("-n") + 1].partition("@")[0] if "worker" in command else "broker"


def parents() -> dict[int, int]:
    return {pid: parent for pid, (parent, _) in processes().items()}


def processes() -> dict[int, tuple[int, float]]:
    """Return parent and CPU seconds (with those of ended children) of each process of the machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(fields[1]), sum(int(field) for field in fields[11:15]) / TICK
    return found


def taken_by(parts: Parts) -> dict[str, float]:
    """Return CPU seconds of each part, its children included, whether they live or have ended."""
    every = processes()
    total = dict.fromkeys(parts, 0.0)
    names = {pid: name for name, pid in parts.items()}
    for pid, (_, taken) in every.items():
        ancestor = pid
        while ancestor and ancestor not in names:
            ancestor = every[ancestor][0] if ancestor in every else 0
        if ancestor:
            total[names[ancestor]] += taken
    return total


def difference(after: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    return {name: after[name] - before[name] for name in after}


def broker_of(url: str) -> int:
    """Return the process id of the broker that we started."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])
