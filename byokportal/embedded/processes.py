"""Child processes that end with us: groups, prefixed lines, restart with back-off, stop in reverse order."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0)  # seconds before a child is started again
STEADY = 30.0  # seconds after which a restart is a first one again
GRACE = 8.0  # seconds that a child has to stop by itself
# Resolved here: between fork and exec nothing may be looked up.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def die_with_parent() -> None:
    """In the child: be killed when the supervisor is, however that happens (prctl(2))."""
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class Child:
    """One process that is kept running."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    next_start: float = 0.0
    threads: list[threading.Thread] = field(default_factory=list)


class Supervisor:
    """Starts children in order, restarts what falls, stops all in reverse order."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._children: list[Child] = []
        self._stopping = threading.Event()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Child:
        """Start a child and keep it running from now on."""
        child = Child(name, command, environment, log)
        self._children.append(child)
        self._spawn(child)
        return child

    def _spawn(self, child: Child) -> None:
        child.log.parent.mkdir(parents=True, exist_ok=True)
        child.process = subprocess.Popen(
            child.command,
            env=dict(child.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        child.started_at = time.monotonic()
        thread = threading.Thread(target=self._copy, args=(child, child.process), daemon=True)
        thread.start()

    def _copy(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with child.log.open("ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                self._show(f"{child.name:>8} │ {line.decode(errors='replace').rstrip()}")

    def watch(self, seconds: float | None = None) -> None:
        """Restart what falls until `stop` is called, or for so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._stopping.is_set() and (end is None or time.monotonic() < end):
            self.tend()
            self._stopping.wait(0.2)

    def tend(self) -> None:
        """Look at each child once; one that fell is started again after its back-off."""
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.next_start:
                    self._spawn(child)
                continue
            code = child.process.poll()
            if code is None:
                continue
            child.failures = 0 if now - child.started_at > STEADY else child.failures
            pause = BACK_OFF[min(child.failures, len(BACK_OFF) - 1)]
            child.failures += 1
            child.process, child.next_start = None, now + pause
            self._show(f"{child.name:>8} │ ended with {code}; it starts again in {pause:g} s")

    def kill(self, name: str) -> None:
        """Kill a child with its group, as a crash would; `tend` starts it again."""
        for child in self._children:
            if child.name == name and child.process is not None:
                _signal(child.process, signal.SIGKILL)

    def stop(self) -> None:
        """Stop every child, last started first; whoever does not stop by itself is killed with its group."""
        self._stopping.set()
        for child in reversed(self._children):
            process = child.process
            if process is None or process.poll() is not None:
                continue
            _signal(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            _signal(process, signal.SIGKILL)
            process.wait(GRACE)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
