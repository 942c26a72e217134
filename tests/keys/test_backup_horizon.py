"""The backup horizon: what was replaced is needed until no backup names it, everybody is told,
and an owner may end it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import CUSTOMER, REGION, Customer, acting, health_of, invited, save_draft
from django.core import mail
from django.db import DatabaseError, connection, transaction
from django.test import Client

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed, NotFound
from byokportal.localaws.testing import LocalAws
from keys import aws as keys_aws
from keys import branchkeys, datakeys, errors, horizon, services
from keys.models import BranchKey, BranchKeyWrapping, KeyRegistration, ServiceRolePolicy
from keys.policies import documents
from support import follow, notices
from tenants import audit
from tenants import services as tenant_services
from tenants.errors import SecondPersonNeeded
from tenants.models import AuditEvent, Member, Tenant

Status = KeyRegistration.Status
Work = Callable[[], None]
Sign = Callable[[Any], Client]


@pytest.fixture(autouse=True)
def _thirty_five_days(settings: Any) -> None:
    settings.BACKUP_RETENTION_DAYS = 35


def generate(tenant: Tenant) -> datakeys.NewDataKey:
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    return made


def named() -> set[str]:
    return {arn for policy in ServiceRolePolicy.objects.all() for arn in policy.role_arns}


@pytest.fixture
def replaced(
    tenant: Tenant, alice: Member, aws: LocalAws, customer: Customer, active: KeyRegistration, work: Work
) -> KeyRegistration:
    """The registration that another key and another role have replaced, with its one branch key moved."""
    generate(tenant)
    new_key = aws.client(CUSTOMER, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    save_draft(tenant, key_arn=new_key, actor=acting(alice))
    second = Customer(aws, role_name="SecondRole", key_arn=new_key)
    role_arn = second.create_role(
        services.document(tenant, "trust-policy"), documents.render(documents.permissions_policy(new_key))
    )
    second.add_key_statement(documents.key_policy_statement(role_arn))
    save_draft(tenant, role_arn=role_arn, actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    active.refresh_from_db()
    return active


def days_pass(registration: KeyRegistration, days: float) -> None:
    KeyRegistration.objects.filter(pk=registration.pk).update(last_moved_at=clock.now() - timedelta(days=days))


# --- how long ---------------------------------------------------------------------------------------------------


def test_it_stays_until_no_backup_names_it(
    replaced: KeyRegistration, tenant: Tenant, work: Work, mallory: Member
) -> None:
    assert replaced.status == Status.RETIRING and branchkeys.remaining(tenant) == []
    assert replaced.role_arn in named()
    (kept,) = horizon.kept(tenant)
    assert (kept.key_arn, kept.role_arn, kept.count) == (replaced.key_arn, replaced.role_arn, 1)
    assert timedelta(days=34) < kept.until - clock.now() <= timedelta(days=35)
    save_draft(mallory.tenant, key_arn=replaced.key_arn, role_arn=replaced.role_arn, actor=acting(mallory))
    with pytest.raises(errors.RoleArnTaken):  # its claim is held
        services.submit_registration(mallory.tenant, actor=acting(mallory))
    days_pass(replaced, 34.9)
    work()
    replaced.refresh_from_db()
    assert replaced.status == Status.RETIRING and replaced.role_arn in named()
    days_pass(replaced, 35.1)
    work()
    work()
    replaced.refresh_from_db()
    assert (replaced.status, replaced.role_claim, replaced.needed_until) == (Status.RETIRED, None, None)
    assert replaced.role_arn not in named() and horizon.kept(tenant) == []
    services.submit_registration(mallory.tenant, actor=acting(mallory))


def test_the_last_branch_key_that_moves_begins_it(replaced: KeyRegistration, tenant: Tenant, work: Work) -> None:
    """Another branch key still named it: the days count from its move, not from the first one's."""
    row = BranchKeyWrapping.objects.get(tenant=tenant)
    late = BranchKey.objects.create(
        tenant=tenant, registration=replaced, key_arn=replaced.key_arn, wrapped=b"x", is_current=False
    )
    days_pass(replaced, 40)
    work()
    replaced.refresh_from_db()
    assert replaced.status == Status.RETIRING and horizon.kept(tenant) == []  # it is still needed for more than backups
    key = keys_aws.open_key(
        replaced.access(tenant),
        purpose="test",
    )
    wrapped = key.generate_wrapped(branchkeys.context_of(tenant.pk, late.pk)).ciphertext
    BranchKey.objects.filter(pk=late.pk).update(wrapped=wrapped, due_at=clock.now(), claimed_at=None)
    work()
    replaced.refresh_from_db()
    assert replaced.status == Status.RETIRING
    assert BranchKeyWrapping.objects.filter(registration=replaced).count() == 2
    assert replaced.last_moved_at is not None and replaced.last_moved_at > row.replaced_at


