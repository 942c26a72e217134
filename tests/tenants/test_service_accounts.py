"""Service accounts: two secrets for a day at most, what ends them and their tokens,
and what an account loses its tokens lose."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from conftest import acting, acting_staff, owner_of
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed
from tenants import access, audit, authentication, roles, services, tokens
from tenants.audit import Actor
from tenants.errors import FreshSignInNeeded, NothingToRevoke, RotationRunning, ServiceAccountStands
from tenants.models import AccessToken, AuditEvent, ClientSecret, Member, ServiceAccount, Tenant

pytestmark = pytest.mark.django_db
COMMAND = audit.COMMAND


@pytest.fixture
def made(tenant: Tenant) -> tuple[ServiceAccount, str]:
    return services.create_service_account("search", tenants=[tenant], scopes=roles.SCOPES, actor=COMMAND)


@pytest.fixture
def account(made: tuple[ServiceAccount, str]) -> ServiceAccount:
    return made[0]


@pytest.fixture
def first(made: tuple[ServiceAccount, str]) -> str:
    """The client secret that the account was made with."""
    return made[1]


@pytest.fixture
def other(service_role: object) -> Tenant:
    return services.create_tenant("Other Ltd", owner_email="olga@other.example", actor=COMMAND)


def ask(account: ServiceAccount, secret: str) -> Any:
    basic = base64.b64encode(f"{account.pk}:{secret}".encode()).decode()
    return Client(headers={"authorization": f"Basic {basic}"}).post(
        "/api/v1/oauth/token", "grant_type=client_credentials", content_type="application/x-www-form-urlencoded"
    )


def bearer(raw: str) -> Client:
    return Client(headers={"authorization": f"Bearer {raw}"})


def token_by(account: ServiceAccount, secret: str) -> Client:
    answer = ask(account, secret)
    assert answer.status_code == 200, answer.content
    return bearer(answer.json()["access_token"])


def another_process() -> None:
    """Ask as a process that remembers nothing: what every process knows after 5 seconds."""
    authentication.forget_all()
    access.forget_all()


def status(client: Client, tenant: Tenant) -> int:
    return client.get(f"/api/v1/tenants/{tenant.pk}/key").status_code


# --- planned rotation -----------------------------------------------------------------------------------------


def test_both_secrets_count_for_a_day_and_each_token_knows_which_made_it(
    account: ServiceAccount, first: str, tenant: Tenant
) -> None:
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        second = services.rotate_secret(account, reason="yearly", actor=COMMAND)
        by_first, by_second = token_by(account, first), token_by(account, second)
        assert {status(by_first, tenant), status(by_second, tenant)} == {200}
        made_by = {token.secret.digest for token in AccessToken.objects.select_related("secret") if token.secret}
        assert made_by == {tokens.digest(first), tokens.digest(second)}
        assert account.secrets.valid(timezone.now()).count() == 2
        traveller.shift(timedelta(hours=23, minutes=55))
        late = ask(account, first)
        assert 0 < late.json()["expires_in"] <= 300  # it ends with the secret
        late_token = bearer(late.json()["access_token"])
        assert status(late_token, tenant) == 200
        traveller.shift(timedelta(minutes=5))
        another_process()
        assert ask(account, first).status_code == 401
        assert status(late_token, tenant) == 401
        assert ask(account, second).status_code == 200


def test_there_are_two_secrets_at_most(account: ServiceAccount, first: str) -> None:
    second = services.rotate_secret(account, reason="r", actor=COMMAND)
    with pytest.raises(RotationRunning):
        services.rotate_secret(account, reason="r", actor=COMMAND)
    third = services.rotate_secret(account, hours=0, reason="it leaked", actor=COMMAND)
    assert [ask(account, one).status_code for one in (first, second, third)] == [401, 401, 200]
    with pytest.raises(InvalidInput):
        services.rotate_secret(account, hours=25, reason="r", actor=COMMAND)
    with pytest.raises(IntegrityError), transaction.atomic():
        ClientSecret.objects.create(service_account=account, digest="x")


def test_the_old_secret_ends_now_with_all_that_it_made(account: ServiceAccount, first: str, tenant: Tenant) -> None:
    before = token_by(account, first)
    second = services.rotate_secret(account, reason="planned", actor=COMMAND)
    during, by_second = token_by(account, first), token_by(account, second)
    old = account.secrets.get(digest=tokens.digest(first))
    services.revoke_old_secret(account, reason="it leaked", actor=COMMAND)
    # A request that had found the old secret valid issues its token only now.
    _, raw = tokens.issue(account, scopes=account.scopes, secret=old)
    another_process()
    assert [status(one, tenant) for one in (before, during, bearer(raw), by_second)] == [401, 401, 401, 200]
    assert ask(account, first).status_code == 401
    with pytest.raises(NothingToRevoke):
        services.revoke_old_secret(account, reason="again", actor=COMMAND)


@pytest.mark.parametrize("way", ["revoke", "disable", "rotate at once"])
def test_a_remembered_token_ends_within_five_seconds(
    account: ServiceAccount, first: str, tenant: Tenant, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "revoke":
        services.rotate_secret(account, reason="r", actor=COMMAND)
    client = token_by(account, first)
    assert status(client, tenant) == 200
    if way == "revoke":
        services.revoke_old_secret(account, reason="r", actor=COMMAND)
    elif way == "disable":
        services.disable_service_account(account, reason="r", actor=COMMAND)
    else:
        services.rotate_secret(account, hours=0, reason="r", actor=COMMAND)
    later = clock.monotonic() + 5.0
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert status(client, tenant) == 401


# --- shut out, and in again ---------------------------------------------------------------------------------------


def test_a_disabled_account_has_nothing_left_and_gets_no_old_token_back(
    account: ServiceAccount, first: str, tenant: Tenant
) -> None:
    client = token_by(account, first)
    services.disable_service_account(account, reason="misused", actor=COMMAND)
    _, raw = tokens.issue(account, scopes=account.scopes)  # a request that was let in a moment before
    another_process()
    assert (status(client, tenant), status(bearer(raw), tenant)) == (401, 401)
    refused = ask(account, first)
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    account.refresh_from_db()
    assert account.disabled_at is not None
    with pytest.raises(ServiceAccountStands):
        services.disable_service_account(account, reason="again", actor=COMMAND)
    services.enable_service_account(account, reason="mended", actor=COMMAND)
    another_process()
    assert (status(client, tenant), status(bearer(raw), tenant)) == (401, 401)
    assert status(token_by(account, first), tenant) == 200
    with pytest.raises(ServiceAccountStands):
        services.enable_service_account(account, reason="again", actor=COMMAND)


# --- other permissions and tenants -----------------------------------------------------------------------------------


def test_a_token_loses_what_the_account_loses_and_gains_nothing(
    account: ServiceAccount, first: str, tenant: Tenant, other: Tenant
) -> None:
    services.change_service_account(account, scopes=["key:read"], tenants=[tenant], reason="r", actor=COMMAND)
    client = token_by(account, first)
    generate = f"/api/v1/tenants/{tenant.pk}/data-keys"
    services.change_service_account(
        account, scopes=["data-keys:generate"], tenants=[tenant, other], reason="r", actor=COMMAND
    )
    another_process()
    assert status(client, tenant) == 403
    assert client.get("/api/v1/key-states").status_code == 403
    assert client.post(generate, {}, content_type="application/json").status_code == 403
    services.change_service_account(account, scopes=["key:read"], tenants=[other], reason="r", actor=COMMAND)
    another_process()
    assert (status(client, tenant), status(client, other)) == (404, 200)


@pytest.mark.parametrize("had_all", [True, False])
def test_a_tenant_is_lost_within_five_seconds_whatever_is_remembered(
    account: ServiceAccount, tenant: Tenant, other: Tenant, had_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process remembers of the token must not lengthen what it remembers of the tenants."""
    if had_all:
        services.change_service_account(
            account, scopes=roles.SCOPES, tenants=[], has_all_tenants=True, reason="r", actor=COMMAND
        )
    began = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: began)
    account.refresh_from_db()
    _, raw = tokens.issue(account, scopes=account.scopes)
    client, path = bearer(raw), f"/api/v1/tenants/{tenant.pk}/data-keys"
    answer = client.post(f"/api/v1/tenants/{other.pk}/data-keys", {}, content_type="application/json")
    assert answer.status_code == (409 if had_all else 404)  # the token is remembered, this tenant is not
    services.change_service_account(account, scopes=roles.SCOPES, tenants=[other], reason="r", actor=COMMAND)
    monkeypatch.setattr(clock, "monotonic", lambda: began + 2.9)
    assert client.post(path, {}, content_type="application/json").status_code == 404


