"""Recovery: two leads, 72 hours, and one objection of anybody who is or was a member ends it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from conftest import acting, acting_staff, invited, join
from django.contrib.auth.models import Group, User
from django.core import mail
from django.test import Client

from byokportal import clock
from support import follow, notices, recoveries
from support.models import Notice
from tenants import audit, errors, services
from tenants.models import AuditEvent, Member, OwnerRecovery, Tenant


@pytest.fixture
def kim(sam: User) -> User:
    """A second support lead."""
    user = User.objects.create_user("kim@kore.example", "kim@kore.example", "kims-password-of-tests", is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    return user


@pytest.fixture
def orphaned(tenant: Tenant, alice: Member, bob: Member) -> Tenant:
    """Acme Bank after its only owner's account was lost; Bob, an auditor, is there, Carol was once."""
    carol = invited(tenant, "carol@acme.example", "admin")
    services.remove_member(carol, reason="left", actor=acting(alice))
    User.objects.filter(pk=alice.user_id).update(is_active=False)
    return tenant


def operation(pk: object, name: str, model: str = "tenants/ownerrecovery") -> str:
    return f"/admin/{model}/{pk}/operations/{name}/"


def mails() -> dict[str, str]:
    while follow.follow():
        pass
    mail.outbox.clear()
    notices.send_due()
    return {message.to[0]: str(message.body) for message in mail.outbox}


def announced(orphaned: Tenant, sam: User, kim: User) -> OwnerRecovery:
    recovery = services.request_new_owner(
        orphaned, email="Dora@acme.example", reason="Alice died", actor=acting_staff(sam)
    )
    services.approve_recovery(recovery, reason="Papers seen", actor=acting_staff(kim))
    return recovery


def test_two_leads_and_72_hours_let_a_new_owner_in(
    orphaned: Tenant, sam: User, kim: User, browser_of: Callable[..., Client]
) -> None:
    asked = browser_of(sam).post(
        operation(orphaned.pk, "recover-owner", "tenants/tenant"),
        {"email": "dora@acme.example", "reason": "Alice died"},
    )
    assert asked.status_code == 302
    recovery = OwnerRecovery.objects.get()
    assert browser_of(sam).post(operation(recovery.pk, "approve"), {"reason": "me again"}).status_code == 200
    recovery.refresh_from_db()
    assert recovery.status == "requested"
    assert browser_of(kim).post(operation(recovery.pk, "approve"), {"reason": "Papers seen"}).status_code == 302
    recovery.refresh_from_db()
    assert recovery.status == "waiting"
    assert timedelta(hours=71, minutes=59) < recovery.due_at - clock.now() <= timedelta(hours=72)
    told = mails()
    assert set(told) >= {"alice@acme.example", "bob@acme.example", "carol@acme.example"}
    assert recoveries.complete_due() == 0
    assert not orphaned.invitations.filter(status="pending").exists()
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 1
    assert recoveries.complete_due() == 0
    dora = join(orphaned.invitations.get(status="pending"))
    assert (dora.user.email, dora.role) == ("dora@acme.example", "owner")
    names = list(
        AuditEvent.objects.filter(tenant=orphaned, name__startswith="tenants.recovery").values_list("name", flat=True)
    )
    assert names == ["tenants.recovery.requested", "tenants.recovery.announced", "tenants.recovery.done"]


@pytest.mark.parametrize("who", ["bob@acme.example", "carol@acme.example", "alice@acme.example"])
def test_anybody_who_is_or_was_a_member_stops_it_by_the_mailed_link(
    orphaned: Tenant, sam: User, kim: User, who: str
) -> None:
    recovery = announced(orphaned, sam, kim)
    path = re.search(r"http://[^/\s]+(/recoveries/\S+)", mails()[who]).group(1)
    browser = Client()
    assert browser.get(path)["Location"] == "/recovery/"
    page = browser.get("/recovery/")
    assert "dora@acme.example" in page.content.decode()
    recovery.refresh_from_db()
    assert recovery.status == "waiting"  # looking does nothing
    assert browser.post("/recovery/").status_code == 302
    recovery.refresh_from_db()
    assert recovery.status == "objected"
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 0
    assert not orphaned.invitations.filter(status="pending").exists()
    assert AuditEvent.objects.filter(name="tenants.recovery.objected").count() == 1
    assert Client().get(path, follow=True).status_code == 409
    assert set(mails()) >= {"bob@acme.example", "carol@acme.example"}


