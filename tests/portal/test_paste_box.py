"""The paste box as page, API and command: what cannot be seen, what stands alone, what is in another notation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from keys.policies import documents
from tenants.models import Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
ROOT = {"Sid": "Root", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"}
GUARD = {
    "Sid": "Guard",
    "Effect": "Deny",
    "Principal": "*",
    "Action": "kms:*",
    "Resource": "*",
    "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
}
POLICY = {"Version": "2012-10-17", "Statement": [ROOT, documents.key_policy_statement(ROLE), GUARD]}
TERRAFORM = 'resource "aws_kms_key" "k" {\n  policy = data.aws_iam_policy_document.key.json\n}\n'


@pytest.fixture
def registered(tenant: Tenant, alice: Member, api_of: Callable[[Member], Client]) -> Tenant:
    path = f"/api/v1/tenants/{tenant.pk}/registration"
    given = {"role_arn": ROLE, "key_arn": KEY}
    assert api_of(alice).put(path, given, content_type="application/json").status_code == 200
    return tenant


def test_the_page_says_what_cannot_be_seen_and_offers_no_other_document(
    registered: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    page = browser_of(alice).post(
        f"/tenants/{registered.pk}/check-policy/", {"kind": "key", "policy": json.dumps(POLICY, indent=2)}
    )
    text = page.content.decode()
    assert "Nothing that we can see is wrong with this." in text
    assert 'class="grant unseen"' in text and 'class="grant missing"' not in text
    assert "Leave the Deny as it is" in text
    assert page.context["reading"].corrected == ""


def test_the_page_tells_a_statement_to_add_from_a_document(
    registered: Tenant, alice: Member, browser_of: Callable[[Member], Client]
) -> None:
    page = browser_of(alice).post(f"/tenants/{registered.pk}/check-policy/", {"kind": "key", "policy": TERRAFORM})
    text = re.sub(r"\s+", " ", page.content.decode())
    assert "The statement to add" in text and "leave your own statements there" in text
    assert "Put it in the place of yours" not in text
    assert f"aws kms get-key-policy --key-id {KEY}" in text


CASES: list[tuple[str, str, set[str], list[str] | None]] = [
    # text, verdict, codes, Sids of what is given back; None for the bare statement
    (json.dumps(POLICY), "ok", {"condition_unseen"}, ["Root", "AllowYourAppAccess", "Guard"]),
    (
        json.dumps(POLICY, indent=1).replace('"Allow",', '"Allow,', 1),
        "unreadable",
        {"condition_unseen", "not_json"},
        ["Root", "AllowYourAppAccess", "Guard"],
    ),
    (f"```json\n{json.dumps(POLICY)}\n```", "ok", {"condition_unseen"}, ["Root", "AllowYourAppAccess", "Guard"]),
    (TERRAFORM, "unreadable", {"foreign_notation", "statement_alone"}, None),
]


def _is_right(answer: Any, verdict: str, codes: set[str], sids: list[str] | None) -> None:
    assert (answer["verdict"], {each["code"] for each in answer["findings"]}) == (verdict, codes), answer["findings"]
    corrected = json.loads(answer["corrected"])
    found = [each["Sid"] for each in corrected["Statement"]] if "Statement" in corrected else None
    assert found == sids


@pytest.mark.parametrize(("text", "verdict", "codes", "sids"), CASES)
def test_api_and_command_give_the_same_reading(
    registered: Tenant,
    alice: Member,
    api_of: Callable[[Member], Client],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    verdict: str,
    codes: set[str],
    sids: list[str] | None,
) -> None:
    answer = api_of(alice).post(
        f"/api/v1/tenants/{registered.pk}/policy-checks",
        {"kind": "key", "policy": text},
        content_type="application/json",
    )
    _is_right(answer.json(), verdict, codes, sids)
    file = tmp_path / "pasted.txt"
    file.write_text(text)
    call_command("check_policy", str(file), kind="key", tenant=str(registered.pk))
    printed = json.loads(capsys.readouterr().out)
    _is_right(printed, verdict, codes, sids)
    assert printed["findings"] == answer.json()["findings"]


def test_the_page_is_german_and_the_api_is_the_same_bytes(
    registered: Tenant, alice: Member, browser_of: Callable[[Member], Client], api_of: Callable[[Member], Client]
) -> None:
    text, german = json.dumps(POLICY, indent=2), {"accept-language": "de"}
    asked = {"kind": "key", "policy": text}
    page = browser_of(alice).post(f"/tenants/{registered.pk}/check-policy/", asked, headers=german).content.decode()
    assert "Lassen Sie das Deny, wie es ist" in page
    assert "Leave the Deny as it is" not in page
    address = f"/api/v1/tenants/{registered.pk}/policy-checks"
    asked = {"kind": "key", "policy": text}
    ours = api_of(alice).post(address, asked, content_type="application/json")
    theirs = api_of(alice).post(address, asked, content_type="application/json", headers=german)
    assert ours.content == theirs.content
    assert b"Leave the Deny as it is" in theirs.content
