"""Drafts and sharing: what is kept, what is refused, and who may."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from conftest import OTHER_CUSTOMER, Customer, acting, save_draft
from django.db import DatabaseError, connection, transaction

from byokportal.errors import NotAllowed, NotFound
from byokportal.localaws.testing import LocalAws
from keys import errors, services
from keys.models import KeyRegistration, RoleConfiguration
from tenants.models import AuditEvent, Member, Tenant

Status = KeyRegistration.Status
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


def test_a_draft_keeps_what_was_given_and_grows(tenant: Tenant, alice: Member) -> None:
    save_draft(tenant, key_arn=KEY, actor=acting(alice))
    registration = save_draft(tenant, role_arn=ROLE, actor=acting(alice))
    assert (registration.key_arn, registration.role_arn, registration.status) == (KEY, ROLE, Status.DRAFT)
    assert KeyRegistration.objects.count() == 1


def test_a_refused_arn_saves_nothing(tenant: Tenant, alice: Member) -> None:
    with pytest.raises(errors.ArnRefused):
        save_draft(tenant, key_arn=KEY, role_arn=ROLE + "*", actor=acting(alice))
    assert not KeyRegistration.objects.exists()


def test_an_auditor_and_a_stranger_cannot_register(tenant: Tenant, bob: Member, mallory: Member) -> None:
    with pytest.raises(NotAllowed):
        save_draft(tenant, key_arn=KEY, actor=acting(bob))
    with pytest.raises(NotFound):
        save_draft(tenant, key_arn=KEY, actor=acting(mallory))


def test_sharing_needs_both_arns(tenant: Tenant, alice: Member) -> None:
    with pytest.raises(errors.NoRegistration):
        services.submit_registration(tenant, actor=acting(alice))
    save_draft(tenant, key_arn=KEY, actor=acting(alice))
    with pytest.raises(errors.ArnsMissing) as refused:
        services.submit_registration(tenant, actor=acting(alice))
    assert refused.value.params["missing"] == ["role_arn"]


def test_sharing_twice_is_one_registration(tenant: Tenant, alice: Member) -> None:
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    with pytest.raises(errors.RegistrationBusy):
        services.submit_registration(tenant, actor=acting(alice))
    assert RoleConfiguration.objects.count() == 1


def test_a_shared_registration_cannot_be_changed_under_our_hands(tenant: Tenant, alice: Member) -> None:
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    services.submit_registration(tenant, actor=acting(alice))
    with pytest.raises(errors.RegistrationBusy):
        save_draft(tenant, role_arn=ROLE + "2", actor=acting(alice))


@pytest.mark.parametrize(
    "spelling", [ROLE, ROLE.replace("AIforWork", "aIFORwORK"), ROLE.replace("role/", "role/some/path/")]
)
def test_a_role_that_serves_another_tenant_is_refused_neutrally(
    active: KeyRegistration, mallory: Member, spelling: str
) -> None:
    other = mallory.tenant
    save_draft(other, key_arn=KEY, role_arn=spelling, actor=acting(mallory))
    with pytest.raises(errors.RoleArnTaken) as refused:
        services.submit_registration(other, actor=acting(mallory))
    assert "Acme" not in str(refused.value)
    assert str(active.tenant_id) not in str(refused.value.params)


def test_drafts_reserve_nothing(
    tenant: Tenant, alice: Member, mallory: Member, customer: Customer, work: Callable[[], None]
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    save_draft(mallory.tenant, key_arn=customer.key_arn, role_arn=customer.role_arn, actor=acting(mallory))
    services.submit_registration(mallory.tenant, actor=acting(mallory))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert KeyRegistration.objects.get(tenant=tenant).status == Status.ACTIVE
    stranger = KeyRegistration.objects.get(tenant=mallory.tenant)
    assert stranger.status == Status.REJECTED  # the trust policy does not name her External ID


def test_a_second_role_in_another_account_is_no_obstacle(
    active: KeyRegistration, mallory: Member, aws: LocalAws, work: Callable[[], None]
) -> None:
    second = Customer(aws, account=OTHER_CUSTOMER)
    second.follow_the_guide(mallory.tenant, acting(mallory))
    services.submit_registration(mallory.tenant, actor=acting(mallory))
    work()
    assert KeyRegistration.objects.get(tenant=mallory.tenant).status == Status.ACTIVE


def test_a_role_named_no_more_leaves_our_policy(
    tenant: Tenant, alice: Member, customer: Customer, aws: LocalAws, work: Callable[[], None]
) -> None:
    trust = json.loads(services.document(tenant, "trust-policy"))
    del trust["Statement"][0]["Condition"]
    customer.follow_the_guide(tenant, acting(alice), trust=json.dumps(trust))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    old = customer.role_arn
    customer.role_name = "AnotherRole"
    customer.create_role(services.document(tenant, "trust-policy"), services.document(tenant, "permissions-policy"))
    save_draft(tenant, role_arn=customer.role_arn, actor=acting(alice))
    customer.add_key_statement(json.loads(services.document(tenant, "key-policy-statement")))
    services.submit_registration(tenant, actor=acting(alice))
    work()
    assert KeyRegistration.objects.get(tenant=tenant).status == Status.ACTIVE
    named = [arn for policy in tenant.service_role.policies.all() for arn in policy.role_arns]
    assert named == [customer.role_arn]
    assert old not in named


def test_the_log_and_the_fixed_facts_of_a_tenant_are_held_by_the_database(tenant: Tenant) -> None:
    event = AuditEvent.objects.of(tenant).first()
    assert event is not None
    for attempt in (
        lambda: AuditEvent.objects.filter(pk=event.pk).update(payload="{}"),
        lambda: AuditEvent.objects.filter(pk=event.pk).delete(),
        lambda: Tenant.objects.filter(pk=tenant.pk).update(external_id="byok-other"),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()
    if connection.vendor == "postgresql":
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("TRUNCATE tenants_auditevent CASCADE")
