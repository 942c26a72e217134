"""Roles and the ways out: who is removed has no session, token or invitation left, and an owner always stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from allauth.usersessions.models import UserSession
from conftest import PASSWORD, acting, acting_staff, invited, passkey_of
from django.contrib.auth.models import User
from django.core import mail
from django.db import OperationalError, connection
from django.test import Client

from byokportal import clock
from byokportal.errors import DomainError, NotAllowed, NotFound
from support import follow, notices
from tenants import access, audit, authentication, errors, roles, services
from tenants.audit import Actor
from tenants.models import AccessToken, AuditEvent, Member, Role, ServiceAccount, Tenant


@pytest.fixture
def carol(tenant: Tenant, alice: Member) -> Member:
    """A second owner."""
    return invited(tenant, "carol@acme.example", Role.OWNER)


def signed_in(member: Member) -> Client:
    """Return a browser that signed in through the page."""
    client = Client()
    answer = client.post("/accounts/login/", {"login": member.user.email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def mails() -> list[tuple[str, str]]:
    """Return (recipient, body) of what the log leads to."""
    while follow.follow():
        pass
    mail.outbox.clear()
    notices.send_due()
    return [(message.to[0], str(message.body)) for message in mail.outbox]


# --- shown out ------------------------------------------------------------------------------------------------


def test_a_removed_member_has_nothing_left(
    tenant: Tenant, alice: Member, carol: Member, api_of: Callable[..., Client]
) -> None:
    browser, api = signed_in(carol), api_of(carol)
    services.invite(tenant, email="friend@acme.example", role="owner", actor=acting(carol))
    kept = services.invite(tenant, email="dora@acme.example", role="auditor", actor=acting(alice))
    page, setup = f"/tenants/{tenant.pk}/", f"/api/v1/tenants/{tenant.pk}/setup"
    assert browser.get(page).status_code == 200
    assert api.get(setup).status_code == 200
    assert UserSession.objects.filter(user=carol.user).exists()

    out = signed_in(alice).post(f"/tenants/{tenant.pk}/people/{carol.pk}/remove/", {"reason": "Left the bank"})
    assert out["Location"] == f"/tenants/{tenant.pk}/people/"

    assert browser.get(page)["Location"].startswith("/accounts/login/")
    assert not UserSession.objects.filter(user=carol.user).exists()
    authentication.forget_all()  # what another process knows within 5 seconds
    access.forget_all()
    assert api.get(setup).status_code == 401
    assert AccessToken.objects.filter(member=carol, revoked_at=None).count() == 0
    assert [one.email for one in tenant.invitations.filter(status="pending")] == [kept.email]
    assert not Member.objects.filter(pk=carol.pk).exists()
    assert Member.everybody.get(pk=carol.pk).removed_at is not None
    event = AuditEvent.objects.get(name="tenants.member.removed")
    assert audit.data_of(event) == {"email": "carol@acme.example", "reason": "Left the bank"}
    again = signed_in(carol)
    assert again.get(page).status_code == 404


def test_a_token_remembered_by_a_process_ends_within_five_seconds(
    tenant: Tenant, alice: Member, carol: Member, api_of: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of(carol)
    setup = f"/api/v1/tenants/{tenant.pk}/setup"
    assert api.get(setup).status_code == 200
    services.remove_member(carol, reason="left", actor=acting(alice))
    later = clock.monotonic() + 5.0
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert api.get(setup).status_code == 401


def test_a_token_of_a_switched_off_person_is_none(tenant: Tenant, carol: Member, api_of: Callable[..., Client]) -> None:
    api = api_of(carol)
    User.objects.filter(pk=carol.user_id).update(is_active=False)
    assert api.get(f"/api/v1/tenants/{tenant.pk}/setup").status_code == 401


@pytest.mark.parametrize(
    ("path", "whose"), [("remove/", "carol"), ("second-factor/", "carol"), ("second-factor/", "bob")]
)
def test_a_page_that_asks_for_a_reason_opens_for_whom_its_button_serves(
    tenant: Tenant, alice: Member, carol: Member, bob: Member, browser_of: Callable[..., Client], path: str, whose: str
) -> None:
    page = f"/tenants/{tenant.pk}/people/{ {'carol': carol, 'bob': bob}[whose].pk }/{path}"
    assert browser_of(alice).get(page).status_code == 200
    assert browser_of(bob).get(page).status_code == 403
    assert browser_of(bob).post(page, {"reason": "r"}).status_code == 403
    old = browser_of(alice, is_fresh=False).get(page)
    assert old["Location"].startswith("/accounts/reauthenticate/")  # before anything is typed


def test_one_may_leave(tenant: Tenant, alice: Member, bob: Member, browser_of: Callable[..., Client]) -> None:
    browser = browser_of(bob)
    path = f"/tenants/{tenant.pk}/people/{bob.pk}/remove/"
    assert "Leave Acme Bank" in browser.get(path).content.decode()
    assert browser.post(path, {"reason": "Another job"}).status_code == 302
    assert not tenant.members.filter(pk=bob.pk).exists()
    assert AuditEvent.objects.filter(name="tenants.member.left").count() == 1


# --- the last owner -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way_out", ["role", "remove", "leave"])
def test_the_last_owner_stays_whatever_the_way_out(tenant: Tenant, alice: Member, way_out: str) -> None:
    actor = acting(alice)
    ways = {
        "role": lambda: services.change_role(alice, role="admin", actor=actor),
        "remove": lambda: services.remove_member(alice, reason="r", actor=actor),
        "leave": lambda: services.leave_organisation(alice, actor=actor),
    }
    with pytest.raises(errors.LastOwner):
        ways[way_out]()
    assert tenant.members.get(pk=alice.pk).role == "owner"


def test_an_owner_who_cannot_sign_in_is_no_other_owner(tenant: Tenant, alice: Member, carol: Member) -> None:
    User.objects.filter(pk=carol.user_id).update(is_active=False)
    with pytest.raises(errors.LastOwner):
        services.remove_member(alice, reason="r", actor=acting(alice))


# --- who may ---------------------------------------------------------------------------------------------------------


def test_staff_never_remove_or_demote(tenant: Tenant, alice: Member, carol: Member, sam: User) -> None:
    User.objects.filter(pk=sam.pk).update(is_superuser=True)
    actor = acting_staff(User.objects.get(pk=sam.pk))
    with pytest.raises(NotAllowed):
        services.remove_member(carol, reason="r", actor=actor)
    with pytest.raises(NotAllowed):
        services.change_role(carol, role="auditor", actor=actor)


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_only_owners_show_people_out(
    tenant: Tenant, alice: Member, role: str, browser_of: Callable[..., Client]
) -> None:
    other = invited(tenant, "dora@acme.example", role)
    browser = browser_of(other)
    for path in (f"people/{alice.pk}/remove/", f"people/{alice.pk}/role/"):
        assert browser.post(f"/tenants/{tenant.pk}/{path}", {"reason": "r", "role": "auditor"}).status_code == 403
    assert "Remove" not in browser.get(f"/tenants/{tenant.pk}/people/").content.decode()


def test_nobody_of_another_organisation(
    tenant: Tenant, alice: Member, mallory: Member, browser_of: Callable[..., Client]
) -> None:
    with pytest.raises(NotFound):
        services.remove_member(alice, reason="r", actor=acting(mallory))
    assert browser_of(mallory).get(f"/tenants/{mallory.tenant_id}/people/{alice.pk}/remove/").status_code == 404


def test_a_sign_in_of_long_ago_is_asked_again(
    tenant: Tenant, alice: Member, carol: Member, browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(alice, is_fresh=False)
    for path, form in (
        (f"people/{carol.pk}/remove/", {"reason": "r"}),
        (f"people/{carol.pk}/role/", {"role": "auditor"}),
        ("people/", {"email": "new@acme.example", "role": "owner"}),
    ):
        answer = browser.post(f"/tenants/{tenant.pk}/{path}", form)
        assert answer["Location"].startswith("/accounts/reauthenticate/"), path
    carol.refresh_from_db()
    assert (carol.role, carol.removed_at) == ("owner", None)


# --- owners hear of it ------------------------------------------------------------------------------------------------


def test_every_owner_and_whom_it_concerns_get_a_mail(tenant: Tenant, alice: Member, carol: Member, bob: Member) -> None:
    mails()
    services.change_role(bob, role="admin", actor=acting(alice))
    assert {to for to, _ in mails()} == {"alice@acme.example", "carol@acme.example", "bob@acme.example"}
    services.mint_token(bob, name="terraform", actor=acting(Member.objects.get(pk=bob.pk)))
    assert {to for to, _ in mails()} == {"alice@acme.example", "carol@acme.example"}
    services.remove_member(carol, reason="left", actor=acting(alice))
    told = mails()
    assert {to for to, _ in told} == {"alice@acme.example", "carol@acme.example"}
    assert all("carol@acme.example was removed: left" in body and "By: alice@acme.example" in body for _, body in told)


def test_the_people_page_says_who_let_whom_in(
    tenant: Tenant, alice: Member, carol: Member, browser_of: Callable[..., Client]
) -> None:
    page = browser_of(alice).get(f"/tenants/{tenant.pk}/people/").content.decode()
    rows = page.split("<tbody>")[1].split("<tr>")
    assert "Kore.ai support" in rows[1]
    assert "carol@acme.example" in rows[2] and "let in by alice@acme.example" in rows[2]


# --- nothing is left behind in the seconds that a process remembers ---------------------------------------------------


JSON = "application/json"


def _try_everything(api: Client, tenant: Tenant, victim: Member, invitation: Any) -> list[int]:
    base = f"/api/v1/tenants/{tenant.pk}"
    return [
        api.post(f"{base}/invitations", {"email": "back@door.example", "role": "owner"}, content_type=JSON).status_code,
        api.post(f"{base}/invitations/{invitation.pk}/resend").status_code,
        api.delete(f"{base}/invitations/{invitation.pk}").status_code,
        api.patch(f"{base}/members/{victim.pk}", {"role": "owner"}, content_type=JSON).status_code,
        api.delete(f"{base}/members/{victim.pk}").status_code,
    ]


@pytest.mark.parametrize(("how", "refusal"), [("removed", 401), ("revoked", 401), ("demoted", 403)])
def test_a_remembered_token_leaves_nothing_behind(
    tenant: Tenant, alice: Member, carol: Member, bob: Member, api_of: Callable[..., Client], how: str, refusal: int
) -> None:
    invitation = services.invite(tenant, email="dora@acme.example", role="auditor", actor=acting(alice))
    api = api_of(carol)
    assert api.get(f"/api/v1/tenants/{tenant.pk}/members").status_code == 200  # from now on the process knows the token
    if how == "removed":
        services.remove_member(carol, reason="left", actor=acting(alice))
    elif how == "revoked":
        services.revoke_token(carol.tokens.get(), actor=acting(alice))
    else:
        services.change_role(carol, role=Role.AUDITOR, actor=acting(alice))
    assert set(_try_everything(api, tenant, bob, invitation)) == {refusal}
    assert not tenant.invitations.filter(email="back@door.example").exists()
    bob.refresh_from_db()
    invitation.refresh_from_db()
    assert (bob.role, bob.removed_at, invitation.status, invitation.sent) == ("auditor", None, "pending", 1)


@pytest.mark.parametrize(
    ("how", "refusal"), [("removed", NotFound), ("switched off", NotFound), ("demoted", NotAllowed)]
)
def test_a_request_that_began_before_does_nothing_after(
    tenant: Tenant, alice: Member, carol: Member, bob: Member, how: str, refusal: type[Exception]
) -> None:
    actor = acting(Member.objects.select_related("user", "tenant").get(pk=carol.pk))  # as the request loaded it
    if how == "removed":
        services.remove_member(carol, reason="left", actor=acting(alice))
    elif how == "switched off":
        User.objects.filter(pk=carol.user_id).update(is_active=False)
    else:
        services.change_role(carol, role=Role.AUDITOR, actor=acting(alice))
    for operation in (
        lambda: services.invite(tenant, email="back@door.example", role="owner", actor=actor),
        lambda: services.change_role(bob, role="owner", actor=actor),
        lambda: services.remove_member(bob, reason="r", actor=actor),
        lambda: services.reset_second_factor(bob, reason="r", actor=actor),
        lambda: services.mint_token(actor.member, name="t", actor=actor),
    ):
        with pytest.raises(refusal):
            operation()


def test_the_invitations_of_an_owner_who_is_none_any_more_end(tenant: Tenant, alice: Member, carol: Member) -> None:
    mine = services.invite(tenant, email="friend@acme.example", role="owner", actor=acting(carol))
    kept = services.invite(tenant, email="dora@acme.example", role="auditor", actor=acting(alice))
    link = services.new_link(mine)
    services.change_role(carol, role=Role.ADMIN, actor=acting(alice))
    with pytest.raises(errors.InvitationOver):
        services.accept_invitation(link, password=PASSWORD)
    assert [one.pk for one in tenant.invitations.filter(status="pending")] == [kept.pk]
    event = AuditEvent.objects.get(name="tenants.invitation.withdrawn")
    assert audit.actor_of(event) == "member:alice@acme.example"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way_out", ["remove", "demote", "leave"])
def test_two_owners_who_go_at_the_same_moment_leave_one(
    tenant: Tenant, alice: Member, carol: Member, way_out: str
) -> None:
    def go(one: Member, other: Member) -> None:
        actor = acting(Member.objects.select_related("user", "tenant").get(pk=one.pk))
        target = Member.objects.select_related("user", "tenant").get(pk=(one if way_out == "leave" else other).pk)
        start.wait()
        try:
            if way_out == "remove":
                services.remove_member(target, reason="r", actor=actor)
            elif way_out == "demote":
                services.change_role(target, role=Role.AUDITOR, actor=actor)
            else:
                services.leave_organisation(target, actor=actor)
        except (DomainError, OperationalError) as error:
            refused.append(error)
        finally:
            connection.close()

    start, refused = threading.Barrier(2), []  # type: ignore[var-annotated]
    threads = [threading.Thread(target=go, args=pair) for pair in ((alice, carol), (carol, alice))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Member.objects.of(tenant).owners().count() == 1
    assert len(refused) == 1


# --- by the API -------------------------------------------------------------------------------------------------------


def test_the_api_does_the_same(tenant: Tenant, alice: Member, api_of: Callable[..., Client]) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{tenant.pk}"
    made = api.post(
        f"{base}/invitations", {"email": "eve@acme.example", "role": "auditor"}, content_type="application/json"
    )
    assert made.status_code == 201
    assert made.json()["status"] == "pending" and made.json()["invited_by"] == "alice@acme.example"
    assert api.get(made["Location"]).json()["id"] == made.json()["id"]
    assert api.post(f"{base}/invitations/{made.json()['id']}/resend").status_code == 202
    assert len(api.get(f"{base}/invitations").json()["items"]) == 2
    eve = services.accept_invitation(
        services.new_link(tenant.invitations.get(email="eve@acme.example")), password=PASSWORD
    )
    assert [one["email"] for one in api.get(f"{base}/members").json()["items"]] == [
        "eve@acme.example",
        "alice@acme.example",
    ]
    changed = api.patch(f"{base}/members/{eve.pk}", {"role": "admin"}, content_type="application/json")
    assert changed.json()["role"] == "admin"
    last = api.patch(f"{base}/members/{alice.pk}", {"role": "admin"}, content_type="application/json")
    assert (last.status_code, last.json()["code"]) == (409, "last_owner")
    assert api.delete(f"{base}/members/{eve.pk}").status_code == 204
    assert api.get(f"{base}/members/{eve.pk}").status_code == 404
    again = api.post(
        f"{base}/invitations", {"email": "eve@acme.example", "role": "auditor"}, content_type="application/json"
    )
    assert api.delete(f"{base}/invitations/{again.json()['id']}").status_code == 204
    over = api.delete(f"{base}/invitations/{again.json()['id']}")
    assert (over.status_code, over.json()["code"]) == (404, "invitation_over")


@pytest.mark.parametrize("permission", ["read", "setup", "operate"])
def test_a_token_without_people_touches_nobody(tenant: Tenant, alice: Member, carol: Member, permission: str) -> None:
    _, raw = services.mint_token(alice, name="t", permissions=[permission], actor=acting(alice))
    api, base = Client(headers={"authorization": f"Bearer {raw}"}), f"/api/v1/tenants/{tenant.pk}"
    for answer in (
        api.delete(f"{base}/members/{carol.pk}"),
        api.patch(f"{base}/members/{carol.pk}", {"role": "auditor"}, content_type="application/json"),
        api.post(f"{base}/invitations", {"email": "x@acme.example", "role": "owner"}, content_type="application/json"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert api.get(f"{base}/members").status_code == (200 if permission == "read" else 403)


def test_the_right_to_people_ends_with_the_role(tenant: Tenant, alice: Member, carol: Member) -> None:
    _, raw = services.mint_token(carol, name="t", permissions=["people"], days=30, actor=acting(carol))
    services.change_role(carol, role="admin", actor=acting(alice))
    api = Client(headers={"authorization": f"Bearer {raw}"})
    assert api.delete(f"/api/v1/tenants/{tenant.pk}/members/{alice.pk}").status_code == 403


def test_a_service_account_sees_no_people(
    tenant: Tenant, service: ServiceAccount, api_of: Callable[..., Client]
) -> None:
    for name in ("members", "invitations"):
        assert api_of(service).get(f"/api/v1/tenants/{tenant.pk}/{name}").status_code == 403


# --- the table --------------------------------------------------------------------------------------------------------


def test_no_operation_on_people_touches_tokens_or_second_factors_by_a_token() -> None:
    for name in ("tenants.mint_token", "tenants.revoke_any_token", "tenants.reset_second_factor"):
        assert roles.OPERATIONS[name].token == ""


def test_an_actor_without_a_sign_in_is_never_fresh(tenant: Tenant, alice: Member, carol: Member) -> None:
    old = Actor.of_member(alice, via="portal")
    with pytest.raises(errors.FreshSignInNeeded):
        services.remove_member(carol, reason="r", actor=old)
    assert clock.now() >= carol.created_at


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_page_says_who_signs_in_how_and_when(
    tenant: Tenant, alice: Member, carol: Member, bob: Member, browser_of: Callable[..., Client]
) -> None:
    passkey_of(alice)
    TOTP.activate(alice.user, "x")
    RecoveryCodes.activate(alice.user)
    RecoveryCodes.activate(carol.user)  # they are no second factor
    User.objects.filter(pk=alice.user_id).update(last_login=datetime(2026, 11, 28, 8, 20, tzinfo=UTC))
    services.change_role(bob, role=Role.ADMIN, actor=acting(carol))
    page = browser_of(bob).get(f"/tenants/{tenant.pk}/people/")
    rows = {row["member"].user.email: row["factor"] for row in page.context["rows"]}
    assert rows == {
        "alice@acme.example": "A passkey and an authenticator app",
        "carol@acme.example": "",
        bob.user.email: "",
    }
    text = page.content.decode()
    assert "2026-11-28 08:20 UTC" in text
    assert text.count("None yet") == 2
    assert "role by carol@acme.example" in text