def test_an_account_for_all_tenants_reaches_those_to_come(account: ServiceAccount, first: str, other: Tenant) -> None:
    client = token_by(account, first)
    assert status(client, other) == 404
    services.change_service_account(
        account, scopes=roles.SCOPES, tenants=[], has_all_tenants=True, reason="r", actor=COMMAND
    )
    another_process()
    assert status(client, other) == 200


@pytest.mark.parametrize(
    "wrong", [{"scopes": []}, {"scopes": ["key:write"]}, {"tenants": [], "has_all_tenants": False}]
)
def test_an_account_without_permission_or_tenant_is_refused(
    account: ServiceAccount, tenant: Tenant, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        services.change_service_account(
            account, **{"scopes": ["key:read"], "tenants": [tenant], "reason": "r", "actor": COMMAND} | wrong
        )


# --- what is recorded ---------------------------------------------------------------------------------------------


def events(tenant: Tenant | None) -> list[str]:
    rows = AuditEvent.objects.filter(tenant=tenant, name__startswith="tenants.service_account.").order_by("pk")
    return [row.name.removeprefix("tenants.service_account.") for row in rows]


def test_every_change_stands_in_our_log_and_in_that_of_each_tenant_it_touches(
    account: ServiceAccount, tenant: Tenant, other: Tenant, mallory: Member
) -> None:
    services.rotate_secret(account, reason="yearly", actor=COMMAND)
    services.revoke_old_secret(account, reason="leaked", actor=COMMAND)
    services.disable_service_account(account, reason="misused", actor=COMMAND)
    services.enable_service_account(account, reason="mended", actor=COMMAND)
    services.change_service_account(account, scopes=["key:read"], tenants=[tenant], reason="less", actor=COMMAND)
    services.change_service_account(account, scopes=["key:read"], tenants=[other], reason="moved", actor=COMMAND)
    services.change_service_account(account, scopes=["key:read"], tenants=[other], reason="nothing", actor=COMMAND)
    common = ["created", "secret_rotated", "secret_revoked", "disabled", "enabled", "changed"]
    assert events(None) == [*common, "changed"]
    assert events(tenant) == [*common, "shut_out"]
    assert events(other) == ["let_in"]
    assert events(mallory.tenant) == []
    for row in AuditEvent.objects.filter(name__startswith="tenants.service_account."):
        sentence = audit.sentence(row)
        assert row.name.endswith("created") or str(audit.data_of(row)["reason"]) in sentence


def test_no_log_says_that_an_account_for_all_tenants_left_or_came(
    account: ServiceAccount, tenant: Tenant, other: Tenant
) -> None:
    """Whoever is named beside all the others is reached before and after: the log must not say that it is out."""
    services.change_service_account(
        account, scopes=["key:read"], tenants=[], has_all_tenants=True, reason="r", actor=COMMAND
    )
    assert events(tenant) == ["created", "changed"]
    services.change_service_account(
        account, scopes=["key:read"], tenants=[tenant], has_all_tenants=True, reason="r", actor=COMMAND
    )
    services.change_service_account(account, scopes=["key:read"], tenants=[other], reason="r", actor=COMMAND)
    assert events(tenant) == ["created", "changed", "shut_out"]
    assert events(other) == ["changed"]


# --- who may -------------------------------------------------------------------------------------------------------


def every_operation(account: ServiceAccount, tenant: Tenant) -> dict[str, Callable[[Actor], object]]:
    same: dict[str, Any] = {"scopes": ["key:read"], "tenants": [tenant]}
    return {
        "create": lambda actor: services.create_service_account("x", **same, actor=actor),
        "rotate": lambda actor: services.rotate_secret(account, reason="r", actor=actor),
        "revoke": lambda actor: services.revoke_old_secret(account, reason="r", actor=actor),
        "disable": lambda actor: services.disable_service_account(account, reason="r", actor=actor),
        "enable": lambda actor: services.enable_service_account(account, reason="r", actor=actor),
        "change": lambda actor: services.change_service_account(account, **same, reason="r", actor=actor),
    }


@pytest.mark.parametrize("name", ["create", "rotate", "revoke", "disable", "enable", "change"])
def test_only_a_support_lead_who_has_just_signed_in(
    name: str, account: ServiceAccount, tenant: Tenant, sam: User
) -> None:
    operation = every_operation(account, tenant)[name]
    kim = User.objects.create_user("kim@kore.example", "kim@kore.example", "a long password", is_staff=True)
    kim.groups.add(Group.objects.get(name="Support"))
    for actor in (acting(owner_of(tenant)), acting_staff(kim), Actor.of_service(account)):
        with pytest.raises(NotAllowed):
            operation(actor)
    with pytest.raises(FreshSignInNeeded):
        operation(Actor.staff(sam))
    assert AccessToken.objects.count() == 0
    assert account.secrets.count() == 1


def test_every_operation_says_why(account: ServiceAccount) -> None:
    from tenants.errors import ReasonMissing

    for operation in (
        services.rotate_secret,
        services.revoke_old_secret,
        services.disable_service_account,
        services.enable_service_account,
    ):
        with pytest.raises(ReasonMissing):
            operation(account, reason=" ", actor=COMMAND)


# --- the back office and the command line --------------------------------------------------------------------------


def test_a_lead_rotates_ends_changes_disables_and_enables_in_the_back_office(
    account: ServiceAccount, first: str, tenant: Tenant, other: Tenant, sam: User, browser_of: Callable[..., Client]
) -> None:
    desk, base = browser_of(sam), f"/admin/tenants/serviceaccount/{account.pk}"
    assert "revoke-old-secret" not in desk.get(f"{base}/change/").content.decode()
    shown = desk.post(f"{base}/operations/rotate-secret/", {"hours": "8", "reason": "Yearly"}, follow=True)
    second = dict(shown.context["values"])["client_secret"]
    assert [ask(account, one).status_code for one in (first, second)] == [200, 200]
    page = desk.get(f"{base}/change/").content.decode()
    assert "revoke-old-secret" in page
    assert tokens.digest(second) not in page
    assert desk.post(f"{base}/operations/revoke-old-secret/", {"reason": "It leaked"}).status_code == 302
    assert [ask(account, one).status_code for one in (first, second)] == [401, 200]
    asked = desk.get(f"{base}/operations/re-scope/").content.decode()
    assert f'value="{tenant.pk}" selected' in asked
    desk.post(f"{base}/operations/re-scope/", {"scopes": ["key:read"], "tenants": [str(other.pk)], "reason": "Moved"})
    account.refresh_from_db()
    assert (account.scopes, [one.pk for one in account.tenants.all()]) == (["key:read"], [other.pk])
    desk.post(f"{base}/operations/disable/", {"reason": "Misused"})
    assert ask(account, second).status_code == 401
    assert "Enable the account" in desk.get(f"{base}/change/").content.decode()
    desk.post(f"{base}/operations/enable/", {"reason": "Mended"})
    assert ask(account, second).status_code == 200
    stale = browser_of(sam, is_fresh=False).post(f"{base}/operations/disable/", {"reason": "r"})
    assert stale["Location"].startswith("/accounts/reauthenticate/")


def command(account: ServiceAccount, *arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("service_account", "--id", str(account.pk), *arguments, stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def test_the_command_line_does_the_same(account: ServiceAccount, first: str, tenant: Tenant, other: Tenant) -> None:
    second = command(account, "--rotate", "--reason", "yearly")["client_secret"]
    assert len(command(account)["secrets"]) == 2
    assert len(command(account, "--revoke-old")["secrets"]) == 1
    assert [ask(account, one).status_code for one in (first, second)] == [401, 200]
    assert command(account, "--disable")["is_disabled"]
    assert not command(account, "--enable")["is_disabled"]
    changed = command(account, "--scope", "key:read")
    assert (changed["scopes"], changed["tenants"]) == (["key:read"], [str(tenant.pk)])
    changed = command(account, "--tenant", str(other.pk))
    assert (changed["scopes"], changed["tenants"]) == (["key:read"], [str(other.pk)])
    assert command(account, "--all-tenants")["has_all_tenants"]
    assert not command(account, "--tenant", str(tenant.pk))["has_all_tenants"]
    for wrong in (["--enable"], ["--scope", "key:write"], ["--tenant", "x"], ["--rotate", "--hours", "25"]):
        with pytest.raises(CommandError):
            command(account, *wrong)
    with pytest.raises(CommandError):
        call_command("service_account", "--id", "x", "--disable")