def test_a_member_stops_it_signed_in(
    orphaned: Tenant, bob: Member, mallory: Member, sam: User, kim: User, browser_of: Callable[..., Client]
) -> None:
    recovery = announced(orphaned, sam, kim)
    path = f"/tenants/{orphaned.pk}/recoveries/{recovery.pk}/object/"
    assert "Stop it" in browser_of(bob).get(f"/tenants/{orphaned.pk}/people/").content.decode()
    assert browser_of(mallory).post(path).status_code == 404
    assert browser_of(mallory).post(path.replace(str(orphaned.pk), str(mallory.tenant_id))).status_code == 404
    assert browser_of(bob).post(path).status_code == 302
    recovery.refresh_from_db()
    assert recovery.status == "objected"


def test_nothing_happens_while_an_announcement_is_not_mailed(orphaned: Tenant, sam: User, kim: User) -> None:
    announced(orphaned, sam, kim)
    while follow.follow():
        pass
    OwnerRecovery.objects.update(due_at=clock.now())
    assert Notice.objects.filter(template="recovery-announced", sent_at=None).exists()
    assert recoveries.complete_due() == 0
    notices.send_due()
    assert recoveries.complete_due() == 0  # the mail has just left: whoever reads it has 72 hours too
    recovery = OwnerRecovery.objects.get()
    assert timedelta(hours=71, minutes=59) < recovery.due_at - clock.now() <= timedelta(hours=72)
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 1


def test_nor_while_nobody_has_read_the_log(orphaned: Tenant, sam: User, kim: User) -> None:
    """The worker that writes the mails was down for the three days: not one was written."""
    announced(orphaned, sam, kim)
    OwnerRecovery.objects.update(due_at=clock.now())
    assert not Notice.objects.filter(template="recovery-announced").exists()
    assert recoveries.complete_due() == 0
    assert not orphaned.invitations.filter(status="pending").exists()


def test_nor_while_no_mail_could_be_sent(orphaned: Tenant, sam: User, kim: User) -> None:
    announced(orphaned, sam, kim)
    while follow.follow():
        pass
    Notice.objects.filter(template="recovery-announced").update(due_at=None, attempts=10)  # given up
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 0


def test_the_best_new_owner_is_who_is_in_already(orphaned: Tenant, bob: Member, sam: User, kim: User) -> None:
    recovery = services.request_new_owner(orphaned, email="bob@acme.example", reason="r", actor=acting_staff(sam))
    services.approve_recovery(recovery, reason="r", actor=acting_staff(kim))
    mails()
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 1
    bob.refresh_from_db()
    recovery.refresh_from_db()
    assert (bob.role, recovery.status) == ("owner", "done")
    assert "bob@acme.example became owner" in "".join(mails().values())


def test_what_is_needed_no_more_is_not_done_and_no_log_says_so(
    orphaned: Tenant, alice: Member, sam: User, kim: User
) -> None:
    recovery = announced(orphaned, sam, kim)
    mails()
    User.objects.filter(pk=alice.user_id).update(is_active=True)
    OwnerRecovery.objects.update(due_at=clock.now())
    recoveries.complete_due()
    recovery.refresh_from_db()
    assert recovery.status == "withdrawn"
    assert not AuditEvent.objects.filter(name="tenants.recovery.done").exists()
    event = AuditEvent.objects.get(name="tenants.recovery.withdrawn")
    assert "an owner can act again" in event.payload


