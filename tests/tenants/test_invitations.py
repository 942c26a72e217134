"""Invitations: only the mailed link, used by the account whose address it proves, lets anybody in."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from conftest import acting, acting_staff, invited, join, lines_by
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import Client
from invitation_mails import mailed

from byokportal import clock
from tenants import audit, errors, services
from tenants.models import AuditEvent, Invitation, InvitationLink, Member, Tenant

PASSWORD = "a long enough passphrase"


@pytest.fixture
def carol(tenant: Tenant, alice: Member) -> Invitation:
    """An invitation for Carol as auditor, by Alice."""
    return services.invite(tenant, email="Carol@acme.example", role="auditor", actor=acting(alice))


# --- it works ---------------------------------------------------------------------------------------------------


def test_the_mailed_link_ends_signed_in(tenant: Tenant, carol: Invitation) -> None:
    browser = Client()
    first = browser.get(mailed("carol@acme.example"))
    assert (first.status_code, first["Location"], first["Referrer-Policy"]) == (302, "/invitation/", "no-referrer")
    cookie = first.cookies["invitation"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    page = browser.get("/invitation/")
    assert page["Referrer-Policy"] == "same-origin"  # with no-referrer the form would come with "Origin: null"
    assert "no-store" in page["Cache-Control"]
    words = page.content.decode()
    assert "alice@acme.example invites you to Acme Bank" in words and "Auditor" in words
    done = browser.post("/invitation/", {"password": PASSWORD})
    assert done["Location"] == f"/tenants/{tenant.pk}/"
    assert browser.get(done["Location"]).status_code == 200
    member = Member.objects.get(user__email="carol@acme.example")
    assert (member.role, member.invitation) == ("auditor", carol)
    address = EmailAddress.objects.get(user=member.user)
    assert (address.email, address.verified, address.primary) == ("carol@acme.example", True, True)
    [event] = lines_by("member:carol@acme.example", "tenants.member.joined")
    assert event.tenant == tenant
    assert audit.data_of(event)["invited_by"] == "member:alice@acme.example"


def test_looking_uses_nothing_up(carol: Invitation) -> None:
    path = mailed("carol@acme.example")
    for _ in range(3):  # a mail scanner, twice, then the person
        scanner = Client()
        assert scanner.get(path, follow=True).status_code == 200
        assert scanner.head(path).status_code in {302, 405}
    carol.refresh_from_db()
    assert carol.status == "pending"
    assert join_by(path) == 302


def join_by(path: str, password: str = PASSWORD) -> int:
    browser = Client()
    browser.get(path)
    return browser.post("/invitation/", {"password": password}).status_code


def test_a_link_works_once(carol: Invitation) -> None:
    path = mailed("carol@acme.example")
    assert join_by(path) == 302
    assert join_by(path) == 404
    assert Client().get(path, follow=True).status_code == 404
    assert Member.objects.filter(user__email="carol@acme.example").count() == 1


def test_a_weak_password_is_refused_and_the_link_stays(carol: Invitation) -> None:
    path = mailed("carol@acme.example")
    assert join_by(path, "short") == 200
    assert not User.objects.filter(email="carol@acme.example").exists()
    assert join_by(path) == 302


def test_an_account_that_exists_joins_signed_in_by_its_own_address(
    mallory: Member, tenant: Tenant, alice: Member, browser_of: Callable[..., Client]
) -> None:
    services.invite(tenant, email="mallory@evil.example", role="auditor", actor=acting(alice))
    path = mailed("mallory@evil.example")
    stranger = Client()
    page = stranger.get(path, follow=True).content.decode()
    assert "/accounts/login/?next=/invitation/" in page
    assert 'type="password"' not in page
    assert stranger.post("/invitation/", {"password": PASSWORD}).status_code == 200  # the link alone opens no account
    assert not tenant.members.filter(user=mallory.user).exists()
    browser = browser_of(mallory)
    browser.get(path)
    assert browser.post("/invitation/")["Location"] == f"/tenants/{tenant.pk}/"
    assert tenant.members.filter(user=mallory.user).exists()
    assert User.objects.filter(email="mallory@evil.example").count() == 1


# --- takeover -----------------------------------------------------------------------------------------------------


def test_an_address_that_was_typed_in_lets_nobody_in(
    bob: Member, mallory: Member, tenant: Tenant, browser_of: Callable[..., Client]
) -> None:
    """The attack that was seen: add the victim's address to one's own account, make it primary,
    wait for the invitation."""
    attacker = browser_of(bob)
    for form in (
        {"action_add": "", "email": "ciso@evil.example"},
        {"action_primary": "", "email": "ciso@evil.example"},
    ):
        assert attacker.post("/accounts/email/", form).status_code == 404
    EmailAddress.objects.create(user=bob.user, email="ciso@evil.example", verified=False, primary=False)
    User.objects.filter(pk=bob.user_id).update(email="ciso@evil.example")
    other = mallory.tenant
    services.invite(other, email="ciso@evil.example", role="owner", actor=acting(mallory))
    assert not other.members.filter(user=bob.user).exists()
    attacker.get(f"/invitations/{services.new_link(other.invitations.get(email='ciso@evil.example'))}/")
    page = attacker.post("/invitation/")  # even with the link: the address is not one that this account proved
    assert page.status_code == 200
    assert "This invitation is for ciso@evil.example" in page.content.decode()
    assert not other.members.filter(user=bob.user).exists()


def test_an_invitation_does_not_touch_an_account_with_a_password(
    mallory: Member, tenant: Tenant, alice: Member
) -> None:
    invitation = services.invite(tenant, email="mallory@evil.example", role="auditor", actor=acting(alice))
    before = User.objects.get(pk=mallory.user_id).password
    assert join_by(f"/invitations/{services.new_link(invitation)}/") == 200
    assert User.objects.get(pk=mallory.user_id).password == before


def test_a_link_sets_no_password_of_an_account_that_has_one_whoever_calls_the_service(
    mallory: Member, tenant: Tenant, alice: Member
) -> None:
    invitation = services.invite(tenant, email="mallory@evil.example", role="auditor", actor=acting(alice))
    before = User.objects.get(pk=mallory.user_id).password
    with pytest.raises(errors.SignInForInvitation):
        services.accept_invitation(services.new_link(invitation), password="another passphrase of tests")
    assert User.objects.get(pk=mallory.user_id).password == before
    assert not tenant.members.filter(user=mallory.user).exists()


def test_a_switched_off_account_does_not_come_back_by_an_invitation(tenant: Tenant, alice: Member, bob: Member) -> None:
    services.remove_member(bob, reason="left", actor=acting(alice))
    User.objects.filter(pk=bob.user_id).update(is_active=False)
    invitation = services.invite(tenant, email="bob@acme.example", role="admin", actor=acting(alice))
    assert join_by(f"/invitations/{services.new_link(invitation)}/") == 200
    assert not tenant.members.filter(user=bob.user).exists()


@pytest.mark.parametrize("secret", ["x", "a" * 43, "%00", "../admin", "é", "a" * 5000])
def test_a_link_that_nobody_made_leads_nowhere(db: None, secret: str) -> None:
    browser = Client()
    browser.get(f"/invitations/{secret}/")
    browser.cookies["invitation"] = secret
    page = browser.get("/invitation/")
    assert page.status_code == 404


def test_only_the_digest_of_a_link_is_kept(carol: Invitation) -> None:
    secret = mailed("carol@acme.example").split("/")[2]
    assert all(
        secret not in str(row) for model in (Invitation, InvitationLink, AuditEvent) for row in model.objects.values()
    )


# --- resend, withdraw, expire --------------------------------------------------------------------------------------


def test_sent_again_the_link_before_ends(carol: Invitation, alice: Member, browser_of: Callable[..., Client]) -> None:
    old = mailed("carol@acme.example")
    people = f"/tenants/{carol.tenant_id}/people/"
    path = f"/tenants/{carol.tenant_id}/invitations/{carol.pk}/resend/"
    assert browser_of(alice).post(path)["Location"] == people
    new = mailed("carol@acme.example")
    assert new != old
    assert join_by(old) == 404
    assert join_by(new) == 302


def test_a_withdrawn_invitation_is_over(carol: Invitation, alice: Member, browser_of: Callable[..., Client]) -> None:
    path = mailed("carol@acme.example")
    browser = browser_of(alice)
    assert browser.post(f"/tenants/{carol.tenant_id}/invitations/{carol.pk}/withdraw/").status_code == 302
    assert join_by(path) == 404
    assert not list(browser.get(f"/tenants/{carol.tenant_id}/people/").context["invitations"])
    again = browser.post(f"/tenants/{carol.tenant_id}/invitations/{carol.pk}/withdraw/")
    assert again.status_code == 404


def test_after_seven_days_it_is_over_and_its_state_is_shown(
    carol: Invitation, alice: Member, browser_of: Callable[..., Client]
) -> None:
    path = mailed("carol@acme.example")
    assert timedelta(days=6, hours=23) < carol.expires_at - clock.now() <= timedelta(days=7)
    Invitation.objects.filter(pk=carol.pk).update(expires_at=clock.now())
    assert join_by(path) == 404
    assert "Expired" in browser_of(alice).get(f"/tenants/{carol.tenant_id}/people/").content.decode()
    # makes room by itself
    services.invite(carol.tenant, email="carol@acme.example", role="auditor", actor=acting(alice))
    assert AuditEvent.objects.filter(name="tenants.invitation.withdrawn", tenant=carol.tenant).count() == 1


def test_a_person_is_invited_once(carol: Invitation, alice: Member, browser_of: Callable[..., Client]) -> None:
    page = browser_of(alice).post(
        f"/tenants/{carol.tenant_id}/people/", {"email": "CAROL@acme.example", "role": "owner"}
    )
    assert page.status_code == 200
    assert "has an invitation that can still be used" in page.content.decode()


# --- staff ------------------------------------------------------------------------------------------------------------


def test_staff_invite_the_first_owner_and_nobody_else(
    tenant: Tenant, alice: Member, sam: User, browser_of: Callable[..., Client]
) -> None:
    desk = browser_of(sam)
    path = f"/admin/tenants/tenant/{tenant.pk}/operations/invite/"
    assert "Invite the first owner" not in desk.get(f"/admin/tenants/tenant/{tenant.pk}/change/").content.decode()
    page = desk.post(path, {"email": "sam2@acme.example", "role": "owner"})
    assert page.status_code == 200
    assert "Only the organisation" in page.content.decode()
    assert not Invitation.objects.filter(email="sam2@acme.example").exists()


def test_also_after_every_owner_is_gone(tenant: Tenant, alice: Member, sam: User) -> None:
    Member.objects.filter(pk=alice.pk).update(removed_at=clock.now())
    with pytest.raises(errors.NotFirstOwner):
        services.invite(tenant, email="sam2@acme.example", role="owner", actor=acting_staff(sam))


@pytest.mark.parametrize("address", ["sam@kore.example", "Anybody@KORE.example"])
def test_staff_are_never_members(tenant: Tenant, alice: Member, sam: User, address: str) -> None:
    with pytest.raises(errors.StaffAddress):
        services.invite(tenant, email=address, role="owner", actor=acting(alice))
    with pytest.raises(errors.StaffAddress):
        services.create_tenant("Kore", owner_email=address, actor=audit.COMMAND)


def test_who_became_staff_meanwhile_does_not_join(carol: Invitation) -> None:
    user = User.objects.create_user("someone", "carol@acme.example", PASSWORD, is_staff=True)
    EmailAddress.objects.create(user=user, email="carol@acme.example", verified=True, primary=True)
    with pytest.raises(errors.StaffAddress):
        services.accept_invitation(services.new_link(carol), user=user)


# --- the automation token of create_tenant ---------------------------------------------------------------------------


def _created(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    import json

    call_command("create_tenant", "--name", "Borders Bank", "--owner", "olga@borders.example")
    made: dict[str, str] = json.loads(capsys.readouterr().out)
    return made


def test_create_tenant_prints_a_link_and_a_token_that_belongs_to_the_invitation(
    service_role: object, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _created(capsys)
    api = Client(headers={"authorization": f"Bearer {made['automation_token']}"})
    setup = f"/api/v1/tenants/{made['tenant']}/setup"
    assert api.get(setup).json()["external_id"] == made["external_id"]
    assert not Member.objects.filter(tenant_id=made["tenant"]).exists()
    path = made["invitation_url"].removeprefix("http://localhost:8000")
    assert join_by(path) == 302
    assert api.get(setup).status_code == 200
    member = Member.objects.get(tenant_id=made["tenant"])
    assert member.tokens.count() == 1
    assert member.role == "owner"


@pytest.mark.parametrize("end", ["withdrawn", "expired"])
def test_that_token_ends_with_the_invitation(
    service_role: object, capsys: pytest.CaptureFixture[str], end: str
) -> None:
    made = _created(capsys)
    invitation = Invitation.objects.get(tenant_id=made["tenant"])
    if end == "withdrawn":
        services.withdraw_invitation(invitation, reason="wrong", actor=audit.COMMAND)
    else:
        Invitation.objects.filter(pk=invitation.pk).update(expires_at=clock.now())
    api = Client(headers={"authorization": f"Bearer {made['automation_token']}"})
    assert api.get(f"/api/v1/tenants/{made['tenant']}/setup").status_code == 401


def test_that_token_does_not_come_back_with_a_new_link(
    service_role: object, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _created(capsys)
    invitation = Invitation.objects.get(tenant_id=made["tenant"])
    Invitation.objects.filter(pk=invitation.pk).update(expires_at=clock.now())
    services.resend_invitation(invitation, actor=audit.COMMAND)
    api = Client(headers={"authorization": f"Bearer {made['automation_token']}"})
    assert api.get(f"/api/v1/tenants/{made['tenant']}/setup").status_code == 401


def test_while_the_invitation_stands_a_new_link_keeps_that_token(
    service_role: object, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _created(capsys)
    services.resend_invitation(Invitation.objects.get(tenant_id=made["tenant"]), actor=audit.COMMAND)
    api = Client(headers={"authorization": f"Bearer {made['automation_token']}"})
    assert api.get(f"/api/v1/tenants/{made['tenant']}/setup").status_code == 200


def test_in_production_that_token_may_not_operate(
    service_role: object, capsys: pytest.CaptureFixture[str], settings: object
) -> None:
    settings.EMBEDDED = False  # type: ignore[attr-defined]
    made = _created(capsys)
    api = Client(headers={"authorization": f"Bearer {made['automation_token']}"})
    assert api.get(f"/api/v1/tenants/{made['tenant']}/setup").status_code == 200
    answer = api.post(f"/api/v1/tenants/{made['tenant']}/key/suspend", {"reason": "r"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


# --- an account from before invitations -------------------------------------------------------------------------------


def test_who_chose_a_password_by_the_mailed_reset_has_proved_the_address(
    carol: Invitation, browser_of: Callable[..., Client]
) -> None:
    """An account that never had a password (0008 made it an invitation)
    asks for a new password instead of using the link."""
    user = User.objects.create_user("carol@acme.example", "carol@acme.example")
    Client().post("/accounts/password/reset/", {"email": "carol@acme.example"})
    path = re.search(r"http://[^/\s]+(/accounts/password/reset/key/\S+)", str(mail.outbox[-1].body)).group(1)
    browser = Client()
    page = browser.get(path, follow=True)
    browser.post(page.redirect_chain[-1][0], {"password1": PASSWORD, "password2": PASSWORD})
    signed_in = Client()
    signed_in.post("/accounts/login/", {"login": "carol@acme.example", "password": PASSWORD})
    signed_in.get(mailed("carol@acme.example"))
    assert signed_in.post("/invitation/")["Location"] == f"/tenants/{carol.tenant_id}/"
    assert Member.objects.get(user__email="carol@acme.example").user == user


# --- at the same time ---------------------------------------------------------------------------------------------


def test_a_second_use_of_the_link_finds_it_used(carol: Invitation) -> None:
    one, two = services.new_link(carol), services.new_link(carol)
    services.accept_invitation(one, password=PASSWORD)
    with pytest.raises(errors.InvitationOver):
        services.accept_invitation(two, password=PASSWORD)


def test_an_invitation_that_is_withdrawn_while_it_is_accepted_lets_nobody_in(carol: Invitation) -> None:
    def withdrawn_just_before(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT") and "tenants_member" in sql:
            Invitation.objects.filter(pk=carol.pk).update(status=Invitation.Status.WITHDRAWN)
        return execute(sql, *rest)

    link = services.new_link(carol)
    with pytest.raises(errors.InvitationOver), connection.execute_wrapper(withdrawn_just_before):
        services.accept_invitation(link, password=PASSWORD)
    assert not Member.objects.filter(tenant=carol.tenant_id, user__email="carol@acme.example").exists()


def test_who_is_in_already_keeps_one_membership(tenant: Tenant, alice: Member) -> None:
    invitation = services.invite(tenant, email="carol@acme.example", role="admin", actor=acting(alice))
    invited(tenant, "dora@acme.example", "auditor")
    member = join(invitation)
    with pytest.raises(errors.AlreadyMember):
        services.invite(tenant, email="carol@acme.example", role="owner", actor=acting(alice))
    assert tenant.members.filter(user=member.user).count() == 1