def test_a_database_restored_from_before_the_move_opens_with_the_wrapping(
    replaced: KeyRegistration, tenant: Tenant
) -> None:
    kept, now = BranchKeyWrapping.objects.get(tenant=tenant), BranchKey.objects.get(tenant=tenant)
    assert (kept.branch_key_id, kept.registration_id, kept.key_arn) == (now.pk, replaced.pk, replaced.key_arn)
    context = branchkeys.context_of(tenant.pk, now.pk)
    old = branchkeys.kms_key(tenant, replaced, kept.key_arn, purpose="test").decrypt(bytes(kept.wrapped), context)
    new = branchkeys.kms_key(tenant, now.registration, now.key_arn, purpose="test").decrypt(bytes(now.wrapped), context)
    assert old.plaintext == new.plaintext


def test_what_wrapped_nothing_has_no_horizon(
    tenant: Tenant, alice: Member, customer: Customer, active: KeyRegistration, work: Work
) -> None:
    active.refresh_from_db()
    assert horizon.is_over(active)


def test_rotation_moves_nothing_and_the_old_branch_key_stays_a_row(
    tenant: Tenant, active: KeyRegistration, alice: Member, work: Work
) -> None:
    generate(tenant)
    services.rotate_branch_key(tenant, reason="an exercise", actor=acting(alice))
    work()
    assert BranchKey.objects.of(tenant).count() == 2 and not BranchKeyWrapping.objects.exists()


# --- both ways of the platform's key ------------------------------------------------------------------------------


