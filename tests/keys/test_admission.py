"""A restored or promoted database gives out nothing until a person has admitted it (keys.datakeys.admission)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from conftest import acting
from django.core.management import call_command
from django.db import connection

from byokportal import clock
from byokportal.errors import DomainError
from keys import datakeys, services
from keys.datakeys import Engine, admission
from keys.models import BranchKey, DatabaseAdmission, KeyRegistration
from tenants.models import AuditEvent, Member, ServiceAccount, Tenant


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes the database another incarnation, as a restore or a promotion does."""

    def so(name: str) -> None:
        monkeypatch.setitem(admission.INCARNATION, connection.vendor, f"(SELECT '{name}')")

    return so


def process() -> Engine:
    return Engine(now=time.time, monotonic=time.time)


def tried(engine: Engine, tenant: Tenant) -> str:
    try:
        datakeys.generate(tenant, [{}], caller="tests", request_id="r", engine=engine)
    except DomainError as error:
        return error.code
    return "made"


def admit() -> dict[str, Any]:
    out = StringIO()
    call_command("admit_database", "--reason", "compared with the mails of the day", stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def test_another_database_drops_all_copies_and_gives_nothing_out_until_it_is_admitted(
    tenant: Tenant, active: KeyRegistration, become: Callable[[str], None]
) -> None:
    running = process()
    assert tried(running, tenant) == "made"
    assert len(running.keys) == 1
    become("promoted")
    DatabaseAdmission.objects.update(admitted_at=clock.now() + timedelta(hours=3))  # by the clock of the machine before
    running.snapshots.look()
    assert len(running.keys) == 0
    for engine in (running, process()):  # one that knew the one before, one that started after it
        assert tried(engine, tenant) == "database_not_admitted"
    answer = admit()
    assert answer["incarnation"] == "promoted"
    assert answer["tenants"] == 1
    for engine in (running, process()):
        assert tried(engine, tenant) == "made"
    event = AuditEvent.objects.get(name="keys.database.admitted")
    assert "compared with the mails" in event.payload


def test_who_was_admitted_elsewhere_is_not_admitted_here(
    tenant: Tenant, active: KeyRegistration, become: Callable[[str], None]
) -> None:
    """The address of the database leads to another installation, which says that a person admitted it;
    it never was ours."""
    running = process()
    assert tried(running, tenant) == "made"
    become("elsewhere")
    DatabaseAdmission.objects.all().delete()
    DatabaseAdmission.objects.create(incarnation="elsewhere", admitted_by="somebody", is_by_person=True)
    assert tried(running, tenant) == "database_not_admitted"
    admit()
    assert tried(running, tenant) == "made"


def test_a_process_that_looks_only_after_the_admission_goes_on(
    tenant: Tenant, active: KeyRegistration, become: Callable[[str], None]
) -> None:
    running = process()
    assert tried(running, tenant) == "made"
    become("promoted")
    admit()
    assert tried(running, tenant) == "made"


def test_a_lower_generation_than_was_seen_is_an_earlier_state(
    tenant: Tenant, alice: Member, active: KeyRegistration
) -> None:
    running = process()
    seen = services.drop_caches(tenant, reason="x", actor=acting(alice)).generation
    assert tried(running, tenant) == "made"
    Tenant.objects.filter(pk=tenant.pk).update(key_generation=3)  # restored: the drop is not known
    assert tried(running, tenant) == "database_not_admitted"
    assert len(running.keys) == 0
    services.drop_caches(tenant, reason="y", actor=acting(alice))  # grows beyond what was seen, and admits nothing
    assert tried(running, tenant) == "database_not_admitted"
    admit()
    assert tried(running, tenant) == "made"
    tenant.refresh_from_db()
    assert tenant.key_generation > seen


def test_a_lower_highest_generation_is_an_earlier_state_whoever_is_asked_for_here(
    tenant: Tenant, mallory: Member, alice: Member, active: KeyRegistration
) -> None:
    running = process()
    assert tried(running, tenant) == "made"
    services.drop_caches(mallory.tenant, reason="x", actor=acting(mallory))
    running.snapshots.look()
    Tenant.objects.filter(pk=mallory.tenant_id).update(key_generation=1)
    running.snapshots.look()
    assert tried(running, tenant) == "database_not_admitted"


def test_an_admission_is_a_stop_for_everybody(tenant: Tenant, alice: Member, active: KeyRegistration) -> None:
    """A process that was away, and knows nothing of the restore, drops what it holds by the generation."""
    away = process()
    assert tried(away, tenant) == "made"
    seen = services.drop_caches(tenant, reason="x", actor=acting(alice)).generation
    Tenant.objects.filter(pk=tenant.pk).update(key_generation=3)
    admit()
    tenant.refresh_from_db()
    assert tenant.key_generation > seen
    away.snapshots.look()
    assert len(away.keys) == 0


def test_a_lower_generation_of_one_tenant_is_seen_where_another_has_the_highest(
    tenant: Tenant, mallory: Member, alice: Member, active: KeyRegistration, settings: Any
) -> None:
    running = process()
    services.drop_caches(tenant, reason="x", actor=acting(alice))
    assert tried(running, tenant) == "made"
    services.drop_caches(mallory.tenant, reason="x", actor=acting(mallory))
    running.snapshots.look()
    Tenant.objects.filter(pk=tenant.pk).update(key_generation=3)
    running.snapshots.look()
    running.snapshots._is_blind = True  # the database could not be asked meanwhile
    running.snapshots.look()
    assert tried(running, tenant) == "database_not_admitted"
    late = process()
    late.snapshots._generations[tenant.pk] = 10**15  # and by reading that tenant
    assert tried(late, tenant) == "database_not_admitted"


def test_a_fresh_database_admits_itself_and_one_with_branch_keys_does_not(
    tenant: Tenant, active: KeyRegistration
) -> None:
    DatabaseAdmission.objects.all().delete()
    assert tried(process(), tenant) == "made"
    assert DatabaseAdmission.objects.get().is_by_person is False
    assert BranchKey.objects.exists()
    DatabaseAdmission.objects.all().delete()
    assert tried(process(), tenant) == "database_not_admitted"


def test_services_are_told_by_a_problem_of_its_own(
    tenant: Tenant,
    active: KeyRegistration,
    service: ServiceAccount,
    api_of: Callable[[ServiceAccount], Any],
    become: Callable[[str], None],
) -> None:
    become("promoted")
    answer = api_of(service).post(f"/api/v1/tenants/{tenant.pk}/data-keys", "{}", content_type="application/json")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["whose_turn"]) == (503, "database_not_admitted", "kore")
    assert answer["Retry-After"]


@pytest.mark.django_db
def test_who_the_database_is_stands_in_it_for_long_and_no_right_is_needed_to_ask() -> None:
    found = admission.ask()
    assert found.incarnation == admission.incarnation()
    assert len(found.incarnation) > 8
    assert found.admission is not None
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
            assert found.incarnation.startswith(cursor.fetchone()[0] + "/00000001/")
