"""Makes every line that a process of ours prints one JSON object, whoever prints it: a library, a banner, a traceback.

Logging writes JSON already (`LOGGING` in the settings). This is for what goes past it, before and after it is set up.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from byokportal import logs


def every_line_is_json() -> None:
    """Let this process print JSON lines only; what a person reads at a terminal stays as it is.

    For the programs that run as a service (web, workers, beat, `migrate`), first thing; a second call changes nothing.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, Lines) or stream.isatty():
            continue
        setattr(sys, name, Lines(stream))
    if isinstance(sys.stderr, Lines):
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_a_thread
        sys.unraisablehook = _unraisable


def of(event: str, *, level: str = "info", logger: str = "print", **more: Any) -> str:
    """Return the line of an event, as those of the log are, without its end."""
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return logs.render_json(None, "", {"event": event, "level": level, "logger": logger, "timestamp": at, **more})


class Lines(io.TextIOBase):
    """A stream that writes JSON lines to another one; what is no JSON object becomes the `event` of one.

    Args:
        stream: where the lines go; nothing of a line is written before its end is known.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""
        self._lock = threading.RLock()
        os.register_at_fork(after_in_child=self._anew)
        atexit.register(self._end)

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._begun = (self._begun + text).split("\n")
            for line in whole:
                self._put(line)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it writable
        return "utf-8"

    def _put(self, line: str) -> None:
        line = line.rstrip("\r")
        if line.startswith('{"') and line.endswith("}"):
            self._stream.write(line + "\n")
        elif line.strip():
            self._stream.write(of(line) + "\n")

    def _end(self) -> None:
        """Write what nobody ended."""
        self.write("\n")
        self.flush()

    def _anew(self) -> None:
        """In a child: a thread of the parent may have held the lock, and what it had begun is the parent's."""
        self._lock, self._begun = threading.RLock(), ""


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(of("uncaught exception", level="critical", logger="byokportal.lines", exception=text) + "\n")
    sys.stderr.flush()


def _uncaught_in_a_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None and not issubclass(given.exc_type, SystemExit):
        _uncaught(given.exc_type, given.exc_value, given.exc_traceback)


def _unraisable(given: sys.UnraisableHookArgs) -> None:
    if given.exc_value is not None:
        _uncaught(given.exc_type, given.exc_value, given.exc_traceback)
