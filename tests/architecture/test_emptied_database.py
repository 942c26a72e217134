"""What a test that commits leaves behind is gone before the next one, and what the migrations made is there again."""

from __future__ import annotations

import emptied_database
import pytest
import worlds
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError, transaction

from keys.datakeys import admission
from keys.models import DatabaseAdmission, KeyUse
from support.groups import permissions_of
from tenants import audit, roles
from tenants.models import AuditEvent, ServiceRole, Tenant


def made() -> Tenant:
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    tenant = Tenant.objects.create(name="Acme", service_role=role)
    audit.record("tenants.tenant.viewed", tenant=tenant, actor=audit.SYSTEM)
    KeyUse.objects.create(tenant=tenant, operation="generate", count=1, caller="c", context_digest="d")
    return tenant


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_rows_of_a_test_are_gone_and_rows_of_the_migrations_are_back() -> None:
    made()
    Group.objects.all().delete()
    Permission.objects.filter(codename__startswith="view").delete()
    with transaction.atomic():
        emptied_database.empty()
    assert [model.objects.count() for model in (Tenant, ServiceRole, AuditEvent, KeyUse)] == [0, 0, 0, 0]
    groups = {group.name: group.permissions.select_related("content_type") for group in Group.objects.all()}
    found = {name: {f"{one.content_type.app_label}.{one.codename}" for one in held} for name, held in groups.items()}
    assert found == {name: permissions_of(name) for name in roles.GROUPS}


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_a_database_whose_tables_were_made_anew_gives_out_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    DatabaseAdmission.objects.all().delete()
    DatabaseAdmission.objects.create(incarnation="with the tables of before")
    monkeypatch.setitem(
        emptied_database._migrated, emptied_database.ADMISSIONS, worlds.read(emptied_database.ADMISSIONS)
    )
    for _ in range(2):
        with transaction.atomic():
            emptied_database.empty()
        assert [one.incarnation for one in DatabaseAdmission.objects.all()] == [admission.incarnation()]


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_the_triggers_are_there_again() -> None:
    made()
    with transaction.atomic():
        emptied_database.empty()
    tenant = made()
    for rows in (AuditEvent.objects.filter(tenant=tenant), KeyUse.objects.filter(tenant=tenant)):
        with pytest.raises(DatabaseError), transaction.atomic():
            rows.delete()
