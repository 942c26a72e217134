"""The commands that answer a question a line:
good lines are answered, bad ones get an error line, and the rest go on."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from keys.management.commands import explain_aws_error

DISABLED = {"id": "1", "operation": "kms:Decrypt", "code": "DisabledException", "message": "key x is disabled."}
ALLOWED = {
    "id": "1",
    "action": "kms:Decrypt",
    "resource": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "principal": "arn:aws:iam::111122223333:role/r",
}


def _answers(command: str, lines: bytes, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
    call_command(command, stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("command", "good"), [("explain_aws_error", DISABLED), ("simulate_policy", ALLOWED)])
def test_a_bad_line_gets_an_error_line_and_the_rest_go_on(
    command: str, good: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps(good).encode()
    bad = [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"x" * 2_000_000,
        json.dumps({"id": "bad", "message": 7, "action": 7}).encode(),
    ]
    answers = _answers(command, b"\n".join([line, *bad, b"", b"  ", line]), monkeypatch)
    assert len(answers) == len(bad) + 2  # an empty line asks nothing
    assert answers[0] == answers[-1]
    assert answers[0]["id"] == "1"
    assert "error" not in answers[0]
    assert all(set(answer) <= {"id", "error"} and answer["error"] for answer in answers[1:-1])
    assert answers[-2]["id"] == "bad"


def test_causes_steps_and_what_to_do_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (answer,) = _answers("explain_aws_error", json.dumps(DISABLED).encode(), monkeypatch)
    assert answer["causes"] == ["key_disabled"]
    assert answer["steps"] == [1]
    assert answer["text"] == "Step 1: Enable the key: aws kms enable-key --key-id <your key ARN>."
    assert set(answer) == {"id", "causes", "steps", "text"}


def test_message_or_code_may_be_absent_but_not_both(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"id": 1, "code": "InvalidCiphertextException", "message": None},
        {"id": 2, "message": "key x is disabled."},
        {"id": 3},
    ]
    first, second, third = _answers("explain_aws_error", "\n".join(map(json.dumps, lines)).encode(), monkeypatch)
    assert first["causes"] == ["encryption_context_mismatch", "ciphertext_invalid"]
    assert second["causes"] == ["key_disabled"]
    assert third == {"id": 3, "error": "There is neither a message nor a code to explain."}


def test_a_message_has_a_greatest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    most = explain_aws_error.MAX_TEXT
    lines = b"\n".join(json.dumps({"id": 1, "message": "é" * size}).encode() for size in (most, most + 1))
    fits, too_long = _answers("explain_aws_error", lines, monkeypatch)
    assert fits["causes"] == []
    assert "at most" in too_long["error"]


def test_a_file_is_read_and_one_that_is_not_there_is_said(tmp_path: Path) -> None:
    file = tmp_path / "errors.jsonl"
    file.write_text(json.dumps(DISABLED))
    out = io.StringIO()
    call_command("explain_aws_error", str(file), stdout=out)
    assert json.loads(out.getvalue())["steps"] == [1]
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("explain_aws_error", str(tmp_path / "none.jsonl"))
