"""Kore.ai's own people: made by a command or a lead, regrouped, shown out; never a customer's."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator
from conftest import PASSWORD, acting, acting_staff, invited
from django.contrib.auth.models import Group, User
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.test import Client

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed
from support import follow, notices
from support.models import Notice
from tenants import audit, authentication, errors, services
from tenants.models import AuditEvent, Member, Tenant


@pytest.fixture
def kim(db: None) -> User:
    """A support engineer."""
    user = services.create_staff("kim@kore.example", groups=["Support"], reason="new", actor=audit.COMMAND)
    user.set_password(PASSWORD)
    user.save()
    return user


def test_the_command_makes_staff_who_choose_a_password_by_a_mailed_link(
    db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_staff", "--email", "Lee@kore.example", "--group", "Support lead")
    made = json.loads(capsys.readouterr().out)
    user = User.objects.get(pk=made["user"])
    assert (user.email, user.is_staff, user.is_superuser) == ("lee@kore.example", True, False)
    assert not user.has_usable_password()
    follow.follow()
    notices.send_due()
    assert mail.outbox[0].to == ["lee@kore.example"]
    path = re.search(r"http://[^/\s]+(/accounts/password/reset/key/\S+)", str(mail.outbox[0].body)).group(1)
    assert made["password_url"].startswith("http://localhost:8000/accounts/password/reset/key/")
    browser = Client()
    page = browser.get(path, follow=True)
    done = browser.post(page.redirect_chain[-1][0], {"password1": PASSWORD, "password2": PASSWORD})
    assert done.status_code == 302
    signed_in = Client()
    assert signed_in.post("/accounts/login/", {"login": "lee@kore.example", "password": PASSWORD}).status_code == 302
    assert signed_in.get("/admin/").status_code == 200


def test_the_command_switches_off_on_and_regroups(kim: User, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("create_staff", "--email", "kim@kore.example", "--disable")
    assert json.loads(capsys.readouterr().out)["is_active"] is False
    call_command("create_staff", "--email", "kim@kore.example", "--enable")
    call_command("create_staff", "--email", "kim@kore.example", "--regroup", "--group", "Auditor")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["groups"] == ["Auditor"]
    with pytest.raises(CommandError):
        call_command("create_staff", "--email", "nobody@kore.example", "--disable")
    names = list(AuditEvent.objects.filter(tenant=None).values_list("name", flat=True))
    assert names == [
        "tenants.staff.created",
        "tenants.account.switched_off",
        "tenants.account.switched_on",
        "tenants.staff.regrouped",
    ]


def test_a_lead_does_it_in_the_back_office_freshly_signed_in(
    kim: User, sam: User, browser_of: Callable[..., Client]
) -> None:
    path = f"/admin/auth/user/{kim.pk}/operations/switch-off/"
    old = browser_of(sam, is_fresh=False)
    assert old.post(path, {"reason": "left"})["Location"].startswith("/accounts/reauthenticate/")
    office = browser_of(kim)
    assert office.get("/admin/").status_code == 200
    desk = browser_of(sam)
    assert desk.post(path, {"reason": "left"}).status_code == 302
    assert office.get("/admin/").status_code == 302  # to the sign-in
    kim.refresh_from_db()
    assert not kim.is_active
    auditors = Group.objects.get(name="Auditor")
    regroup = {"groups": [auditors.pk], "reason": "moves"}
    assert desk.post(f"/admin/auth/user/{kim.pk}/operations/regroup/", regroup).status_code == 302
    assert [group.name for group in kim.groups.all()] == ["Auditor"]
    new = {"email": "new@kore.example", "groups": [auditors.pk], "reason": "starts"}
    assert desk.post("/admin/auth/user/operations/create-staff/", new).status_code == 302
    assert User.objects.get(email="new@kore.example").is_staff


def test_support_without_that_right_changes_nobody(kim: User, sam: User, browser_of: Callable[..., Client]) -> None:
    assert browser_of(kim).post(f"/admin/auth/user/{sam.pk}/operations/switch-off/", {"reason": "r"}).status_code == 403
    with pytest.raises(NotAllowed):
        services.create_staff("x@kore.example", groups=["Support"], reason="r", actor=acting_staff(kim))


def test_nobody_does_it_to_themselves(sam: User) -> None:
    for operation in (services.switch_off, services.reset_staff_second_factor):
        with pytest.raises(errors.NotOneself):
            operation(sam, reason="r", actor=acting_staff(sam))
    with pytest.raises(errors.NotOneself):
        services.regroup_staff(sam, groups=["Auditor"], reason="r", actor=acting_staff(sam))


def test_a_members_address_is_never_staff(alice: Member, sam: User, tenant: Tenant) -> None:
    with pytest.raises(errors.MemberAddress):
        services.create_staff("Alice@acme.example", groups=["Support"], reason="r", actor=acting_staff(sam))
    services.invite(tenant, email="soon@acme.example", role="auditor", actor=acting(alice))
    with pytest.raises(errors.MemberAddress):
        services.create_staff("soon@acme.example", groups=["Support"], reason="r", actor=acting_staff(sam))


def test_staff_do_not_switch_off_an_owner(alice: Member, sam: User) -> None:
    with pytest.raises(errors.MemberAddress):
        services.switch_off(alice.user, reason="r", actor=acting_staff(sam))
    alice.user.refresh_from_db()
    assert alice.user.is_active


def test_a_members_account_is_switched_off_with_a_row_in_the_organisations_log(
    bob: Member, sam: User, api_of: Callable[..., Client], browser_of: Callable[..., Client]
) -> None:
    browser = browser_of(bob)
    services.switch_off(bob.user, reason="stolen laptop", actor=acting_staff(sam))
    assert browser.get(f"/tenants/{bob.tenant_id}/")["Location"].startswith("/accounts/login/")
    assert AuditEvent.objects.filter(name="tenants.account.switched_off", tenant=bob.tenant).count() == 1


def test_what_a_switched_off_member_made_ends_and_does_not_come_back(
    tenant: Tenant, alice: Member, sam: User, api_of: Callable[..., Client]
) -> None:
    carol = invited(tenant, "carol@acme.example", "owner")
    invitation = services.invite(tenant, email="friend@acme.example", role="admin", actor=acting(carol))
    Member.objects.filter(pk=carol.pk).update(role="admin")
    carol.refresh_from_db()
    api = api_of(carol)
    services.switch_off(carol.user, reason="stolen laptop", actor=acting_staff(sam))
    services.switch_on(carol.user, reason="found", actor=acting_staff(sam))
    authentication.forget_all()
    assert api.get(f"/api/v1/tenants/{tenant.pk}/setup").status_code == 401
    invitation.refresh_from_db()
    assert invitation.status == "withdrawn"


@pytest.mark.django_db(transaction=True)
def test_nobody_becomes_the_only_owner_while_being_switched_off(tenant: Tenant, alice: Member, sam: User) -> None:
    """An admin is switched off while the owner makes them owner and leaves: somebody who can act stays."""
    carol = invited(tenant, "carol@acme.example", "admin")
    begun, go_on = threading.Event(), threading.Event()

    def hand_over() -> None:
        try:
            with transaction.atomic():
                actor = acting(Member.objects.select_related("user", "tenant").get(pk=alice.pk))
                services.change_role(Member.objects.get(pk=carol.pk), role="owner", actor=actor)
                services.leave_organisation(Member.objects.get(pk=alice.pk), actor=actor)
                begun.set()
                go_on.wait(1)
        finally:
            begun.set()
            connection.close()

    thread = threading.Thread(target=hand_over)
    thread.start()
    begun.wait()
    with contextlib.suppress(errors.MemberAddress, OperationalError):
        services.switch_off(carol.user, reason="r", actor=acting_staff(sam))
    go_on.set()
    thread.join()
    assert Member.objects.of(tenant).owners().exists()


@pytest.mark.parametrize("groups", [[], ["Nobody"], ["Support", "Nobody"]])
def test_a_group_that_is_none_is_refused(db: None, groups: list[str]) -> None:
    with pytest.raises(InvalidInput):
        services.create_staff("x@kore.example", groups=groups, reason="r", actor=audit.COMMAND)
    assert not User.objects.exists()


def test_another_lead_resets_a_second_factor(kim: User, sam: User) -> None:
    Authenticator.objects.create(user=kim, type=Authenticator.Type.TOTP, data={"secret": "x"})
    services.reset_staff_second_factor(kim, reason="lost", actor=acting_staff(sam))
    assert not Authenticator.objects.filter(user=kim).exists()


def test_a_colleague_hears_of_what_another_lead_did_to_the_account(kim: User, sam: User) -> None:
    services.reset_staff_second_factor(kim, reason="lost", actor=acting_staff(sam))
    services.regroup_staff(kim, groups=["Support lead"], reason="promoted", actor=acting_staff(sam))
    follow.follow()
    mail.outbox.clear()
    notices.send_due()
    bodies = [str(message.body) for message in mail.outbox if message.to == ["kim@kore.example"]]
    assert any(
        "second factor of kim@kore.example was reset: lost" in body and "sam@kore.example" in body for body in bodies
    )
    assert any("is now in Support lead: promoted" in body for body in bodies)


def test_whoever_is_switched_off_leaves_word_where_nobody_could_approve_any_more(
    tenant: Tenant, alice: Member, sam: User
) -> None:
    dora = invited(tenant, "dora@acme.example", "admin")
    Tenant.objects.filter(pk=tenant.pk).update(second_person_since=clock.now())
    assert services.switch_off(dora.user, reason="stolen laptop", actor=acting_staff(sam)) == [tenant]
    dora.user.refresh_from_db()
    assert not dora.user.is_active
    assert AuditEvent.objects.filter(name="tenants.second_person.short", tenant=tenant).count() == 1
    follow.follow()
    told = Notice.objects.filter(event__name="tenants.second_person.short").values_list("recipient", flat=True)
    assert alice.user.email in told


def test_whoever_is_switched_off_beside_enough_others_leaves_none(
    tenant: Tenant, alice: Member, bob: Member, sam: User
) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(second_person_since=clock.now())
    assert services.switch_off(bob.user, reason="stolen laptop", actor=acting_staff(sam)) == []