def test_leaving_and_coming_back_keep_wrappings_too(
    tenant: Tenant, alice: Member, customer: Customer, aws: LocalAws, settings: Any, work: Work, active: KeyRegistration
) -> None:
    platform = aws.client(settings.AWS_ACCOUNT_ID, "kms", REGION).create_key()["KeyMetadata"]["Arn"]
    settings.PLATFORM_KEY_ARN = platform
    generate(tenant)
    services.leave(tenant, reason="we outsource it", actor=acting(alice))
    work()
    active.refresh_from_db()
    assert active.status == Status.RETIRING and active.role_arn in named()
    assert [row.key_arn for row in BranchKeyWrapping.objects.all()] == [customer.key_arn]
    # … and back, with the same role, whose claim the retiring one holds.
    save_draft(tenant, key_arn=customer.key_arn, role_arn=customer.role_arn, actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    again = KeyRegistration.objects.of(tenant).serving().get()
    assert again.status == Status.ACTIVE and again.role_claim == f"{CUSTOMER}/{customer.role_name.lower()}"
    active.refresh_from_db()
    assert active.status == Status.RETIRING and active.role_claim == f"{again.role_claim}#{active.pk}"
    assert [row.key_arn for row in BranchKeyWrapping.objects.all()] == [customer.key_arn, platform]
    # The older one needs the role longer than the newer: it takes the claim back.
    services.leave(tenant, reason="for good", actor=acting(alice))
    work()
    again.refresh_from_db()
    services.end_horizon(again, reason="it leaked", accepts_loss=True, actor=acting(alice))
    active.refresh_from_db()
    assert active.role_claim == f"{CUSTOMER}/{customer.role_name.lower()}"
    work()
    assert active.role_arn in named()


# --- the rows -----------------------------------------------------------------------------------------------------


def test_a_wrapping_is_insert_only_and_goes_after_its_time(replaced: KeyRegistration, tenant: Tenant) -> None:
    rows = BranchKeyWrapping.objects.filter(tenant=tenant)
    for attempt in (
        lambda: rows.update(wrapped=b"another"),
        lambda: rows.update(kept_until=clock.now()),
        lambda: rows.delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()
    if connection.vendor == "postgresql":
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("TRUNCATE keys_branchkeywrapping")
    assert horizon.clear() == 0
    row = rows.get()
    old = BranchKeyWrapping.objects.create(
        tenant=tenant,
        branch_key_id=row.branch_key_id,
        registration=replaced,
        key_arn=row.key_arn,
        wrapped=b"x",
        replaced_at=clock.now() - timedelta(days=36),
        kept_until=clock.now() - timedelta(days=1),
    )
    assert horizon.clear() == 1
    assert not rows.filter(pk=old.pk).exists() and rows.count() == 1


def test_with_no_retention_it_ends_at_once(settings: Any, tenant: Tenant, active: KeyRegistration) -> None:
    settings.BACKUP_RETENTION_DAYS = 0
    generate(tenant)
    row = BranchKey.objects.get(tenant=tenant)
    with transaction.atomic():
        horizon.keep(row)
    active.refresh_from_db()
    assert horizon.is_over(active)
    assert horizon.clear() == 1


# --- who is told ----------------------------------------------------------------------------------------------------


def sent(work: Work) -> list[Any]:
    mail.outbox.clear()
    while follow.follow():
        pass
    while notices.send_due():
        pass
    return list(mail.outbox)


def test_page_api_and_mail_say_until_when_both_are_needed_and_why(
    replaced: KeyRegistration, tenant: Tenant, alice: Member, bob: Member, browser_of: Sign, api_of: Sign, work: Work
) -> None:
    assert replaced.needed_until is not None
    until = horizon.written(replaced.needed_until)
    for path in ("key/branch-keys/", "key/"):
        page = browser_of(bob).get(f"/tenants/{tenant.pk}/{path}").content.decode()
        assert until in page and replaced.key_arn in page and replaced.role_arn in page, path
        assert "a backup of our database from before" in page and "35 days" in page
        assert "may delete" not in page
    shown = api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/key/branch-keys").json()
    (kept,) = shown["kept"]
    assert (kept["registration"], kept["key_arn"], kept["role_arn"]) == (
        str(replaced.pk),
        replaced.key_arn,
        replaced.role_arn,
    )
    assert kept["needed_until"].startswith(f"{replaced.needed_until:%Y-%m-%dT%H:%M}")
    assert "backup" in kept["why"] and "for ever" in kept["loses"]
    (warning,) = [
        note
        for note in api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/key").json()["warnings"]
        if note["code"] == "old_key_needed"
    ]
    assert until in warning["text"] and not warning["is_urgent"]
    (told,) = [
        message for message in _mails(tenant, sent(work)) if replaced.key_arn in message.body and until in message.body
    ]
    assert told.to == [alice.user.email] and replaced.role_arn in told.body and "backup" in told.body


def _mails(tenant: Tenant, outbox: list[Any]) -> list[Any]:
    from support.models import Notice

    return [notices.compose(notice) for notice in Notice.objects.filter(tenant=tenant, template="old-key-needed")]


def test_it_is_probed_daily(replaced: KeyRegistration, probe_now: Callable[[KeyRegistration], KeyRegistration]) -> None:
    probed = probe_now(replaced)
    assert health_of(probed).next_probe_at is not None
    assert timedelta(hours=20) < health_of(probed).next_probe_at - clock.now() < timedelta(hours=27)


def test_a_deletion_inside_the_horizon_is_a_warning(
    replaced: KeyRegistration,
    tenant: Tenant,
    alice: Member,
    customer: Customer,
    browser_of: Sign,
    work: Work,
    probe_now: Callable[[KeyRegistration], KeyRegistration],
) -> None:
    sent(work)
    customer.kms.schedule_key_deletion(KeyId=replaced.key_arn, PendingWindowInDays=7)
    assert probe_now(replaced).status == Status.RETIRING
    page = browser_of(alice).get(f"/tenants/{tenant.pk}/key/").content.decode()
    assert "AWS deletes the old key" in page and "cancel-key-deletion" in page and replaced.key_arn in page
    state = services.key_state(tenant)
    (note,) = [note for note in state.warnings if note.code == "old_key_pending_deletion"]
    assert note.is_urgent and note.at is not None and note.command
    from support.models import Notice

    while follow.follow():
        pass
    (notice,) = Notice.objects.filter(tenant=tenant, template="old-key-at-risk")
    body = notices.compose(notice).body
    assert replaced.key_arn in body and "deletes" in body and notice.recipient == alice.user.email
    probe_now(replaced)  # once is enough
    assert AuditEvent.objects.filter(name="keys.kept_key.at_risk").count() == 1
    customer.kms.cancel_key_deletion(KeyId=replaced.key_arn)
    customer.kms.enable_key(KeyId=replaced.key_arn)
    probe_now(replaced)
    assert [note.code for note in services.key_state(tenant).warnings] == ["old_key_needed"]


def test_a_deletion_after_the_horizon_is_none(
    replaced: KeyRegistration,
    tenant: Tenant,
    customer: Customer,
    probe_now: Callable[[KeyRegistration], KeyRegistration],
) -> None:
    days_pass(replaced, 10)  # 25 are left
    customer.kms.schedule_key_deletion(KeyId=replaced.key_arn, PendingWindowInDays=30)
    probe_now(replaced)
    assert [note.code for note in services.key_state(tenant).warnings] == ["old_key_needed"]
    assert not AuditEvent.objects.filter(name="keys.kept_key.at_risk").exists()


def test_an_old_key_that_is_disabled_is_a_warning_too(
    replaced: KeyRegistration,
    tenant: Tenant,
    customer: Customer,
    probe_now: Callable[[KeyRegistration], KeyRegistration],
) -> None:
    customer.kms.disable_key(KeyId=replaced.key_arn)
    probe_now(replaced)
    (note,) = [note for note in services.key_state(tenant).warnings if note.code == "old_key_refused"]
    assert "disabled" in note.text
    assert AuditEvent.objects.filter(name="keys.kept_key.at_risk").count() == 1


# --- the old key is compromised ---------------------------------------------------------------------------------------


def test_an_owner_ends_it_at_once_and_reads_first_what_is_lost(
    replaced: KeyRegistration, tenant: Tenant, alice: Member, bob: Member, mallory: Member, browser_of: Sign, work: Work
) -> None:
    url = f"/tenants/{tenant.pk}/key/old/{replaced.pk}/end/"
    page = browser_of(alice).get(url).content.decode()
    assert "holds 1 branch key that only this key opens" in page and "for ever" in page and replaced.key_arn in page
    assert browser_of(mallory).post(url, {"reason": "x", "sure": "on"}).status_code == 404
    assert browser_of(bob).post(url, {"reason": "x", "sure": "on"}).status_code == 403
    assert "Tick this" in browser_of(alice).post(url, {"reason": "it leaked"}).content.decode()
    assert "Say why" in browser_of(alice).post(url, {"sure": "on"}).content.decode()
    replaced.refresh_from_db()
    assert replaced.status == Status.RETIRING
    done = browser_of(alice).post(url, {"reason": "it leaked", "sure": "on"})
    assert done.status_code == 302
    replaced.refresh_from_db()
    assert (replaced.status, replaced.role_claim) == (Status.RETIRED, None)
    assert not BranchKeyWrapping.objects.filter(registration=replaced).exists()
    event = AuditEvent.objects.get(name="keys.registration.horizon_ended")
    assert audit.actor_of(event) == f"member:{alice.user.email}" and "it leaked" in event.payload
    work()
    assert replaced.role_arn not in named()
    assert browser_of(alice).post(url, {"reason": "again", "sure": "on"}).status_code in {302, 404, 409}


def test_who_may_not_end_it_and_when_it_is_too_early(
    replaced: KeyRegistration, tenant: Tenant, alice: Member, bob: Member, mallory: Member
) -> None:
    with pytest.raises(NotAllowed):
        services.end_horizon(replaced, reason="x", accepts_loss=True, actor=acting(bob))
    with pytest.raises(NotFound):
        services.end_horizon(replaced, reason="x", accepts_loss=True, actor=acting(mallory))
    with pytest.raises(InvalidInput):
        services.end_horizon(replaced, reason="x", accepts_loss=False, actor=acting(alice))
    serving = KeyRegistration.objects.of(tenant).serving().get()
    with pytest.raises(errors.RegistrationBusy):
        services.end_horizon(serving, reason="x", accepts_loss=True, actor=acting(alice))
    BranchKey.objects.filter(tenant=tenant).update(registration=replaced)  # data would be lost now, not only in backups
    with pytest.raises(errors.RegistrationBusy):
        services.end_horizon(replaced, reason="x", accepts_loss=True, actor=acting(alice))


def test_where_two_are_needed_it_ends_when_another_owner_has_approved_it(
    replaced: KeyRegistration, tenant: Tenant, alice: Member
) -> None:
    carol = invited(tenant, "carol@acme.example", "owner")
    at = clock.now() - timedelta(days=30)
    Member.objects.filter(tenant=tenant).update(created_at=at, role_since=at)
    tenant_services.require_second_person(tenant, actor=acting(alice))
    with pytest.raises(SecondPersonNeeded) as told, transaction.atomic():
        services.end_horizon(replaced, reason="it leaked", accepts_loss=True, actor=acting(alice))
    approval = tenant_services.ask_second_person(told.value)
    assert approval is not None and not AuditEvent.objects.filter(name="keys.registration.horizon_ended").exists()
    assert tenant_services.approve(approval, actor=acting(carol)).status == "done"
    assert AuditEvent.objects.filter(name="keys.registration.horizon_ended").count() == 1


def test_the_api_ends_it_too(
    replaced: KeyRegistration, tenant: Tenant, alice: Member, bob: Member, api_of: Sign
) -> None:
    url = f"/api/v1/tenants/{tenant.pk}/key/old/{replaced.pk}/end"

    def post(member: Member, **body: Any) -> Any:
        return api_of(member).post(url, json.dumps({"reason": "it leaked", **body}), content_type="application/json")

    refused = post(alice, accepts_loss=False)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
    assert post(bob, accepts_loss=True).status_code == 403
    done = post(alice, accepts_loss=True)
    assert (done.status_code, done.json()["kept"]) == (202, [])
    replaced.refresh_from_db()
    assert replaced.status == Status.RETIRED
