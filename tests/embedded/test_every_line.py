"""Every line that a process of ours prints is one JSON object, from its first to its last, and each task has one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from byokportal import lines
from byokportal.embedded.stack import ROOT, Stack

PROCESSES = ("web", "worker", "background", "configuration", "beat")


def read(text: str) -> list[dict[str, Any]]:
    """Return the objects of the lines; one that is none fails."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(one, dict) and one["event"] and one["level"] and one["timestamp"] for one in found), found
    return found


def until(ready: Callable[[], Any], seconds: float = 90) -> Any:
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.1)
    return found


def environment(var_dir: Path, **more: str) -> dict[str, str]:
    left = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**left, "VAR_DIR": str(var_dir), "EMBEDDED": "1", **more}


def ran(var_dir: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(var_dir, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs of a whole system that ran, lost a process of a worker, and was stopped."""
    var_dir = tmp_path_factory.mktemp("var")
    stack = Stack(var_dir, port=0, aws_port=0, settings={"LOG_LEVEL": "INFO"}, show=lambda line: None)
    logs = var_dir / "logs"
    try:
        stack.start()
        until(lambda: '"event": "task"' in (logs / "worker.log").read_text())
        (worker,) = (one.process for one in stack._supervisor._children if one.name == "worker")
        assert worker is not None
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        until(lambda: "SIGKILL" in (logs / "worker.log").read_text())
    finally:
        stack.stop()
    return logs


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES)
def test_every_line_of_a_process_is_one_json_object(stopped: Path, process: str) -> None:
    found = read((stopped / f"{process}.log").read_text())
    events = [one["event"] for one in found]
    if process == "beat":
        assert "beat_starts" in events
    elif process != "web":
        assert "worker_starts" in events
        assert "worker: Warm shutdown (MainProcess)" in events


@pytest.mark.slow
def test_each_task_has_one_line_with_name_id_duration_outcome_and_queue(stopped: Path) -> None:
    found = [one for log in PROCESSES for one in read((stopped / f"{log}.log").read_text()) if "task_id" in one]
    tasks = [one for one in found if one["event"] == "task"]
    assert tasks
    for one in tasks:
        assert one["task"].split(".")[1] == "tasks"
        assert one["outcome"] == "success"
        assert type(one["duration_ms"]) is int
        assert one["queue"] in {"checks", "bulk", "sweep", "webhooks", "configuration"}
    ids = [one["task_id"] for one in tasks]
    # The process that was killed may have ended one that its worker did not hear of: that one is delivered again.
    assert len(ids) - len(set(ids)) <= 1
    assert not [one for one in found if str(one.get("logger")).startswith(("celery.app.trace", "django_structlog"))]


@pytest.mark.slow
def test_the_processes_of_a_web_server_and_their_parent_write_json(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "byokportal.server", "--port", "0", "--workers", "2"],
        cwd=ROOT,
        env=environment(tmp_path, PYTHONWARNINGS="always"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    until(lambda: len(children.read_text().split()) >= 3)  # two, and the tracker of multiprocessing
    os.kill(int(children.read_text().split()[-1]), signal.SIGKILL)
    time.sleep(3)
    server.terminate()
    read(server.communicate(timeout=60)[0])


@pytest.mark.django_db
def test_the_request_id_of_a_line_is_the_one_that_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        answer = Client().get("/accounts/login/", headers={"x-request-id": "a-request-of-a-test-0003"})
    found = {one.msg["request_id"] for one in caplog.records if isinstance(one.msg, dict) and "request_id" in one.msg}
    assert found == {"a-request-of-a-test-0003"} == {answer["X-Request-ID"]}


def test_what_migrate_prints_is_json(tmp_path: Path) -> None:
    done = ran(tmp_path, "manage.py", "migrate", "sessions")
    assert done.returncode == 0, done.stderr
    events = [one["event"] for one in read(done.stdout)]
    assert "Running migrations:" in events
    assert any(event.startswith("  Applying sessions.0001_initial") and event.endswith("OK") for event in events)
    assert read(done.stderr) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("manage.py", "migrate"),
        ("-m", "byokportal.server"),
        ("-m", "celery", "-A", "byokportal", "worker"),
        ("-m", "celery", "-A", "byokportal", "beat"),
    ],
    ids=lambda arguments: arguments[-1],
)
def test_a_process_that_cannot_start_says_so_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = ran(tmp_path, *arguments, PROBE_SECONDS="often")
    assert done.returncode != 0
    found = read(done.stdout + done.stderr)
    assert [one for one in found if "PROBE_SECONDS is a number" in one.get("exception", "")]


PRINTS = """
import sys, threading, warnings
from byokportal import lines
lines.every_line_is_json()
lines.every_line_is_json()
print("one"); print("two", "three"); print("four\\nfive"); print('{"event": "six", "level": "info", "timestamp": ""}')
print("AKIAIOSFODNN7EXAMPLE is a key", file=sys.stderr)
warnings.warn("seven")
threading.Thread(target=lambda: 1 / 0).start()
print("eight", end="")
"""


def test_whatever_is_printed_becomes_an_event_without_secrets(tmp_path: Path) -> None:
    done = ran(tmp_path, "-c", PRINTS)
    events = [one["event"] for one in (json.loads(line) for line in done.stdout.splitlines())]
    assert events == ["one", "two three", "four", "five", "six", "eight"]
    said = read(done.stderr)
    assert "AKIA" not in done.stderr
    assert any("seven" in one["event"] for one in said)
    assert any("ZeroDivisionError" in one.get("exception", "") for one in said)


def test_a_line_is_one_object_whatever_stands_in_it() -> None:
    assert json.loads(lines.of('a "quote"\nand a line'))["event"] == 'a "quote"\nand a line'
