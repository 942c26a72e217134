"""The way to the faults from outside: JSON lines over VAR_DIR/faults.sock, which its owner alone may open."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from pathlib import Path
from typing import Any

from byokportal.localaws import faults
from byokportal.localaws.faults import Faults

NAME = "faults.sock"
MAX_LINE = 64 * 1024  # bytes


def serve(path: Path, rules: Faults) -> socketserver.BaseServer:
    """Listen on a socket of mode 600 in a thread of its own; `shutdown()` and `server_close()` end it."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10  # seconds

        def handle(self) -> None:
            answer = _answered(self.rfile.readline(MAX_LINE + 1), rules)
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    path.unlink(missing_ok=True)
    before = os.umask(0o177)  # the socket is never there with another mode
    try:
        server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
    finally:
        os.umask(before)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True, name="faults").start()
    return server


def ask(path: Path, question: dict[str, Any]) -> dict[str, Any]:
    """Send one question to a running local AWS and return its answer.

    Raises:
        OSError: nobody listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(json.dumps(question).encode() + b"\n")
        with connection.makefile("rb") as answer:
            return dict(json.loads(answer.readline(MAX_LINE * 16)))


def _answered(line: bytes, rules: Faults) -> dict[str, Any]:
    """Do what a line asks: `{"do": "add", "rule": {…}}`, `{"do": "clear", "number"?: …}` or `{"do": "list"}`."""
    try:
        if len(line) > MAX_LINE:
            raise ValueError(f"A line has at most {MAX_LINE} bytes.")
        question = json.loads(line)
        if not isinstance(question, dict):
            raise ValueError("A line is a JSON object.")
        match question.get("do"):
            case "add" if isinstance(question.get("rule"), dict):
                added = rules.add(faults.rule_of(question["rule"]))
                return {"added": added.number, "rules": rules.rules()}
            case "clear" if question.get("number") is None or isinstance(question["number"], int):
                return {"cleared": rules.clear(question.get("number")), "rules": rules.rules()}
            case "list":
                return {"rules": rules.rules()}
        raise ValueError("do is add (with a rule), clear or list.")
    except (ValueError, RecursionError) as error:
        return {"error": str(error)}
