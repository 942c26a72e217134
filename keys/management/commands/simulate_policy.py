"""Ask the policy evaluator from a shell: JSON lines in, verdicts out."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from keys.policies import simulation

MAX_LINE = 1024 * 1024  # bytes: more than all policies of one request can have
DEPTH = "The line is nested too deeply."


class Command(BaseCommand):
    help = (
        "Reads JSON lines (id, action, resource, principal, identityPolicies, resourcePolicy, context and, where they are, "
        "resourceAccount, sessionPolicy, permissionBoundaries, scps, rcps) and prints a JSON line (id, verdict, because) for each. "
        "A line that cannot be read gets an error line; the rest go on."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", nargs="?", default="-", help="a file of JSON lines; - or nothing reads standard input"
        )

    def handle(self, **options: Any) -> None:
        if options["file"] == "-":
            self._answer(sys.stdin.buffer)
        else:
            try:
                with open(options["file"], "rb") as lines:
                    self._answer(lines)
            except OSError as error:
                raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from None

    def _answer(self, lines: Any) -> None:
        while line := lines.readline(MAX_LINE + 1):
            is_long = len(line) > MAX_LINE
            while is_long and not line.endswith(b"\n") and (line := lines.readline(MAX_LINE)):
                pass  # the rest of a line that is too long is not a line of its own
            if is_long:
                self._print({"error": f"A line has at most {MAX_LINE} bytes."})
            elif line.strip():
                self._print(_decided(line))

    def _print(self, answer: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(answer))


def _decided(line: bytes) -> dict[str, Any]:
    try:
        question = json.loads(line)
    except ValueError as error:
        return {"error": f"The line is not JSON: {error}"}
    except RecursionError:
        return {"error": DEPTH}
    if not isinstance(question, dict):
        return {"error": "The line is not a JSON object."}
    name = {"id": question["id"]} if "id" in question else {}
    try:
        return {**name, **simulation.simulate(question)}
    except simulation.Unreadable as error:
        return {**name, "error": str(error)}
    except RecursionError:
        return {**name, "error": DEPTH}
