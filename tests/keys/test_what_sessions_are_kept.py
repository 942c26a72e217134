"""A session with a tenant's role is a live credential of a customer: only what is used again stays in a process."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from conftest import Customer, acting, with_health
from django.utils import timezone

from keys import branchkeys, datakeys, health, services
from keys.aws import clients, sessions
from keys.models import BranchKey, KeyHealth, KeyRegistration
from tenants import audit
from tenants import services as tenant_services
from tenants.models import Member, Tenant

MANY = 12
Probe = Callable[[KeyRegistration], KeyRegistration]


@pytest.fixture
def many(tenant: Tenant, customer: Customer, active: KeyRegistration) -> list[KeyRegistration]:
    """A dozen tenants in service, each with a role of its own; all are due."""
    made, now = [active], timezone.now()
    for number in range(MANY - 1):
        other = tenant_services.create_tenant(f"T{number}", owner_email=f"o@t{number}.example", actor=audit.COMMAND)
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": other.service_role.arn},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": other.external_id}},
        }
        use = {"Effect": "Allow", "Action": "kms:*", "Resource": active.key_arn}
        role_arn = customer.iam.create_role(
            RoleName=f"r{number}", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )["Role"]["Arn"]
        document = json.dumps({"Version": "2012-10-17", "Statement": [use]})
        customer.iam.put_role_policy(RoleName=f"r{number}", PolicyName="kms", PolicyDocument=document)
        made.append(
            KeyRegistration.objects.create(
                tenant=other,
                key_arn=active.key_arn,
                role_arn=role_arn,
                status="active",
                activated_at=now,
                role_claim=f"c{number}",
            )
        )
        with_health(made[-1], next_probe_at=now)
    _let_our_role_in(customer, made)
    KeyHealth.objects.update(next_probe_at=now)
    return made


def _let_our_role_in(customer: Customer, registrations: list[KeyRegistration]) -> None:
    """Name the roles in a policy of our service role, as step 5 does."""
    allow = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Resource": [registration.role_arn for registration in registrations],
    }
    name = registrations[0].tenant.service_role.name
    iam = customer.aws.client("999900001111", "iam", "us-east-1")
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_role_policy(RoleName=name, PolicyName="more", PolicyDocument=document)


def left_behind() -> Counter[str]:
    """Count every session that is alive in this process, wherever something keeps it: by role, ours or a tenant's."""
    gc.collect()
    ours = {id(found) for name, found in sessions._cache.items() if name[0] == "service"}
    alive = [found for found in gc.get_objects() if type(found) is clients.Credentials]  # no proxy of what is gone
    return Counter("ours" if id(found) in ours else "a tenant's" for found in alive)


def test_a_sweep_of_many_tenants_leaves_no_session_behind(many: list[KeyRegistration], settings: object) -> None:
    sessions.forget_all()
    assert health.sweep() == MANY
    assert KeyHealth.objects.filter(good_probes=1).count() == MANY
    assert left_behind() == {"ours": 1}


def test_a_sweep_that_looks_at_trust_policies_leaves_no_session_behind(
    many: list[KeyRegistration], settings: pytest.FixtureRequest
) -> None:
    settings.TRUST_PROBE_SECONDS = 0  # type: ignore[attr-defined]
    KeyHealth.objects.update(trust_looked_at=timezone.now() - timedelta(hours=2))
    sessions.forget_all()
    assert health.sweep() == MANY
    assert left_behind() == {"ours": 1}


def test_an_encryption_test_leaves_no_session_behind(
    tenant: Tenant, alice: Member, active: KeyRegistration, work: Callable[[], None]
) -> None:
    sessions.forget_all()
    services.start_test(tenant, actor=acting(alice))
    work()
    assert left_behind() == {"ours": 1}


def test_a_worker_that_rotates_and_moves_branch_keys_leaves_no_session_behind(
    tenant: Tenant, alice: Member, active: KeyRegistration, work: Callable[[], None]
) -> None:
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    datakeys.start_anew()
    sessions.forget_all()
    services.rotate_branch_key(tenant, reason="now", actor=acting(alice))
    work()
    assert BranchKey.objects.of(tenant).count() == 2
    assert left_behind() == {"ours": 1}
    branchkeys.begin_moving(tenant)
    work()
    assert left_behind() == {"ours": 1}


def test_what_a_process_loads_again_and_again_is_kept_and_leaves_when_it_has_ended(
    tenant: Tenant, active: KeyRegistration
) -> None:
    sessions.forget_all()
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    assert left_behind() == {"ours": 1, "a tenant's": 1}
    (name,) = [name for name, _ in sessions._cache.items() if name[0] == "tenant"]
    # too near to its end to be used again
    with_end = clients.Credentials("id", "secret", "token", datetime.now(UTC) + timedelta(seconds=30), "unique", "")
    sessions._cache.put(name, with_end)
    del with_end
    datakeys.start_anew()
    sessions.service_role(tenant.service_role.arn, "eu-central-1", fresh=True)
    assert sessions._cache.peek(name) is None