def test_a_second_factor_stays_once_somebody_else_can_help(
    tenant: Tenant, alice: Member, bob: Member, sam: User, kim: User
) -> None:
    Authenticator.objects.create(user=alice.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    recovery = services.request_second_factor(tenant, reason="r", actor=acting_staff(sam))
    services.approve_recovery(recovery, reason="r", actor=acting_staff(kim))
    mails()
    services.change_role(bob, role="owner", actor=acting(alice))
    OwnerRecovery.objects.update(due_at=clock.now())
    recoveries.complete_due()
    recovery.refresh_from_db()
    assert recovery.status == "withdrawn"
    assert Authenticator.objects.filter(user=alice.user).exists()


@pytest.mark.parametrize("lost", ["alice@acme.example", "bob@acme.example"])
def test_a_second_factor_stays_while_its_owner_has_not_been_told(
    tenant: Tenant, alice: Member, bob: Member, sam: User, kim: User, lost: str
) -> None:
    """The server of one of the two takes no mail, until it is given up."""
    Authenticator.objects.create(user=alice.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    recovery = services.request_second_factor(tenant, reason="r", actor=acting_staff(sam))
    services.approve_recovery(recovery, reason="r", actor=acting_staff(kim))
    while follow.follow():
        pass
    announcements = Notice.objects.filter(template="recovery-announced")
    assert announcements.filter(recipient=lost).update(due_at=None, attempts=10) == 1
    mails()
    assert announcements.exclude(sent_at=None).exists()
    OwnerRecovery.objects.update(due_at=clock.now())
    is_told = lost != "alice@acme.example"
    assert recoveries.complete_due() == is_told
    assert Authenticator.objects.filter(user=alice.user).exists() is not is_told
    if not is_told:  # a lead asks again, and this time it leaves
        services.withdraw_recovery(recovery, reason="not told", actor=acting_staff(sam))
        again = services.request_second_factor(tenant, reason="r", actor=acting_staff(sam))
        services.approve_recovery(again, reason="r", actor=acting_staff(kim))
        mails()
        OwnerRecovery.objects.filter(pk=again.pk).update(due_at=clock.now())
        assert recoveries.complete_due() == 1


def test_the_owners_of_every_organisation_hear_of_the_reset(
    tenant: Tenant, alice: Member, mallory: Member, sam: User, kim: User
) -> None:
    theirs = services.invite(mallory.tenant, email="alice@acme.example", role="auditor", actor=acting(mallory))
    services.accept_invitation(services.new_link(theirs), user=alice.user)
    recovery = services.request_second_factor(tenant, reason="r", actor=acting_staff(sam))
    services.approve_recovery(recovery, reason="r", actor=acting_staff(kim))
    mails()
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 1
    logs = AuditEvent.objects.filter(name="tenants.second_factor.reset").values_list("tenant", flat=True)
    assert set(logs) == {tenant.pk, mallory.tenant_id}
    assert "mallory@evil.example" in mails()


@pytest.mark.parametrize("how", ["made", "regrouped", "switched on", "second factor reset", "made by the other"])
def test_one_lead_does_not_make_the_second(orphaned: Tenant, sam: User, how: str) -> None:
    by_sam = acting_staff(sam)
    puppet = services.create_staff(
        "puppet@kore.example",
        groups=["Support lead"],
        reason="r",
        actor=by_sam if how.startswith("made") else audit.COMMAND,
    )
    if how == "regrouped":
        services.regroup_staff(puppet, groups=["Support lead"], reason="r", actor=by_sam)
    elif how == "switched on":
        services.switch_off(puppet, reason="r", actor=audit.COMMAND)
        services.switch_on(puppet, reason="r", actor=by_sam)
    elif how == "second factor reset":
        services.reset_staff_second_factor(puppet, reason="r", actor=by_sam)
    one, two = (puppet, sam) if how == "made by the other" else (sam, puppet)
    puppet = User.objects.get(pk=puppet.pk)
    recovery = services.request_new_owner(
        orphaned, email="d@acme.example", reason="r", actor=acting_staff(User.objects.get(pk=one.pk))
    )
    with pytest.raises(errors.RecoveryNeedsTwo):
        services.approve_recovery(recovery, reason="r", actor=acting_staff(User.objects.get(pk=two.pk)))
    # by whoever runs the servers
    services.regroup_staff(puppet, groups=["Support lead"], reason="looked at", actor=audit.COMMAND)
    services.approve_recovery(recovery, reason="r", actor=acting_staff(User.objects.get(pk=two.pk)))


@pytest.mark.parametrize("how", ["switched off", "regrouped"])
@pytest.mark.parametrize("who", ["sam", "kim"])
def test_a_lead_who_is_none_any_more_does_not_count(orphaned: Tenant, sam: User, kim: User, who: str, how: str) -> None:
    recovery = announced(orphaned, sam, kim)
    mails()
    gone = {"sam": sam, "kim": kim}[who]
    if how == "switched off":
        services.switch_off(gone, reason="stolen laptop", actor=audit.COMMAND)
    else:
        services.regroup_staff(gone, groups=["Support"], reason="moves", actor=audit.COMMAND)
    OwnerRecovery.objects.update(due_at=clock.now())
    recoveries.complete_due()
    recovery.refresh_from_db()
    assert recovery.status == "withdrawn"
    assert not orphaned.invitations.filter(status="pending").exists()


def test_nor_before_the_second_lead_approves(orphaned: Tenant, sam: User, kim: User) -> None:
    recovery = services.request_new_owner(orphaned, email="d@acme.example", reason="r", actor=acting_staff(sam))
    services.switch_off(sam, reason="stolen laptop", actor=audit.COMMAND)
    recovery = OwnerRecovery.objects.get(pk=recovery.pk)
    with pytest.raises(errors.RecoveryNeedsTwo):
        services.approve_recovery(recovery, reason="r", actor=acting_staff(kim))


def test_an_address_that_became_staff_meanwhile_ends_it(orphaned: Tenant, sam: User, kim: User) -> None:
    recovery = announced(orphaned, sam, kim)
    mails()
    User.objects.create_user("dora", "dora@acme.example", is_staff=True)
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 1
    recovery.refresh_from_db()
    assert recovery.status == "withdrawn"


def test_nobody_recovers_an_account_that_is_switched_off(orphaned: Tenant, sam: User) -> None:
    with pytest.raises(errors.AccountSwitchedOff):
        services.request_new_owner(orphaned, email="alice@acme.example", reason="r", actor=acting_staff(sam))


def test_an_owner_who_can_act_needs_no_recovery(tenant: Tenant, alice: Member, sam: User) -> None:
    with pytest.raises(errors.HasOwner):
        services.request_new_owner(tenant, email="x@acme.example", reason="r", actor=acting_staff(sam))


def test_nor_does_an_organisation_that_never_had_one(tenant: Tenant, sam: User) -> None:
    with pytest.raises(errors.HasOwner):
        services.request_new_owner(tenant, email="x@acme.example", reason="r", actor=acting_staff(sam))


def test_staff_do_not_recover_themselves_in(orphaned: Tenant, sam: User) -> None:
    with pytest.raises(errors.StaffAddress):
        services.request_new_owner(orphaned, email="sam@kore.example", reason="r", actor=acting_staff(sam))


def test_the_only_owner_gets_a_new_second_factor(
    tenant: Tenant, alice: Member, bob: Member, sam: User, kim: User
) -> None:
    Authenticator.objects.create(user=alice.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    recovery = services.request_second_factor(tenant, reason="Telephone lost", actor=acting_staff(sam))
    with pytest.raises(errors.RecoveryUnderWay):
        services.request_second_factor(tenant, reason="again", actor=acting_staff(kim))
    services.approve_recovery(recovery, reason="Called back", actor=acting_staff(kim))
    mails()
    OwnerRecovery.objects.update(due_at=clock.now())
    assert recoveries.complete_due() == 1
    assert not Authenticator.objects.filter(user=alice.user).exists()


def test_with_two_owners_the_other_one_does_it(
    tenant: Tenant, alice: Member, sam: User, browser_of: Callable[..., Client]
) -> None:
    carol = invited(tenant, "carol@acme.example", "owner")
    Authenticator.objects.create(user=carol.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    with pytest.raises(errors.HasOwner):
        services.request_second_factor(tenant, reason="r", actor=acting_staff(sam))
    path = f"/tenants/{tenant.pk}/people/{carol.pk}/second-factor/"
    assert browser_of(alice, is_fresh=False).post(path, {"reason": "lost"})["Location"].startswith("/accounts/reauth")
    assert browser_of(carol).post(path, {"reason": "lost"}).status_code == 200  # not one's own
    assert Authenticator.objects.filter(user=carol.user).exists()
    assert browser_of(alice).post(path, {"reason": "Telephone lost"}).status_code == 302
    assert not Authenticator.objects.filter(user=carol.user).exists()
    assert {"alice@acme.example", "carol@acme.example"} <= set(mails())


def test_an_account_of_two_organisations_is_not_reset_by_one(tenant: Tenant, alice: Member, mallory: Member) -> None:
    invitation = services.invite(mallory.tenant, email="bob@acme.example", role="owner", actor=acting(mallory))
    bob = invited(tenant, "bob@acme.example", "auditor")
    theirs = services.accept_invitation(services.new_link(invitation), user=bob.user)
    with pytest.raises(errors.SharedAccount):
        services.reset_second_factor(theirs, reason="r", actor=acting(mallory))


def test_no_lead_acts_alone_even_in_the_database(orphaned: Tenant, sam: User) -> None:
    from django.db import IntegrityError, transaction

    recovery = services.request_new_owner(orphaned, email="d@acme.example", reason="r", actor=acting_staff(sam))
    with pytest.raises(IntegrityError), transaction.atomic():
        OwnerRecovery.objects.filter(pk=recovery.pk).update(approved_by=sam)
    with pytest.raises(IntegrityError), transaction.atomic():
        OwnerRecovery.objects.filter(pk=recovery.pk).update(status="done")
