"""The evidence for auditors: what is in it, its period, its digest, who may, and the two files."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import re
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import acting
from django.test import Client

from byokportal import clock
from keys import datakeys, evidence_pdf, log_heads, services, usage
from keys.models import CheckResult, EncryptionTest, KeyRegistration, RevocationDrill
from tenants import audit, log_trees
from tenants.models import AuditEvent, Member, Tenant

Api = Callable[[Any], Client]


def of(tenant: Tenant, client: Client, **period: str) -> Any:
    return client.get(f"/api/v1/tenants/{tenant.pk}/evidence", period)


@pytest.fixture
def lived(tenant: Tenant, alice: Member, active: KeyRegistration) -> Tenant:
    """Acme Bank after a suspension, a drill, some use and an hour of sealing."""
    datakeys.generate(tenant, [{"object": "1"}] * 3, caller="service:search", request_id="r")
    usage.roll_up()
    services.suspend(tenant, reason="=HYPERLINK(a rehearsal)", actor=acting(alice))
    services.resume(tenant, reason="over", actor=acting(alice))
    now = clock.now()
    RevocationDrill.objects.create(
        tenant=tenant,
        registration=active,
        status="done",
        started_by="member:alice@acme.example",
        bound_seconds=300,
        until=now,
        dropped=2,
        refused_at=now - timedelta(seconds=31),
        stopped_at=now - timedelta(seconds=1),
        finished_at=now,
    )
    log_trees.seal()
    log_heads.publish_due()
    return tenant


def test_it_holds_what_an_auditor_asks_for(lived: Tenant, alice: Member, active: KeyRegistration, api_of: Api) -> None:
    found = of(lived, api_of(alice)).json()
    assert found["organisation"] == {"id": str(lived.pk), "name": "Acme Bank"}
    (registration,) = found["registrations"]["items"]
    assert (registration["key_arn"], registration["role_arn"]) == (active.key_arn, active.role_arn)
    assert [move["to"] for move in registration["moves"]][:4] == ["submitted", "configuring", "testing", "active"]
    (test,) = found["tests"]["items"]
    refusals = [check for check in test["checks"] if check["is_refusal"]]
    wanted = {"external_id.required", "external_id.exact", "role.refuses_others", "use.context_is_bound"}
    assert {check["code"] for check in refusals} == {*wanted, "hygiene.key_policy"}
    assert {check["verdict"] for check in refusals} == {"pass"} and all(check["aws_request_id"] for check in refusals)
    (drill,) = found["drills"]["items"]
    assert (drill["stopped_after_seconds"], drill["has_to_stop_within_seconds"]) == ("30.0", 300)
    assert [one["whose"] for one in found["outages"]["items"]] == ["person"]
    (use,) = found["uses"]["items"]
    assert use == {"service": "service:search", "operation": "generate", "requests": 1, "data_keys": 3}
    assert {"by": "member:alice@acme.example", "what": "keys.key.suspended", "times": 1} in found["who_did_what"][
        "items"
    ]
    assert found["log"]["head"]["lines"] == AuditEvent.objects.of(lived).filter(seal_number__isnull=False).count()
    assert all(part["is_complete"] for part in found.values() if isinstance(part, dict) and "is_complete" in part)
    assert lived.external_id not in json.dumps(found)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"action": "kms:DescribeKey", "request_id": "r", "warning": "Your key answers us."}, "answers"),
        (
            {"aws_code": "AccessDeniedException", "request_id": "r", "note": "Our own policies did not let us ask."},
            "Our",
        ),
    ],
)
def test_a_check_that_passed_without_a_refusal_proves_none(
    facts: dict[str, str], said: str, lived: Tenant, alice: Member, api_of: Api
) -> None:
    CheckResult.objects.filter(code="hygiene.key_policy").update(evidence=facts)
    CheckResult.objects.filter(code="external_id.required").update(verdict="fail")
    found = of(lived, api_of(alice)).json()
    (test,) = found["tests"]["items"]
    refused = {check["code"] for check in test["checks"] if check["is_refusal"]}
    assert refused == {"external_id.exact", "role.refuses_others", "use.context_is_bound"}
    (check,) = (check for check in test["checks"] if check["code"] == "hygiene.key_policy")
    assert (check["warning"], check["note"]) == (facts.get("warning", ""), facts.get("note", ""))
    assert said in words_of(evidence_pdf.render(found))


def words_of(pdf: bytes) -> str:
    """Return what is drawn on the pages; a word that is not of ASCII stands there in octal."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    pages = [zlib.decompress(base64.a85decode(part.strip().removesuffix(b"~>"))) for part in streams]
    drawn = b" ".join(re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", b"".join(pages)))
    return re.sub(rb"\\(.)", rb"\1", drawn).decode()


def test_its_digest_is_of_its_canonical_json(lived: Tenant, alice: Member, api_of: Api) -> None:
    found = of(lived, api_of(alice)).json()
    body = {name: value for name, value in found.items() if name != "sha256"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert found["sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_period_holds_its_days_and_no_others(
    lived: Tenant, alice: Member, active: KeyRegistration, api_of: Api, probe_now: Callable[..., KeyRegistration]
) -> None:
    for _ in range(2):  # it serves again, and the outage has an end
        probe_now(active)
    assert active.status == "active"
    client, today = api_of(alice), clock.now().date()
    yesterday = (today - timedelta(days=1)).isoformat()
    first = (today - timedelta(days=300)).isoformat()
    before = of(lived, client, **{"from": first, "to": yesterday}).json()
    for part in ("tests", "drills", "uses", "who_did_what"):
        assert before[part] == {"items": [], "is_complete": True}, part
    assert before["period"] == {"since": first, "until": yesterday, "timezone": "UTC"}
    one_day = of(lived, client, **{"from": today.isoformat(), "to": today.isoformat()}).json()
    assert len(one_day["tests"]["items"]) == len(one_day["outages"]["items"]) == 1
    tomorrow = (today + timedelta(days=1)).isoformat()
    after = of(lived, client, **{"from": tomorrow, "to": tomorrow}).json()
    assert after["outages"] == {"items": [], "is_complete": True}, "what ended before is of another period"


def test_more_changes_of_state_than_are_read_are_said_to_be_missing(
    lived: Tenant, alice: Member, api_of: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(of(lived, api_of(alice)).json()[part]["is_complete"] for part in ("registrations", "outages"))
    monkeypatch.setattr(importlib.import_module("keys.services.evidence"), "MOVES", 2)
    found = of(lived, api_of(alice)).json()
    assert not any(found[part]["is_complete"] for part in ("registrations", "outages"))


@pytest.mark.parametrize(
    ("period", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"to": "٢٠٢٦-٠١-٠١"}, "to"),
        ({"to": "0001-01-01"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, "from"),
        ({"from": "2025-01-01", "to": "2026-02-05"}, "from"),
        ({"from": "2026-01-01" * 1000}, "from"),
    ],
)
def test_a_period_that_is_none_is_refused(
    period: dict[str, str], field: str, tenant: Tenant, alice: Member, api_of: Api, browser_of: Callable[..., Client]
) -> None:
    answer = of(tenant, api_of(alice), **period)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    page = browser_of(alice).get(f"/tenants/{tenant.pk}/log/evidence/", period)
    assert page.status_code == 200 and "Download as PDF" not in page.content.decode()


def test_who_may_not(lived: Tenant, bob: Member, mallory: Member, service: Any, api_of: Api) -> None:
    assert of(lived, api_of(bob)).status_code == 200
    assert of(lived, api_of(mallory)).status_code == 404
    assert of(lived, api_of(service)).status_code == 403
    assert of(lived, Client()).status_code == 401


def test_the_pdf_says_the_same_and_names_the_digest(lived: Tenant, alice: Member, api_of: Api, tmp_path: Any) -> None:
    answer = api_of(alice).get(f"/api/v1/tenants/{lived.pk}/evidence/pdf")
    assert (answer["Content-Type"], answer.content[:5]) == ("application/pdf", b"%PDF-")
    evidence = of(lived, api_of(alice)).json()
    made = evidence_pdf.render(evidence)
    assert made == evidence_pdf.render(evidence)
    evidence["sha256"] = "0" * 64
    words = words_of(evidence_pdf.render(evidence))
    assert "0" * 64 in words and "Acme Bank" in words
    (registration,), (test,) = (evidence[part]["items"] for part in ("registrations", "tests"))
    ids = {registration["id"], registration["key_arn"], registration["role_arn"], evidence["log"]["head"]["root"]}
    ids |= {check["aws_request_id"] for check in test["checks"]}
    together = words.replace(" ", "")
    assert [one for one in ids - {"", registration["id"]} if one not in together] == []
    for said in ("30.0", "alice@acme.example", "service:search", "keys.key.suspended", "rehearsal"):
        assert said in together


def test_hostile_and_very_long_words_break_no_document(lived: Tenant, alice: Member, api_of: Api) -> None:
    evidence = of(lived, api_of(alice)).json()
    hostile = "<b>&amp;</para> \x00\x07 " + "x" * 3_000 + " 漢字 \U0001f512 <img src='file:///etc/passwd'/>"
    evidence["organisation"]["name"] = hostile
    for part in ("registrations", "tests", "drills", "outages", "uses", "who_did_what"):
        for one in evidence[part]["items"]:
            one.update({name: hostile for name, value in one.items() if isinstance(value, str) and "_at" not in name})
    evidence["tests"]["items"] *= 40
    assert evidence_pdf.render(evidence).startswith(b"%PDF-")


def test_the_page_leads_to_the_files_of_the_period(
    lived: Tenant, bob: Member, browser_of: Callable[..., Client]
) -> None:
    browser, page = browser_of(bob), f"/tenants/{lived.pk}/log/evidence/"
    text = browser.get(page, {"from": "2026-11-01", "to": "2026-11-30"}).content.decode()
    assert "evidence.pdf?from=2026-11-01&amp;to=2026-11-30" in text
    for extension, kind in (("json", "application/json"), ("pdf", "application/pdf")):
        file = browser.get(f"{page}evidence.{extension}", {"from": "2026-11-01", "to": "2026-11-30"})
        assert (file.status_code, file["Content-Type"]) == (200, kind)
        assert file["Content-Disposition"] == f'attachment; filename="byok-evidence-2026-11-01-2026-11-30.{extension}"'
    assert browser.get(f"{page}evidence.json", {"from": "x"}).status_code == 400


def test_what_does_not_fit_is_said_to_be_missing(
    lived: Tenant, alice: Member, active: KeyRegistration, api_of: Api
) -> None:
    now = clock.now()
    EncryptionTest.objects.bulk_create(
        EncryptionTest(tenant=lived, registration=active, status="finished", verdict="pass", finished_at=now)
        for _ in range(101)
    )
    found = of(lived, api_of(alice)).json()["tests"]
    assert (len(found["items"]), found["is_complete"]) == (100, False)
    assert audit.canonical(found)
