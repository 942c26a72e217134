"""The cloud engineer without an account: a link opens steps 1 to 4 and nothing else, and what comes in by it waits."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import CUSTOMER, Customer, acting, invited, lines_by, save_draft
from django.core import mail
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed
from keys import services
from keys.errors import LinkOver, TooManyLinks
from keys.models import ArnProposal, KeyRegistration, SetupLink
from keys.services import links
from support import follow, notices
from tenants import attempts, roles, tokens
from tenants import services as tenant_services
from tenants.models import AuditEvent, Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


def _made(tenant: Tenant, alice: Member, **more: Any) -> tuple[SetupLink, str]:
    return services.make_link(tenant, name="Cloud platform", **more, actor=acting(alice))


def _colleague(raw: str) -> Client:
    """A browser that has followed the link."""
    client = Client()
    answer = client.get(f"/setup-links/{raw}/")
    assert answer["Location"] == "/setup-link/"
    assert answer["Referrer-Policy"] == "no-referrer"
    return client


def _names() -> list[str]:
    return list(AuditEvent.objects.order_by("pk").values_list("name", flat=True))


def test_an_owner_makes_a_link_that_is_shown_once(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    browser, path = browser_of(alice), f"/tenants/{tenant.pk}/links/"
    answer = browser.post(path, {"name": "Cloud platform", "days": "30"})
    page = browser.get(answer["Location"]).content.decode()
    raw = page.partition("/setup-links/")[2].partition("/")[0]
    link = SetupLink.objects.get()
    assert link.digest == tokens.digest(raw)
    assert raw not in browser.get(answer["Location"]).content.decode()
    assert raw not in str(SetupLink.objects.values()) + str(list(AuditEvent.objects.values_list("payload", flat=True)))
    assert (link.expires_at - link.created_at).days == 30
    assert services.link_by_secret(raw) == link
    assert len(lines_by("member:alice@acme.example", "keys.link.made")) == 1


def test_the_colleague_does_steps_1_to_4_and_an_owner_confirms(
    alice: Member,
    tenant: Tenant,
    customer: Customer,
    work: Callable[[], None],
    browser_of: Callable[[Member], Client],
) -> None:
    _, raw = _made(tenant, alice)
    colleague = _colleague(raw)
    page = html.unescape(colleague.get("/setup-link/").content.decode())
    for value in (tenant.external_id, tenant.service_role.arn, tenant.name, "Cloud platform"):
        assert value in page
    users = {
        "Effect": "Allow",
        "Principal": {"AWS": CUSTOMER},
        "Action": "kms:*",
        "Resource": "*",
        "Condition": {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{CUSTOMER}:user/*"}},
    }
    key = customer.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": [users]}))
    assert colleague.post("/setup-link/propose/", {"outputs": key})["Location"] == "/setup-link/"
    assert not KeyRegistration.objects.exists()  # it waits
    proposal = ArnProposal.objects.get()
    owner = browser_of(alice)
    for step in (1, 2, 6):
        assert key in owner.get(f"/tenants/{tenant.pk}/steps/{step}/").content.decode()
    answer = owner.post(f"/tenants/{tenant.pk}/proposals/{proposal.pk}/confirm/")
    assert answer["Location"] == f"/tenants/{tenant.pk}/steps/6/"
    assert KeyRegistration.objects.get().key_arn == key
    # Step 2 with the documents of the link; the statement of step 3 comes with it once the role is confirmed.
    customer.create_role(
        colleague.get("/setup-link/documents/trust-policy").content.decode(),
        colleague.get("/setup-link/documents/permissions-policy").content.decode(),
    )
    colleague.post("/setup-link/propose/", {"outputs": json.dumps({"RoleArn": customer.role_arn, "KeyArn": key})})
    owner.post(f"/tenants/{tenant.pk}/proposals/{services.pending_proposal(tenant).pk}/confirm/")  # type: ignore[union-attr]
    owner.post(f"/tenants/{tenant.pk}/steps/6/")
    work()
    # The key policy is missing: the colleague reads what the test found, and the corrected document.
    page = html.unescape(colleague.get("/setup-link/").content.decode())
    assert "What our test found" in page
    assert "AllowYourAppAccess" in page
    customer.add_key_statement(json.loads(colleague.get("/setup-link/documents/key-policy-statement").content))
    services.start_test(tenant, actor=acting(alice))
    work()
    assert KeyRegistration.objects.get().status == "active"
    assert colleague.get("/setup-link/").status_code == 404  # it has ended by itself
    assert [name for name in _names() if "link" in name or "arns" in name] == [
        "keys.link.made",
        "keys.link.opened",
        "keys.arns.proposed",
        "keys.arns.confirmed",
        "keys.arns.proposed",
        "keys.arns.confirmed",
    ]
    assert lines_by("link:Cloud platform", "keys.arns.proposed")


def test_no_people_tickets_or_log_stand_on_its_pages(alice: Member, bob: Member, tenant: Tenant) -> None:
    _, raw = _made(tenant, alice)
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    colleague = _colleague(raw)
    for path in (
        "",
        "check-policy/",
        "change-request/",
        "change-request.md",
        *(f"documents/{n}" for n in ("cli", "terraform")),
    ):
        answer = colleague.get(f"/setup-link/{path}")
        assert answer.status_code == 200
        text = answer.content.decode()
        for secret in ("alice@", "bob@", "acme.example", f"/tenants/{tenant.pk}", "/log/", "/tickets/", "/people/"):
            assert secret not in text, (path, secret)
        assert "no-store" in answer["Cache-Control"]


def test_the_link_opens_no_page_of_the_tenant(alice: Member, tenant: Tenant) -> None:
    _, raw = _made(tenant, alice)
    colleague = _colleague(raw)

    def routes(patterns: Any = None, prefix: str = "") -> list[str]:
        found = []
        for pattern in patterns or get_resolver().url_patterns:
            route = prefix + str(pattern.pattern)
            found += routes(pattern.url_patterns, route) if isinstance(pattern, URLResolver) else []
            found += [route] if isinstance(pattern, URLPattern) else []
        return found

    walked = [route for route in routes() if route.startswith("tenants/<uuid:tenant>/") and route.count("<") == 1]
    assert len(walked) > 20
    for route in walked:
        for answer in (colleague.get("/" + route.replace("<uuid:tenant>", str(tenant.pk))),):
            assert answer.status_code in {302, 405}, route
            assert answer.status_code == 405 or answer["Location"].startswith("/accounts/login/"), route


def test_whoever_holds_a_link_may_do_no_operation(alice: Member, tenant: Tenant) -> None:
    link, _ = _made(tenant, alice)
    assert not [name for name in roles.OPERATIONS if roles.allowed(links.by(link), name, tenant)]


@pytest.mark.parametrize("end", ["revoked", "expired", "active", "unknown"])
def test_a_link_that_is_over_opens_nothing(
    alice: Member, tenant: Tenant, end: str, browser_of: Callable[[Member], Client]
) -> None:
    link, raw = _made(tenant, alice)
    colleague = _colleague(raw)
    colleague.post("/setup-link/propose/", {"outputs": ROLE})
    proposal = ArnProposal.objects.get()
    if end == "revoked":
        for _ in range(2):
            browser_of(alice).post(f"/tenants/{tenant.pk}/links/{link.pk}/revoke/")
        assert _names().count("keys.link.revoked") == 1
    elif end == "expired":
        SetupLink.objects.update(expires_at=clock.now())
    elif end == "active":
        KeyRegistration.objects.create(
            tenant=tenant, key_arn=KEY, role_arn=ROLE, status="active", role_claim="a", activated_at=clock.now()
        )
    else:
        colleague = _colleague(tokens.new_secret("sl"))
    for path in ("", "check-policy/", "change-request/", "documents/cli"):
        answer = colleague.get(f"/setup-link/{path}")
        assert answer.status_code == 404
        assert tenant.external_id not in answer.content.decode()
        assert tenant.name not in answer.content.decode()
    assert colleague.post("/setup-link/propose/", {"outputs": KEY}).status_code == 404
    assert ArnProposal.objects.count() == 1
    if end != "unknown":  # what came in by it ends with it
        assert services.pending_proposal(tenant) is None
        browser_of(alice).post(f"/tenants/{tenant.pk}/proposals/{proposal.pk}/confirm/")
        assert ArnProposal.objects.get().status == "pending"


def test_links_are_bounded_in_number_time_and_use(alice: Member, tenant: Tenant) -> None:
    link, _ = _made(tenant, alice)
    for days in (0, 91, -1):
        with pytest.raises(InvalidInput):
            _made(tenant, alice, days=days)
    for _ in range(links.OPEN_LINKS - 1):
        _made(tenant, alice)
    with pytest.raises(TooManyLinks):
        _made(tenant, alice)
    SetupLink.objects.filter(pk=link.pk).update(proposed=links.PROPOSALS)
    with pytest.raises(LinkOver):
        services.propose(link, text=ROLE)
    assert not ArnProposal.objects.exists()


def test_who_asks_too_often_from_one_address_waits(alice: Member, tenant: Tenant) -> None:
    _, raw = _made(tenant, alice)
    colleague = _colleague(raw)
    attempts.forget_all()
    statuses = {colleague.get("/setup-link/check-policy/").status_code for _ in range(120)}
    assert statuses == {200}
    refused = colleague.get("/setup-link/check-policy/")
    assert refused.status_code == 429


def test_a_new_proposal_replaces_the_one_before_and_each_is_decided_once(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    link, _ = _made(tenant, alice)
    first = services.propose(link, text=ROLE + "1")
    second = services.propose(link, text=ROLE + "2")
    owner = browser_of(alice)
    assert owner.post(f"/tenants/{tenant.pk}/proposals/{first.pk}/confirm/").status_code == 409
    assert owner.post(f"/tenants/{tenant.pk}/proposals/{second.pk}/refuse/").status_code == 302
    assert owner.post(f"/tenants/{tenant.pk}/proposals/{second.pk}/confirm/").status_code == 409
    assert not KeyRegistration.objects.exists()
    assert list(ArnProposal.objects.order_by("created_at").values_list("status", flat=True)) == ["replaced", "refused"]


@pytest.mark.parametrize(
    "text",
    ["", "nothing", "arn:aws:iam::999900001111:role/theirs", "arn:aws-cn:iam::111122223333:role/x", "x" * 70_000],
)
def test_what_could_never_be_used_is_refused_beside_the_box(alice: Member, tenant: Tenant, text: str) -> None:
    _, raw = _made(tenant, alice)
    page = _colleague(raw).post("/setup-link/propose/", {"outputs": text})
    assert page.status_code == 200
    assert page.context["outputs_form"].errors
    assert not ArnProposal.objects.exists()


def test_an_auditor_sees_and_decides_nothing_and_another_tenant_sees_nothing(
    alice: Member, bob: Member, mallory: Member, tenant: Tenant, browser_of: Callable[[Member], Client]
) -> None:
    link, _ = _made(tenant, alice)
    proposal = services.propose(link, text=ROLE)
    reader, stranger = browser_of(bob), browser_of(mallory)
    assert reader.get(f"/tenants/{tenant.pk}/links/").status_code == 200
    for path, status in (
        ("links/", 403),
        (f"links/{link.pk}/revoke/", 403),
        (f"proposals/{proposal.pk}/confirm/", 403),
        (f"proposals/{proposal.pk}/refuse/", 403),
    ):
        assert reader.post(f"/tenants/{tenant.pk}/{path}", {"name": "n", "days": "1"}).status_code == status
        assert stranger.post(f"/tenants/{tenant.pk}/{path}", {"name": "n", "days": "1"}).status_code == 404
        other = f"/tenants/{mallory.tenant_id}/{path}"
        assert path == "links/" or stranger.post(other).status_code == 404
    with pytest.raises(NotAllowed):
        services.make_link(tenant, name="n", actor=acting(bob))
    assert ArnProposal.objects.get().status == "pending"


def test_those_who_may_confirm_are_mailed(alice: Member, bob: Member, tenant: Tenant) -> None:
    invited(tenant, "carol@acme.example", "admin")
    link, _ = _made(tenant, alice)
    follow.follow()
    notices.send_due()
    mail.outbox.clear()
    services.propose(link, text=ROLE)
    follow.follow()
    notices.send_due()
    sent = [each for each in mail.outbox if "wait for you" in each.subject]
    assert sorted(each.to[0] for each in sent) == ["alice@acme.example", "carol@acme.example"]
    assert ROLE in sent[0].body
    assert f"/tenants/{tenant.pk}/links/" in sent[0].body
    assert tenant.external_id not in sent[0].body


def test_the_api_lists_revokes_and_decides(alice: Member, tenant: Tenant, api_of: Callable[[Member], Client]) -> None:
    link, _ = _made(tenant, alice)
    proposal = services.propose(link, text=f"{ROLE} {KEY}")
    api, base = api_of(alice), f"/api/v1/tenants/{tenant.pk}"
    (found,) = api.get(f"{base}/links").json()["items"]
    assert (found["name"], found["is_open"], found["opened"]) == ("Cloud platform", True, 0)
    assert "digest" not in found
    (waiting,) = api.get(f"{base}/proposals").json()["items"]
    assert (waiting["status"], waiting["role_arn"], waiting["key_arn"]) == ("pending", ROLE, KEY)
    confirmed = api.post(f"{base}/proposals/{proposal.pk}/confirm", {}, content_type="application/json")
    assert (confirmed.status_code, confirmed.json()["role_arn"]) == (200, ROLE)
    assert api.post(f"{base}/proposals/{proposal.pk}/refuse", {}, content_type="application/json").status_code == 409
    for _ in range(2):
        assert api.delete(f"{base}/links/{link.pk}").status_code == 204
    assert api.get(f"{base}/links").json()["items"][0]["is_open"] is False
    assert api.delete(f"{base}/links/{tenant.pk}").status_code == 404


def test_openings_are_counted_all_and_logged_once_an_hour(alice: Member, tenant: Tenant) -> None:
    link, raw = _made(tenant, alice)
    colleague = _colleague(raw)
    for _ in range(3):
        colleague.get("/setup-link/")
    assert SetupLink.objects.get().opened == 3
    assert _names().count("keys.link.opened") == 1
    SetupLink.objects.filter(pk=link.pk).update(last_opened_at=clock.now() - timedelta(hours=2))
    colleague.get("/setup-link/")
    assert _names().count("keys.link.opened") == 2


def test_a_page_of_one_link_does_nothing_with_another_organisations(
    tenant: Tenant, alice: Member, mallory: Member
) -> None:
    _, ours = services.make_link(tenant, name="Cloud platform", actor=acting(alice))
    theirs, raw = services.make_link(mallory.tenant, name="Cloud platform", actor=acting(mallory))
    colleague = _colleague(ours)
    page = colleague.get("/setup-link/").content.decode()
    addresses = set(re.findall(r'(?:href|action)="(/setup-link/[^"]+)"', page))
    assert len(addresses) >= 5
    colleague.get(f"/setup-links/{raw}/")
    for address in addresses:
        assert "?link=" in address
        answer = colleague.post(address, {"outputs": ROLE}) if "propose" in address else colleague.get(address)
        assert answer.status_code == 404
        assert mallory.tenant.external_id not in answer.content.decode()
    assert not theirs.proposals.exists()


@pytest.mark.parametrize("how", ["removed", "demoted", "switched off"])
def test_a_link_ends_with_the_membership_of_who_made_it(how: str, tenant: Tenant, alice: Member) -> None:
    carol = invited(tenant, "carol@acme.example", "admin")
    _, raw = services.make_link(tenant, name="Cloud platform", actor=acting(carol))
    colleague = _colleague(raw)
    assert colleague.get("/setup-link/").status_code == 200
    if how == "removed":
        tenant_services.remove_member(carol, reason="left", actor=acting(alice))
    elif how == "demoted":
        tenant_services.change_role(carol, role="auditor", actor=acting(alice))
    else:
        type(carol.user).objects.filter(pk=carol.user_id).update(is_active=False)
    assert colleague.get("/setup-link/").status_code == 404


def test_a_link_ends_when_what_it_was_made_for_is_withdrawn(
    alice: Member, tenant: Tenant, active: KeyRegistration
) -> None:
    save_draft(tenant, role_arn=ROLE, actor=acting(alice))
    _, raw = _made(tenant, alice)
    assert services.link_by_secret(raw)
    services.withdraw(tenant, reason="not now", actor=acting(alice))
    assert services.link_by_secret(raw) is None
    _, another = _made(tenant, alice)
    assert services.link_by_secret(another)
