"""Many workers add and remove on one service role, some are killed: IAM lets us assume what the database says.

`make soak` runs it for longer (CONFIGURATION_ROUNDS, CONFIGURATION_STEPS).
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from byokportal.localaws.testing import LocalAws
from keys.aws import iam
from keys.configuration import apply, packing
from keys.models import KeyRegistration, RoleConfiguration, ServiceRolePolicy
from keys.policies import evaluator
from tenants import audit
from tenants import services as tenant_services
from tenants.models import ServiceRole, Tenant

OURS = "999900001111"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
WILLING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
WORKERS = 20
GOES = ("draft", "retired")


class Killed(BaseException):
    """The worker is gone."""


def role_arn(tenant: Tenant) -> str:
    return f"arn:aws:iam::{tenant.pk.int % 10**12:012d}:role/AIforWorkByokAccessRole"


def add(tenant: Tenant) -> None:
    registration = KeyRegistration.objects.create(
        tenant=tenant, key_arn=KEY, role_arn=role_arn(tenant), status="configuring"
    )
    queue(registration, "add")


def remove(tenant: Tenant) -> None:
    registration = KeyRegistration.objects.exclude(status__in=GOES).get(tenant=tenant)
    KeyRegistration.objects.filter(pk=registration.pk).update(status="retired")
    queue(registration, "remove")


def queue(registration: KeyRegistration, action: str) -> None:
    RoleConfiguration.objects.create(
        tenant=registration.tenant,
        registration=registration,
        service_role=registration.tenant.service_role,
        action=action,
        role_arn=registration.role_arn,
        status="queued",
    )


def toggle(tenants: list[Tenant]) -> None:
    """Add each that is not there, and remove each that is."""
    there = set(KeyRegistration.objects.exclude(status__in=GOES).values_list("tenant_id", flat=True))
    for tenant in tenants:
        (remove if tenant.pk in there else add)(tenant)


def wanted() -> set[str]:
    """Return the roles that the database says we may assume."""
    return set(KeyRegistration.objects.exclude(status__in=GOES).values_list("role_arn", flat=True))


def documents(service_role: ServiceRole) -> list[dict[str, Any]]:
    attached = iam.attached(service_role.name)
    rows = ServiceRolePolicy.objects.filter(service_role=service_role)
    written = [iam.read_policy(row.policy_arn) for row in rows if row.policy_arn in attached]
    return [one.document for one in written if one is not None]


def tenants_of(count: int) -> list[Tenant]:
    return [
        tenant_services.create_tenant(f"T{number}", owner_email=f"t{number}@x.example", actor=audit.COMMAND)
        for number in range(count)
    ]


# --- one after the other ----------------------------------------------------------------------------------------------


def walk(service_role: ServiceRole, *, steps: int, seed: int) -> None:
    chance = random.Random(seed)
    tenants = tenants_of(12)
    me = evaluator.Principal(service_role.arn, OURS, role_arn=service_role.arn)
    asked = [*map(role_arn, tenants), f"arn:aws:iam::{OURS}:role/Administrator", "arn:aws:iam::444455556666:role/Other"]
    for _ in range(steps):
        toggle([chance.choice(tenants)])
        configuration = RoleConfiguration.objects.filter(status="queued").get()
        apply.apply(str(configuration.pk))
        assert not RoleConfiguration.objects.filter(status__in=("queued", "failed")).exists()
        # The row of an addition would wait for its test: it is done here.
        RoleConfiguration.objects.filter(status="propagating").update(status="done")
        policies = documents(service_role)
        allowed = {
            arn
            for arn in asked
            if evaluator.evaluate(
                evaluator.Request("sts:AssumeRole", arn, me, {}), identity=policies, resource=WILLING
            ).allowed
        }
        assert allowed == wanted()


def test_after_each_change_the_roles_that_we_may_assume_are_those_of_the_database(service_role: ServiceRole) -> None:
    walk(service_role, steps=15, seed=1)


@pytest.mark.slow
def test_the_same_for_many_changes(service_role: ServiceRole) -> None:
    walk(service_role, steps=int(os.environ.get("CONFIGURATION_STEPS", "100")), seed=2)


# --- at once, with workers that are killed ----------------------------------------------------------------------------


def worker(seed: int) -> None:
    """Do what is queued, and die at some statement now and then: nothing of it runs on, its lease and claim stay."""
    chance = random.Random(seed)
    state = {"left": chance.randint(5, 60) if chance.random() < 0.4 else -1}

    def die(execute: Any, statement: str, params: Any, many: bool, context: Any) -> Any:
        if state["left"] == 0:
            raise Killed
        state["left"] -= 1
        return execute(statement, params, many, context)

    try:
        with connection.execute_wrapper(die):
            for pk in RoleConfiguration.objects.filter(status="queued").order_by("?").values_list("pk", flat=True):
                apply.apply(str(pk))
    except Killed:
        pass
    finally:
        connection.close()


def time_passes() -> None:
    """Let the leases and claims of the killed end."""
    long_ago = timezone.now() - timedelta(minutes=5)
    ServiceRole.objects.exclude(lease_until=None).update(lease_until=long_ago)
    RoleConfiguration.objects.filter(status="queued").update(claimed_at=None, due_at=timezone.now())


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_twenty_workers_leave_what_one_would_have_written(service_role: ServiceRole, aws: LocalAws) -> None:
    chance, tenants = random.Random(3), tenants_of(24)
    for number in range(int(os.environ.get("CONFIGURATION_ROUNDS", "5"))):
        toggle(chance.sample(tenants, 12))
        for attempt in range(40):
            with ThreadPoolExecutor(WORKERS) as threads:
                list(threads.map(worker, [number * 10_000 + attempt * 100 + one for one in range(WORKERS)]))
            time_passes()
            if not RoleConfiguration.objects.filter(status="queued").exists():
                break
        left = list(RoleConfiguration.objects.filter(status__in=("queued", "failed")).values_list("status", "reason"))
        assert left == [], f"round {number}"
        RoleConfiguration.objects.filter(status="propagating").update(status="done")
        assert documents(service_role) == [packing.document(sorted(wanted()), our_account=OURS)], f"round {number}"
        assert sorted(ServiceRolePolicy.objects.get().role_arns) == sorted(wanted())
