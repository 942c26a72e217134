"""Explain AWS errors from a shell: JSON lines in, causes, steps and what to do out."""

from __future__ import annotations

from typing import Any

from keys.management.jsonlines import JsonLinesCommand, Unreadable
from keys.proof.diagnosis import parsing

MAX_TEXT = 64 * 1024  # characters of a message: more than any SDK prints with one error


class Command(JsonLinesCommand):
    help = (
        "Reads JSON lines (id, operation, code, message: an AWS error in any SDK's wrapping; "
        "code or message may be absent) and prints a JSON line (id, causes, steps, text) for each: "
        "the causes that are consistent with it, the steps of the guide where their remedies lie, and what to do. "
        "A line that cannot be read gets an error line; the rest go on."
    )
    max_line = 8 * MAX_TEXT  # bytes: JSON may write one character in six

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        message, code, operation = (_text(question, name) for name in ("message", "code", "operation"))
        if not (message.strip() or code.strip()):
            raise Unreadable("There is neither a message nor a code to explain.")
        found = parsing.read(message, operation=operation, code=code)
        return {"causes": list(found.causes), "steps": list(found.steps), "text": found.text}


def _text(question: dict[str, Any], name: str) -> str:
    value = question.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Unreadable(f"{name} is a text of at most {MAX_TEXT} characters.")
    return value
