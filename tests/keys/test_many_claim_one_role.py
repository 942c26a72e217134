"""Fifty tenants register one role at once: only the one whose External ID the trust policy names becomes active."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Customer, acting, owner_of, save_draft

from keys import errors, services
from keys.models import KeyRegistration
from tenants import audit
from tenants import services as tenant_services
from tenants.models import Member, Tenant


@pytest.mark.django_db
@pytest.mark.parametrize("count", [6, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.servers])])
def test_of_many_registrations_of_one_role_one_becomes_active(
    count: int, tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None]
) -> None:
    customer.follow_the_guide(tenant, acting(alice))
    owners = [alice]
    for number in range(count - 1):
        other = tenant_services.create_tenant(
            f"Squatter {number}", owner_email=f"s{number}@evil.example", actor=audit.COMMAND
        )
        owners.insert(number // 2, owner_of(other))
    for owner in owners:
        if owner != alice:
            save_draft(owner.tenant, key_arn=customer.key_arn, role_arn=customer.role_arn, actor=acting(owner))
    for owner in owners:
        try:
            services.submit_registration(owner.tenant, actor=acting(owner))
        except errors.RoleArnTaken:  # somebody's test had passed already
            assert owner != alice
    work()
    active = KeyRegistration.objects.filter(status=KeyRegistration.Status.ACTIVE)
    assert [registration.tenant for registration in active] == [tenant]
    assert not KeyRegistration.objects.exclude(tenant=tenant).exclude(status="rejected").exists()
