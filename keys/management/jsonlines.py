"""JSON lines in, JSON lines out: what the commands share that answer one question a line."""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser

DEPTH = "The line is nested too deeply."


class Unreadable(ValueError):
    """A question that cannot be answered; the message says what is wrong with it."""


class JsonLinesCommand(BaseCommand):
    """Reads a file or standard input; a line that cannot be read gets an error line, and the rest go on."""

    requires_system_checks: list[str] = []
    max_line: ClassVar[int] = 1024 * 1024  # bytes

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the members of the answer; `id` is added.

        Raises:
            ValueError: the question cannot be read; its message becomes the error.
        """
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", default="-", help="a file of JSON lines; - or nothing reads standard input"
        )

    def handle(self, **options: Any) -> None:
        if options["file"] == "-":
            self._answer_all(sys.stdin.buffer)
            return
        try:
            with open(options["file"], "rb") as lines:
                self._answer_all(lines)
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from None

    def _answer_all(self, lines: BinaryIO) -> None:
        while line := lines.readline(self.max_line + 1):
            is_long = len(line) > self.max_line
            while is_long and not line.endswith(b"\n") and (line := lines.readline(self.max_line)):
                pass  # the rest of a line that is too long is not a line of its own
            if is_long:
                self._print({"error": f"A line has at most {self.max_line} bytes."})
            elif line.strip():
                self._print(self._answered(line))

    def _print(self, answer: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(answer))

    def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            question = json.loads(line, object_pairs_hook=_once, parse_constant=_no_number)
        except ValueError as error:
            return {"error": f"The line is not JSON: {error}"}
        except RecursionError:
            return {"error": DEPTH}
        if not isinstance(question, dict):
            return {"error": "The line is not a JSON object."}
        name = {"id": question["id"]} if "id" in question else {}
        try:
            return {**name, **self.answer(question)}
        except ValueError as error:
            return {**name, "error": str(error)}
        except RecursionError:
            return {**name, "error": DEPTH}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice in an object: two readers would read two policies."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object.")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON.")
