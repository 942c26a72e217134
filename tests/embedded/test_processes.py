"""The supervisor: restarts what falls, stops in reverse order, leaves nothing behind;
clear words when something is in the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from byokportal.embedded.processes import Supervisor
from byokportal.embedded.stack import ROOT, CannotStart, Stack

SLEEP = "import os, time, sys; print(os.getpid(), flush=True); time.sleep(60)"


def until(ready: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_a_child_that_falls_is_started_again(tmp_path: Path) -> None:
    shown: list[str] = []
    supervisor, log = Supervisor(shown.append), tmp_path / "logs" / "a.log"
    supervisor.start("a", [sys.executable, "-c", SLEEP], os.environ, log)
    until(lambda: len(pids(log)) == 1)
    os.kill(pids(log)[0], signal.SIGKILL)

    def again() -> bool:
        supervisor.tend()
        return len(pids(log)) == 2

    until(again)
    assert any("starts again" in line for line in shown)
    second = pids(log)[1]
    supervisor.stop()
    assert not lives(second)


def test_children_are_stopped_last_first_with_their_own_children(tmp_path: Path) -> None:
    supervisor = Supervisor(lambda line: None)
    parent = (
        "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(p.pid, flush=True); p.wait()"
    )
    for name in ("first", "second"):
        supervisor.start(name, [sys.executable, "-c", parent], os.environ, tmp_path / f"{name}.log")
    until(lambda: all(pids(tmp_path / f"{name}.log") for name in ("first", "second")))
    grandchildren = [pids(tmp_path / f"{name}.log")[0] for name in ("first", "second")]
    supervisor.stop()
    until(lambda: not any(lives(pid) for pid in grandchildren))


def test_nothing_is_left_when_the_supervisor_itself_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    program = (
        "import os, sys, time, pathlib; from byokportal.embedded.processes import Supervisor; s = Supervisor(print); "
        f"s.start('c', [sys.executable, '-c', {SLEEP!r}], os.environ, pathlib.Path({str(log)!r})); time.sleep(60)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL)
    until(lambda: bool(pids(log)))
    (child,) = pids(log)
    supervisor.kill()
    supervisor.wait()
    until(lambda: not lives(child))


def run(var_dir: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DJANGO_SETTINGS_MODULE", "VAR_DIR", "EMBEDDED", "SECRET_KEY"}
    }
    return subprocess.run(
        [sys.executable, "-m", "byokportal.embedded", "run"],
        env={**kept, "VAR_DIR": str(var_dir), **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("name", ["PORT", "AWS_PORT"])
def test_a_port_in_use_is_a_clear_message_and_not_a_traceback(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run(tmp_path, **{"PORT": "0", "AWS_PORT": "0", name: port})
    assert done.returncode == 1
    assert f"Port {port} is in use" in done.stderr
    assert f"{name}=" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_none_is_a_clear_message(tmp_path: Path) -> None:
    done = run(tmp_path, PORT="eighty")
    assert (done.returncode, "PORT has to be a port number" in done.stderr) == (1, True)


def test_one_directory_is_used_by_one_run_at_a_time(tmp_path: Path) -> None:
    first = Stack(tmp_path, port=0, aws_port=0, settings={}, show=lambda line: None)
    from byokportal.embedded import stack

    held = stack._lock(tmp_path)
    with pytest.raises(CannotStart, match="in use by another run"):
        first.start()
    os.close(held)


@pytest.mark.slow
def test_the_whole_stack_comes_up_keeps_everything_and_ends_with_0(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        environment = {**os.environ, "VAR_DIR": str(tmp_path), "PORT": "0", "AWS_PORT": "0"}
        for name in (
            "DJANGO_SETTINGS_MODULE",
            "EMBEDDED",
            "SECRET_KEY",
            "EXTERNAL_ID_PROBE_GAP",
            "DATABASE_URL",
            "REDIS_URL",
        ):
            environment.pop(name, None)
        process = subprocess.Popen(
            [sys.executable, "-m", "byokportal.embedded", "run"],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C stops everything" in line:
                break
        run_json = (tmp_path / "run.json").read_text()
        assert (tmp_path / "run.json").stat().st_mode & 0o777 == 0o600
        seen.append(
            {
                name: value
                for name, value in __import__("json").loads(run_json).items()
                if name in {"accounts", "sign_ins", "tenant"}
            }
        )
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)
        assert process.returncode == 0
    assert seen[0] == seen[1]
