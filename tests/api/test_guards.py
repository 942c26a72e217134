"""Guards that the rest of the suite would not miss: each test here turns red when its guard is switched off."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import CUSTOMER, REGION, acting, acting_staff, save_draft
from django.contrib.auth.models import User
from django.core import mail
from django.http import HttpResponse
from django.test import Client, RequestFactory

from byokportal import bodies
from byokportal.errors import NotAllowed
from byokportal.localaws.testing import LocalAws
from keys import datakeys, services
from keys.models import BranchKey, KeyRegistration
from support import services as support_services
from tenants.models import Member, ServiceAccount, Tenant


def post(client: Client, tenant: Tenant, rest: str, body: dict[str, Any]) -> Any:
    return client.post(f"/api/v1/tenants/{tenant.pk}/{rest}", body, content_type="application/json")


# --- the key ---------------------------------------------------------------------------------------------------


def test_a_suspended_tenant_does_not_fall_back_to_the_platform_key(
    tenant: Tenant,
    active: KeyRegistration,
    alice: Member,
    service: ServiceAccount,
    api_of: Callable[..., Client],
    aws: LocalAws,
    settings: object,
) -> None:
    key = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    settings.PLATFORM_KEY_ARN = key  # type: ignore[attr-defined]
    api = api_of(service)
    made = post(api, tenant, "data-keys", {})
    assert made.status_code == 200
    services.suspend(tenant, reason="stop", actor=acting(alice))
    for rest, body in (("data-keys", {}), ("data-keys/decrypt", {"wrapped_key": made.json()["wrapped_key"]})):
        answer = post(api, tenant, rest, body)
        assert (answer.status_code, answer.json().get("code")) == (423, "suspended"), rest


def _kms_calls(aws: LocalAws, name: str) -> list[dict[str, Any]]:
    trail = aws.client(CUSTOMER, "cloudtrail", REGION)
    found = trail.lookup_events(LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}])["Events"]
    return [json.loads(event["CloudTrailEvent"])["requestParameters"] for event in found]


def test_each_call_of_ours_names_the_key_and_the_tenant(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: Callable[..., Client], aws: LocalAws
) -> None:
    """Decrypt without a KeyId would open with whatever key the ciphertext names;
    without the tenant, for whatever tenant."""
    made = post(api_of(service), tenant, "data-keys", {}).json()
    datakeys.start_anew()  # a process that holds nothing asks KMS again
    opened = post(api_of(service), tenant, "data-keys/decrypt", {"wrapped_key": made["wrapped_key"]}).json()
    assert opened["plaintext"] == made["plaintext"]
    branch_key = BranchKey.objects.of(tenant).get()
    context = {"tenant": str(tenant.pk), "branch-key": str(branch_key.pk)}
    of_branch_keys = [one for one in _kms_calls(aws, "Decrypt") if "branch-key" in (one.get("encryptionContext") or {})]
    assert of_branch_keys
    for call in of_branch_keys:
        assert call["encryptionContext"] == context
    for name in ("Decrypt", "GenerateDataKeyWithoutPlaintext", "GenerateDataKey", "Encrypt"):
        for call in _kms_calls(aws, name):
            assert call["keyId"] == active.key_arn, name
            assert call["encryptionContext"]["tenant"] == str(tenant.pk), name


# --- who may -----------------------------------------------------------------------------------------------------


def test_an_auditor_withdraws_nothing(tenant: Tenant, alice: Member, bob: Member) -> None:
    save_draft(
        tenant, key_arn=f"arn:aws:kms:{REGION}:{CUSTOMER}:key/1234abcd-12ab-34cd-56ef-1234567890ab", actor=acting(alice)
    )
    with pytest.raises(NotAllowed):
        services.withdraw(tenant, reason="no", actor=acting(bob))
    assert KeyRegistration.objects.of(tenant).in_preparation().exists()


def test_approving_needs_the_permission_of_its_own(tenant: Tenant, sam: User, settings: object, alice: Member) -> None:
    sam.groups.clear()
    with pytest.raises(NotAllowed):
        support_services.approve_configuration(tenant, reason="no", actor=acting_staff(sam))
    for member in (alice,):
        with pytest.raises(NotAllowed):
            support_services.approve_configuration(tenant, reason="no", actor=acting(member))


def test_internal_notes_are_not_in_the_api(
    tenant: Tenant, alice: Member, sam: User, api_of: Callable[..., Client]
) -> None:
    ticket = support_services.open_ticket(tenant, topic="question", subject="s", text="t", actor=acting(alice))
    support_services.answer_ticket(ticket, text="Between us.", is_internal=True, actor=acting_staff(sam))
    support_services.answer_ticket(ticket, text="For you.", actor=acting_staff(sam))
    answer = api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/tickets/{ticket.pk}/messages")
    assert [message["text"] for message in answer.json()["items"]] == ["t", "For you."]
    assert "Between us" not in api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/events").content.decode()


# --- the browser ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["people/", "key/suspend/", "key/resume/", "automation/", "tickets/", "key/leave/"])
def test_a_form_of_another_site_does_nothing(
    tenant: Tenant, alice: Member, browser_of: Callable[..., Client], path: str
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = browser_of(alice).cookies
    events = tenant.events.count()
    body = {"reason": "because", "email": "x@evil.example", "role": "owner", "name": "t", "subject": "s", "text": "t"}
    assert browser.post(f"/tenants/{tenant.pk}/{path}", body).status_code == 403
    assert tenant.events.count() == events


@pytest.mark.parametrize("path", ["/accounts/logout/", "/accounts/login/", "/accounts/password/change/", "/address/"])
def test_nor_one_that_touches_the_account(alice: Member, browser_of: Callable[..., Client], path: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = browser_of(alice).cookies
    assert browser.post(path, {"email": "x@evil.example"}).status_code == 403


def test_nor_one_in_the_back_office(tenant: Tenant, sam: User, browser_of: Callable[..., Client]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = browser_of(sam).cookies
    assert browser.post(f"/admin/tenants/tenant/{tenant.pk}/operations/suspend/", {"reason": "r"}).status_code == 403


def test_nobody_learns_whether_an_address_has_an_account(alice: Member) -> None:
    """The pages say the same for an address with an account and one without; only the mailbox learns more."""
    answers = {}
    for address in ("alice@acme.example", "nobody@acme.example"):
        reset, login = Client(), Client()
        asked = reset.post("/accounts/password/reset/", {"email": address}, follow=True)
        refused = login.post("/accounts/login/", {"login": address, "password": "wrong wrong wrong"})
        words = [page.content.decode().replace(address, "…").split("<main")[1] for page in (asked, refused)]
        answers[address] = [asked.redirect_chain, asked.status_code, refused.status_code, *map(_without_tokens, words)]
    assert answers["alice@acme.example"] == answers["nobody@acme.example"]
    assert any(
        "/accounts/password/reset/key/" in message.body
        for message in mail.outbox
        if message.to == ["alice@acme.example"]
    )
    assert not any(
        "/accounts/password/reset/key/" in message.body
        for message in mail.outbox
        if message.to != ["alice@acme.example"]
    )


def _without_tokens(page: str) -> str:
    import re

    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", page)


# --- bodies -----------------------------------------------------------------------------------------------------------


class _Unread:
    def read(self, *_: object) -> bytes:
        raise AssertionError("it was read")


@pytest.mark.parametrize(("rest", "limit"), [("tickets", 64 * 1024), ("data-keys", 256 * 1024)])
def test_a_body_over_the_bound_is_refused(
    tenant: Tenant, alice: Member, service: ServiceAccount, api_of: Callable[..., Client], rest: str, limit: int
) -> None:
    api = api_of(service if rest == "data-keys" else alice)
    for size in (limit, limit + 1):
        body = b'{"text": "' + b"x" * (size - 12) + b'"}'
        answer = api.generic("POST", f"/api/v1/tenants/{tenant.pk}/{rest}", body, "application/json")
        assert (answer.status_code == 413) is (size > limit)


@pytest.mark.parametrize(
    ("declared", "stream"),
    [
        (str(64 * 1024 + 1), _Unread()),
        ("10", io.BytesIO(bytes(64 * 1024 + 1))),
        ("x", _Unread()),
        ("9" * 40, _Unread()),
    ],
    ids=["declared too long: not read", "longer than declared", "no number", "a huge number"],
)
def test_whatever_its_length_claims(declared: str, stream: Any) -> None:
    request = RequestFactory().post("/api/v1/tenants/x/tickets", b"{}", content_type="application/json")
    request.META["CONTENT_LENGTH"] = declared
    request._stream = stream
    answer = bodies.BodyMiddleware(lambda request: HttpResponse("in"))(request)
    assert answer.status_code == 413
