"""The paste box through its command and the API: same reading, same shape."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from tenants.models import AuditEvent, Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def _trust(tenant: Tenant, **condition: Any) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": tenant.service_role.arn}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Condition": condition}]}, indent=2)


def _command(tenant: object, kind: str, file: object, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    call_command("check_policy", "--kind", kind, "--tenant", str(tenant), str(file))
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_a_file_is_read_and_one_object_printed(
    tenant: Tenant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trust.json"
    file.write_text(_trust(tenant, StringLike={"sts:ExternalId": "*"}))
    answer = _command(tenant.pk, "trust", file, capsys)
    assert list(answer) == ["verdict", "findings", "corrected"]
    assert answer["verdict"] == "unsafe"
    assert [(each["code"], each["line"]) for each in answer["findings"]] == [("too_wide_wildcard", 12)]
    assert set(answer["findings"][0]) == {"code", "severity", "line", "text", "fix"}
    file.write_text(answer["corrected"])
    assert _command(tenant.pk, "trust", file, capsys)["verdict"] == "ok"


def test_standard_input_and_odd_encodings(
    tenant: Tenant, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _trust(tenant, StringEquals={"sts:ExternalId": tenant.external_id})
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert _command(tenant.pk, "trust", "-", capsys)["verdict"] == "ok"
    file = tmp_path / "policy"
    for raw, code in (
        (text.encode("utf-16"), "byte_order_mark"),
        (b"\xef\xbb\xbf" + text.encode(), "byte_order_mark"),
        (text.encode().replace(b"2012", b"\xff\xfe"), "character"),
        (b"\x00" * 1000, "character"),
        (b"[" * 1_000_000, "too_long"),
        (b"", "empty"),
    ):
        file.write_bytes(raw)
        answer = _command(tenant.pk, "trust", file, capsys)
        assert answer["verdict"] == "unreadable"
        assert code in {each["code"] for each in answer["findings"]}
        assert json.loads(answer["corrected"]) == json.loads(text)


def test_who_is_unknown_and_what_cannot_be_opened_is_an_error(tenant: Tenant, tmp_path: Path) -> None:
    for who, kind, file in (
        ("nobody", "trust", tmp_path / "a"),
        ("00000000-0000-0000-0000-000000000000", "trust", tmp_path / "a"),
        (tenant.pk, "trust", tmp_path / "missing"),
        (tenant.pk, "trust", tmp_path),
        (tenant.pk, "nonsense", tmp_path / "a"),
    ):
        with pytest.raises(CommandError):
            call_command("check_policy", "--kind", kind, "--tenant", str(who), str(file))


def test_the_api_says_the_same_and_keeps_nothing(
    tenant: Tenant, alice: Member, bob: Member, api_of: Callable[[Member], Client], caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/api/v1/tenants/{tenant.pk}/policy-checks"
    policy = _trust(tenant, StringEquals={"sts:ExternalId": "byok-somebody-elses"})
    for member in (alice, bob):
        answer = api_of(member).post(path, {"kind": "trust", "policy": policy}, content_type="application/json")
        assert answer.status_code == 200
        assert answer.json()["verdict"] == "incomplete"
        assert "external_id_mismatch" in {each["code"] for each in answer.json()["findings"]}
    assert "somebody-elses" not in caplog.text
    assert "somebody-elses" not in str(list(AuditEvent.objects.values_list("payload", flat=True)))
    for bad in ({"kind": "x", "policy": "{}"}, {"kind": "trust"}, {"kind": "trust", "policy": 5}):
        refused = api_of(alice).post(path, bad, content_type="application/json")
        assert refused.status_code == 400
    # A lone surrogate is legal in JSON and in no text: it comes back escaped.
    raw = '{"kind": "trust", "policy": "{\\"Version\\": \\"\\ud800\\", \\"Statement\\": [{\\"Sid\\": \\"\\ud800\\"}]}"}'
    answer = api_of(alice).post(path, raw, content_type="application/json")
    assert answer.status_code in {200, 400}
