"""Room on our service roles: nobody is pinned where there is none, and the next is open in time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from conftest import acting, owner_of, save_draft
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from byokportal import beat
from byokportal.localaws import iam as local_iam
from byokportal.localaws.errors import AwsError
from byokportal.localaws.testing import LocalAws
from keys import services
from keys.configuration import apply, packing, quotas, room
from keys.errors import ServiceRoleFull
from keys.models import AccountQuotas, KeyRegistration, RoleConfiguration, ServiceRolePolicy
from support import follow, notices
from tenants import audit
from tenants import services as tenant_services
from tenants.errors import NoOpenServiceRole
from tenants.models import AuditEvent, ServiceRole, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
WRITES = ("Create", "Put", "Attach", "Delete", "Update", "Set", "Detach")
SMALL = 0.05  # of what IAM takes: a service role for a dozen tenants


@pytest.fixture
def few(settings: Any, service_role: ServiceRole) -> ServiceRole:
    """Service roles that are small, so that a test fills some."""
    settings.SERVICE_ROLE_SHARE, settings.SERVICE_ROLES_ROOM, settings.SERVICE_ROLES_WARN = SMALL, 8, 3
    room.count(service_role)
    service_role.refresh_from_db()
    return service_role


def create(number: int) -> Tenant:
    return tenant_services.create_tenant(f"T{number}", owner_email=f"t{number}@x.example", actor=audit.COMMAND)


def share(tenant: Tenant, role_arn: str) -> RoleConfiguration:
    owner = acting(owner_of(tenant))
    save_draft(tenant, key_arn=KEY, role_arn=role_arn, actor=owner)
    services.submit_registration(tenant, actor=owner)
    return RoleConfiguration.objects.get(tenant=tenant)


def test_an_import_opens_the_next_service_roles_in_time_and_overfills_none(few: ServiceRole) -> None:
    beat._statements.cache_clear()
    assert few.places > 8
    for number in range(40):
        create(number)  # never fails: the worker is woken by what beat sees
        if beat.may_be_due("keys.due.room"):
            room.keep()
    each = {role.name: role.tenants.count() for role in ServiceRole.objects.all()}
    assert sum(each.values()) == 40
    assert len(each) >= 4
    assert max(each.values()) <= few.places
    assert room.places_open() >= 8
    assert AuditEvent.objects.filter(name="tenants.service_role.opened").count() == len(each)
    beat._statements.cache_clear()


def test_where_nobody_opens_another_the_import_ends_and_overfills_none(few: ServiceRole) -> None:
    made = [create(number) for number in range(few.places)]
    with pytest.raises(NoOpenServiceRole):
        create(1_000)
    assert few.tenants.count() == len(made)


@pytest.mark.django_db(transaction=True)
def test_those_who_come_at_once_take_no_place_twice(few: ServiceRole) -> None:
    def some(first: int) -> int:
        made = 0
        try:
            for number in range(first, first + 10):
                create(number)
                made += 1
        except NoOpenServiceRole:
            pass
        finally:
            connection.close()
        return made

    with ThreadPoolExecutor(3) as threads:
        made = sum(threads.map(some, (0, 100, 200)))
    assert made == few.tenants.count() == few.places
    few.refresh_from_db()
    assert few.places == 0


def test_who_is_pinned_early_takes_one_place_and_288_close_nothing(service_role: ServiceRole) -> None:
    before = room.count(service_role)
    Tenant.objects.bulk_create(Tenant(name=f"T{number}", service_role=service_role) for number in range(300))
    after = room.count(service_role)
    service_role.refresh_from_db()
    assert (after, service_role.is_open) == (before - 300, True)


def test_room_that_a_tenant_gave_back_is_used_again(few: ServiceRole) -> None:
    configuration = share(create(0), f"arn:aws:iam::111122223333:role/{'p' * 500}/name")
    apply.apply(str(configuration.pk))
    few.refresh_from_db()
    taken = few.places
    KeyRegistration.objects.filter(pk=configuration.registration_id).update(status=KeyRegistration.Status.RETIRED)
    removal = RoleConfiguration.objects.create(
        tenant=configuration.tenant,
        registration=configuration.registration,
        service_role=few,
        action="remove",
        role_arn=configuration.role_arn,
        status="queued",
    )
    ServiceRole.objects.filter(pk=few.pk).update(is_open=False, places=0)
    apply.apply(str(removal.pk))
    few.refresh_from_db()
    assert few.is_open
    assert few.places > taken
    assert create(1).service_role == few


def test_an_arn_that_was_given_and_is_not_written_yet_counts(few: ServiceRole) -> None:
    tenant = create(0)
    room.count(few)
    few.refresh_from_db()
    before = few.places
    save_draft(tenant, role_arn=f"arn:aws:iam::111122223333:role/{'p' * 400}/name", actor=acting(owner_of(tenant)))
    assert room.count(few) < before - 5


def test_bringing_a_tenant_on_takes_at_most_three_writes_to_iam(service_role: ServiceRole, aws: LocalAws) -> None:
    for number in range(8):  # the first of a policy, those after it, and those that find five versions
        configuration = share(create(number), f"{ROLE}{number}")
        aws.calls.clear()
        apply.apply(str(configuration.pk))
        writes = [operation for service, operation, _ in aws.calls if service == "iam" and operation.startswith(WRITES)]
        assert 1 <= len(writes) <= 3, writes
    configuration.refresh_from_db()
    assert configuration.status == RoleConfiguration.Status.PROPAGATING


# --- quotas of the account --------------------------------------------------------------------------------------------


@contextmanager
def answering(monkeypatch: pytest.MonkeyPatch, action: str, error: AwsError) -> Iterator[None]:
    real = local_iam.answer

    def answer(state: Any, caller: Any, region: str, form: Any, *rest: Any) -> Any:
        if form.get("Action") == action:
            raise error
        return real(state, caller, region, form, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(local_iam, "answer", answer)
        yield


def test_the_quotas_are_read_from_iam_and_kept_for_an_hour(service_role: ServiceRole, aws: LocalAws) -> None:
    room.keep()
    known = AccountQuotas.objects.get()
    assert (known.policy_size, known.attached, known.roles_quota, known.policies_quota) == (6144, 10, 1000, 1500)
    assert known.roles >= 1
    assert quotas.limits() == (packing.LIMIT, packing.SLOTS)
    aws.calls.clear()
    quotas.read()
    assert aws.calls == []
    AccountQuotas.objects.update(read_at=timezone.now() - timedelta(hours=2), policy_size=3_000, attached=2)
    assert quotas.limits() == (3_000, 2)
    quotas.read()
    assert quotas.limits() == (packing.LIMIT, packing.SLOTS)


def test_a_person_is_told_when_the_quotas_leave_room_for_few(service_role: ServiceRole, settings: Any) -> None:
    room.keep()
    assert not AuditEvent.objects.filter(name="keys.service_roles.short").exists()
    AccountQuotas.objects.update(policies=1_490)
    for _ in range(3):  # once a day
        ServiceRole.objects.update(count_due_at=timezone.now())
        room.keep()
    event = AuditEvent.objects.get(name="keys.service_roles.short")
    assert audit.data_of(event)["by_quota"] < 2_000  # type: ignore[operator]
    follow.follow()
    notices.send_due()
    assert [message.to for message in mail.outbox if "little room" in message.subject] == [[settings.SUPPORT_EMAIL]]
    AccountQuotas.objects.update(policies=0)
    room.keep()
    assert AccountQuotas.objects.get().short_since is None


def test_what_cannot_be_opened_is_tried_again_and_a_person_is_told(
    few: ServiceRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(few.places - 2):
        create(number)
    with answering(monkeypatch, "CreateRole", AwsError("Throttling", "Rate exceeded", status=400)):
        assert room.keep() is None
    few.refresh_from_db()
    assert few.count_due_at < timezone.now() + timedelta(minutes=2)
    assert AuditEvent.objects.filter(name="keys.service_roles.short").count() == 1
    ServiceRole.objects.update(count_due_at=timezone.now())
    opened = room.keep()
    assert opened is not None
    assert opened.places >= 0


def test_a_service_role_is_not_opened_by_itself_where_nobody_may_make_its_canary(few: ServiceRole) -> None:
    for number in range(few.places - 2):
        create(number)
    with override_settings(AWS_MODE="real"):
        from keys.configuration import opening

        assert not opening.can_open()


def test_a_very_long_arn_is_refused_where_its_service_role_has_no_room(service_role: ServiceRole) -> None:
    ServiceRolePolicy.objects.bulk_create(
        ServiceRolePolicy(service_role=service_role, slot=slot, role_arns=[f"{ROLE}{slot}{n:02}" for n in range(90)])
        for slot in range(10)
    )
    tenant = create(0)
    owner = acting(owner_of(tenant))
    save_draft(tenant, key_arn=KEY, role_arn=f"arn:aws:iam::111122223333:role/{'p' * 500}/{'n' * 60}", actor=owner)
    with pytest.raises(ServiceRoleFull) as refused:
        services.submit_registration(tenant, actor=owner)
    assert "role_arn" in refused.value.errors


@pytest.mark.django_db
def test_the_plan_is_one_json_object() -> None:
    out = StringIO()
    call_command("plan_service_roles", "--tenants", "900", stdout=out)
    assert '"service_roles": 2' in out.getvalue()
    assert '"refused": 0' in out.getvalue()
