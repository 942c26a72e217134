"""Automation tokens: made with permissions and an end, seen and revoked by whom they concern,
and what is kept of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from conftest import acting, acting_staff, invited
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from byokportal.errors import InvalidInput, NotAllowed, NotFound
from tenants import audit, authentication, roles, services, tasks, tokens
from tenants.audit import Actor
from tenants.errors import FreshSignInNeeded
from tenants.models import AccessToken, AuditEvent, Member, ServiceAccount, Tenant

BrowserOf = Callable[..., Client]
GIVEN: dict[str, Any] = {"name": "terraform", "permissions": ["read", "setup"], "days": "90"}


@pytest.fixture
def portal(alice: Member, browser_of: BrowserOf) -> Client:
    return browser_of(alice)


@pytest.fixture
def carol(tenant: Tenant, alice: Member) -> Member:
    """An admin of Acme Bank."""
    return invited(tenant, "carol@acme.example", "admin")


def page(tenant: Tenant, rest: str = "") -> str:
    return f"/tenants/{tenant.pk}/automation/{rest}"


def mint(member: Member, name: str = "t", **facts: Any) -> tuple[AccessToken, Client]:
    token, raw = services.mint_token(member, name=name, **facts, actor=acting(member))
    return token, bearer(raw)


def bearer(raw: str) -> Client:
    return Client(headers={"authorization": f"Bearer {raw}"})


def setup_of(client: Client, tenant: Tenant) -> int:
    authentication.forget_all()
    return client.get(f"/api/v1/tenants/{tenant.pk}/setup").status_code


# --- made ----------------------------------------------------------------------------------------------------


def test_a_token_is_made_with_permissions_and_an_end_and_shown_once(portal: Client, tenant: Tenant) -> None:
    shown = portal.post(page(tenant), GIVEN | {"may_change_serving_key": "on", "days": "30"}, follow=True)
    raw = shown.context["shown"].values["token"]
    assert raw.encode() in shown.content
    assert "no-store" in shown["Cache-Control"]
    token = AccessToken.objects.get()
    assert token.digest == tokens.digest(raw)
    assert (token.permissions, token.may_change_serving_key) == (["read", "setup"], True)
    assert timedelta(days=29, hours=23) < token.expires_at - timezone.now() <= timedelta(days=30)
    again = portal.get(page(tenant)).content.decode()
    assert "terraform" in again
    assert "It may replace, resume and leave a key in service" in again
    assert raw not in again + str(dict(portal.session))
    assert AuditEvent.objects.filter(name="tenants.token.minted", tenant=tenant).count() == 1


def test_it_reads_for_ninety_days_unless_somebody_chooses_otherwise(portal: Client, tenant: Tenant) -> None:
    form = portal.get(page(tenant)).context["form"]
    assert (form["permissions"].initial, form["days"].initial) == (["read"], 90)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"permissions": []}, "permissions"),
        ({"permissions": ["everything"]}, "permissions"),
        ({"days": "0"}, "days"),
        ({"days": "366"}, "days"),
        ({"permissions": ["people"], "days": "31"}, "days"),
        ({"name": " "}, "name"),
    ],
)
def test_what_no_token_may_be_is_refused_on_its_field(
    portal: Client, tenant: Tenant, changes: dict[str, Any], field: str
) -> None:
    answer = portal.post(page(tenant), GIVEN | changes)
    assert answer.context["form"].errors[field]
    assert not AccessToken.objects.exists()


def test_only_owners_make_tokens_for_people(carol: Member, tenant: Tenant, browser_of: BrowserOf) -> None:
    browser = browser_of(carol)
    assert "Manage people" not in browser.get(page(tenant)).content.decode()
    assert browser.post(page(tenant), GIVEN | {"permissions": ["people"]}).context["form"].errors["permissions"]
    with pytest.raises(InvalidInput):
        services.mint_token(carol, name="t", permissions=["people"], days=30, actor=acting(carol))
    assert not AccessToken.objects.exists()


def test_an_auditor_staff_a_stranger_or_a_token_makes_none(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    mallory: Member,
    sam: User,
    service: ServiceAccount,
    browser_of: BrowserOf,
) -> None:
    assert browser_of(bob).post(page(tenant), GIVEN).status_code == 403
    token, _ = mint(alice)
    User.objects.filter(pk=sam.pk).update(is_superuser=True)
    for actor, refusal in (
        (acting(bob), NotAllowed),
        (acting_staff(User.objects.get(pk=sam.pk)), NotAllowed),
        (Actor.of_service(service), NotAllowed),
        (Actor.of_member(alice, via="api", token=token), NotAllowed),
        (acting(mallory), NotFound),
        (acting(invited(tenant, "dora@acme.example", "admin")), NotFound),  # nor one that acts as somebody else
        (Actor.of_member(alice, via="portal"), FreshSignInNeeded),
    ):
        with pytest.raises(refusal):
            services.mint_token(alice, name="x", actor=actor)
    assert AccessToken.objects.get() == token


def test_a_sign_in_of_long_ago_is_asked_again(alice: Member, tenant: Tenant, browser_of: BrowserOf) -> None:
    assert browser_of(alice, is_fresh=False).post(page(tenant), GIVEN)["Location"].startswith("/accounts/")
    assert not AccessToken.objects.exists()


# --- ends ----------------------------------------------------------------------------------------------------


def test_it_ends_by_itself(alice: Member, tenant: Tenant) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        _, client = mint(alice, days=2)
        clock.shift(timedelta(days=2, seconds=-1))
        assert setup_of(client, tenant) == 200
        clock.shift(1)
        assert setup_of(client, tenant) == 401


def test_an_owner_sees_and_revokes_every_token_of_the_organisation(
    portal: Client, tenant: Tenant, carol: Member, mallory: Member
) -> None:
    theirs, client = mint(carol, "carols terraform")
    stranger, _ = mint(mallory, "mallorys own")
    invitation = services.invite(
        tenant,
        email="eve@acme.example",
        role="owner",
        actor=acting(Member.objects.get(user__email="alice@acme.example")),
    )
    made, _ = services.mint_token_of_invitation(
        invitation,
        name="made by create_tenant",
        permissions=["read"],
        may_change_serving_key=False,
        actor=audit.COMMAND,
    )
    seen = portal.get(page(tenant)).content.decode()
    assert "carols terraform" in seen and "carol@acme.example" in seen
    assert "eve@acme.example (invited)" in seen and "Kore.ai support" in seen
    assert "mallorys own" not in seen
    for token in (theirs, made):
        assert portal.post(page(tenant, f"{token.pk}/revoke/")).status_code == 302
    assert portal.post(page(tenant, f"{stranger.pk}/revoke/")).status_code == 404
    assert setup_of(client, tenant) == 401
    assert set(AccessToken.objects.filter(revoked_at=None)) == {stranger}
    assert not portal.get(page(tenant)).context["tokens"]
    rows = AuditEvent.objects.filter(name="tenants.token.revoked", tenant=tenant)
    assert [audit.actor_of(row) for row in rows] == ["member:alice@acme.example"] * 2


def test_nobody_else_sees_or_revokes_what_is_not_theirs(
    alice: Member, carol: Member, bob: Member, tenant: Tenant, browser_of: BrowserOf
) -> None:
    token, _ = mint(alice, "alices own")
    for member in (carol, bob):
        browser = browser_of(member)
        assert "alices own" not in browser.get(page(tenant)).content.decode()
        assert browser.post(page(tenant, f"{token.pk}/revoke/")).status_code == 404
        with pytest.raises(NotAllowed):
            services.revoke_token(token, actor=acting(member))
    token.refresh_from_db()
    assert token.revoked_at is None


def test_a_demoted_member_sees_and_revokes_what_is_left(
    alice: Member, carol: Member, tenant: Tenant, browser_of: BrowserOf
) -> None:
    token, client = mint(carol, "carols terraform", permissions=["read", "operate"])
    services.change_role(carol, role="auditor", actor=acting(alice))
    browser = browser_of(carol)
    assert "carols terraform" in browser.get(page(tenant)).content.decode()
    assert setup_of(client, tenant) == 200
    refused = client.post(f"/api/v1/tenants/{tenant.pk}/key/suspend", {"reason": "r"}, content_type="application/json")
    assert refused.status_code == 403  # it acts as an auditor now
    assert browser.post(page(tenant, f"{token.pk}/revoke/")).status_code == 302
    assert setup_of(client, tenant) == 401


def test_a_token_of_an_invitation_ends_with_it(tenant: Tenant, alice: Member, browser_of: BrowserOf) -> None:
    invitation = services.invite(tenant, email="eve@acme.example", role="owner", actor=acting(alice))
    _, raw = services.mint_token_of_invitation(
        invitation, name="of eve", permissions=["read"], may_change_serving_key=False, actor=audit.COMMAND
    )
    assert setup_of(bearer(raw), tenant) == 200
    with time_machine.travel(timezone.now() + timedelta(days=7, seconds=1)):
        assert setup_of(bearer(raw), tenant) == 401
        seen = browser_of(alice).get(page(tenant))
        assert not seen.context["tokens"]
        assert [row["token"].state for row in seen.context["ended"]] == ["expired"]


def test_the_command_line_revokes_where_no_owner_can(
    alice: Member, carol: Member, mallory: Member, tenant: Tenant
) -> None:
    one, client = mint(carol, "one")
    mint(alice, "two")
    stranger, _ = mint(mallory)

    def command(*arguments: str) -> list[str]:
        out = StringIO()
        call_command("revoke_token", "--tenant", str(tenant.pk), *arguments, stdout=out)
        return sorted(token["name"] for token in json.loads(out.getvalue())["revoked"])

    assert command("--token", str(one.pk)) == ["one"]
    assert setup_of(client, tenant) == 401
    for wrong in (one, stranger):  # it works no more, or belongs to another organisation
        with pytest.raises(CommandError):
            command("--token", str(wrong.pk))
    assert command("--all") == ["two"]
    assert set(AccessToken.objects.filter(revoked_at=None)) == {stranger}
    assert AuditEvent.objects.filter(name="tenants.token.revoked", actor="kore:command line").count() == 2


# --- by the API ----------------------------------------------------------------------------------------------


def test_a_token_lists_tokens_and_ends_itself_and_no_other(alice: Member, carol: Member, tenant: Tenant) -> None:
    mine, client = mint(alice, "alices own")
    theirs, other = mint(carol, "carols own", permissions=["operate"])
    reading, third = mint(carol, "carols second")
    base = f"/api/v1/tenants/{tenant.pk}/tokens"
    assert {one["id"] for one in client.get(base).json()["items"]} == {str(mine.pk), str(theirs.pk), str(reading.pk)}
    listed = third.get(base).json()["items"]
    assert {(one["name"], one["acts_as"], one["status"]) for one in listed} == {
        ("carols own", "carol@acme.example", "valid"),
        ("carols second", "carol@acme.example", "valid"),
    }
    assert "digest" not in str(listed)
    assert client.get(f"{base}/{theirs.pk}").json()["permissions"] == ["operate"]
    assert third.get(f"{base}/{mine.pk}").status_code == 404
    made = client.post(base, {"name": "x"}, content_type="application/json")
    assert (made.status_code, made.json()["code"]) == (405, "method_not_allowed")
    assert client.delete(f"{base}/{theirs.pk}").status_code == 403
    assert third.delete(f"{base}/{theirs.pk}").status_code == 403
    assert other.get(base).status_code == 403
    assert other.delete(f"{base}/this").status_code == 204
    authentication.forget_all()
    assert other.delete(f"{base}/this").status_code == 401
    assert third.delete(f"{base}/{reading.pk}").status_code == 204
    assert set(AccessToken.objects.filter(revoked_at=None)) == {mine}


def test_a_service_account_has_no_business_with_them(tenant: Tenant, service: ServiceAccount, api_of: Any) -> None:
    base = f"/api/v1/tenants/{tenant.pk}/tokens"
    assert [api_of(service).get(base).status_code, api_of(service).delete(f"{base}/this").status_code] == [403, 403]


# --- last use --------------------------------------------------------------------------------------------------


def writes(client: Client, tenant: Tenant) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert setup_of(client, tenant) == 200
    return sum(query["sql"].startswith("UPDATE") for query in queries)


def test_the_last_use_is_written_once_in_a_minute_however_often_it_calls(alice: Member, tenant: Tenant) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        token, client = mint(alice)
        token.refresh_from_db()
        assert token.last_used_at is None
        assert [writes(client, tenant) for _ in range(5)] == [1, 0, 0, 0, 0]  # each as another process
        clock.shift(59)
        assert writes(client, tenant) == 0
        clock.shift(1)
        assert writes(client, tenant) == 1
        token.refresh_from_db()
        assert token.last_used_at == timezone.now()


def test_no_use_of_a_service_s_token_is_written(service: ServiceAccount, tenant: Tenant, api_of: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert api_of(service).get(f"/api/v1/tenants/{tenant.pk}/key").status_code == 200
    assert not [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]


def test_a_token_that_ended_is_kept_for_two_weeks(tenant: Tenant, alice: Member) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        revoked, _ = mint(alice, "revoked one", days=365)
        mint(alice, "expired one", days=1)
        services.revoke_token(revoked, actor=acting(alice))
        clock.shift(timedelta(days=13))
        tasks.clear_expired()
        assert set(AccessToken.objects.values_list("name", flat=True)) == {"revoked one", "expired one"}
        clock.shift(timedelta(days=1, seconds=1))
        tasks.clear_expired()
        assert list(AccessToken.objects.values_list("name", flat=True)) == ["expired one"]
        clock.shift(timedelta(days=1))
        tasks.clear_expired()
        assert not AccessToken.objects.exists()


def test_the_page_shows_what_ended_and_offers_no_button_for_it(portal: Client, tenant: Tenant, alice: Member) -> None:
    token, _ = mint(alice, "revoked one")
    services.revoke_token(token, actor=acting(alice))
    seen = portal.get(page(tenant)).content.decode()
    assert "Tokens that ended" in seen and "revoked one" in seen
    assert f"{token.pk}/revoke/" not in seen


def test_secrets_that_ended_are_cleared_too(service: ServiceAccount) -> None:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        services.rotate_secret(service, reason="r", actor=audit.COMMAND)
        clock.shift(timedelta(days=14))
        tasks.clear_expired()
        assert service.secrets.count() == 2
        clock.shift(timedelta(days=1, seconds=1))
        tasks.clear_expired()
        assert service.secrets.count() == 1


def test_every_permission_has_its_words() -> None:
    from tenants.forms import MAY

    assert tuple(MAY) == roles.TOKEN_PERMISSIONS
