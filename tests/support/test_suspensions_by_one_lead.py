"""How many keys one lead stops without another one: by the button of a tenant, by bulk, and by both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import acting_staff
from django.contrib.auth.models import Group, User
from django.db.models import F
from django.test import Client

from keys import services as key_services
from keys.models import KeyRegistration, RegistrationMove
from support import bulk_runs, errors, seeding, services
from support.models import BulkItem, BulkOperation
from tenants.models import Tenant

REASON = {"reason": "the provider asked us to"}


@pytest.fixture
def lena(db: None) -> User:
    """Another support lead."""
    user = User.objects.create_user("lena@kore.example", "lena@kore.example", "x", is_staff=True)
    user.groups.add(Group.objects.get(name="Support lead"))
    return user


@pytest.fixture
def tenants(db: None) -> list[Tenant]:
    """Fourteen whose key serves."""
    rows = KeyRegistration.objects.filter(status="active").select_related("tenant").order_by("pk")
    while rows.count() < 14:
        seeding.seed(30, uses_each=0)
    return [row.tenant for row in rows[:14]]


def by_bulk(tenants: list[Tenant], user: User) -> BulkOperation:
    pks = [tenant.pk for tenant in tenants]
    return services.begin_bulk(kind="suspend", tenants=pks, facts={}, reason="r", actor=acting_staff(user))


def by_button(tenant: Tenant, user: User) -> None:
    services.suspend_key(tenant, reason="r", actor=acting_staff(user))


def stopped() -> int:
    return KeyRegistration.objects.filter(status="suspended", suspended_by="kore", moves__actor__startswith="k").count()


def test_the_eleventh_key_in_a_day_waits_for_another_lead(
    tenants: list[Tenant], sam: User, lena: User, browser_of: Callable[..., Client]
) -> None:
    browser, before = browser_of(sam), stopped()
    for tenant in tenants[:10]:
        assert browser.post(f"/admin/tenants/tenant/{tenant.pk}/operations/suspend/", REASON).status_code == 302
    answer = browser.post(f"/admin/tenants/tenant/{tenants[10].pk}/operations/suspend/", REASON)
    assert answer.status_code == 200 and "press “Suspend these”" in answer.content.decode()
    assert stopped() == before + 10
    waiting = by_bulk(tenants[10:11], sam)
    assert waiting.status == "waiting", "what the button has stopped counts there too"
    services.approve_bulk(waiting, reason="r", actor=acting_staff(lena))
    bulk_runs.run_due()
    assert stopped() == before + 11
    by_button(tenants[11], lena)  # her own first one
    RegistrationMove.objects.update(at=F("at") - timedelta(days=1))
    by_button(tenants[12], sam)
    assert stopped() == before + 13


def test_ten_by_bulk_and_one_by_the_button_are_eleven(tenants: list[Tenant], sam: User) -> None:
    assert by_bulk(tenants[:10], sam).status == "queued"
    with pytest.raises(errors.TooManySuspensions):
        by_button(tenants[10], sam)
    bulk_runs.run_due()
    with pytest.raises(errors.TooManySuspensions):
        by_button(tenants[10], sam)


def test_what_another_lead_approved_does_not_count(tenants: list[Tenant], sam: User, lena: User) -> None:
    operation = by_bulk(tenants[:12], sam)
    services.approve_bulk(operation, reason="r", actor=acting_staff(lena))
    bulk_runs.run_due()
    for tenant in (tenants[12], tenants[13]):
        by_button(tenant, sam)


def test_what_stands_stopped_already_is_not_counted_twice(tenants: list[Tenant], sam: User) -> None:
    for _ in range(12):
        by_button(tenants[0], sam)
    key_services.resume(tenants[0], reason="r", actor=acting_staff(sam))
    for tenant in tenants[:9]:
        by_button(tenant, sam)
    with pytest.raises(errors.TooManySuspensions):
        by_button(tenants[9], sam)


def test_what_was_taken_back_does_not_count(tenants: list[Tenant], sam: User, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_back = by_bulk(tenants[:12], sam)
    assert taken_back.status == "waiting"
    services.stop_bulk(taken_back, reason="thought better of it", actor=acting_staff(sam))
    operation = by_bulk(tenants[:9], sam)
    assert operation.status == "queued"
    suspend, items = bulk_runs.DO["suspend"], iter(range(10))

    def stops_after_two(item: BulkItem, *more: Any) -> None:
        suspend(item, *more)
        if next(items) == 1:
            services.stop_bulk(operation, reason="enough", actor=acting_staff(sam))

    with monkeypatch.context() as patch:
        patch.setitem(bulk_runs.DO, "suspend", stops_after_two)
        bulk_runs.run_due()
    assert by_bulk(tenants[2:10], sam).status == "queued", "two and eight are ten"
    assert by_bulk(tenants[10:11], sam).status == "waiting"
