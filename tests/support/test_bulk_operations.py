"""Bulk operations: chosen in the fleet, done row by row, decided by two leads, stopped, resumed exactly."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import acting_staff, let_in, lines_by
from django.contrib.auth.models import Group, User
from django.db import connection, connections
from django.test import Client

from byokportal import clock
from byokportal.errors import DomainError, NotAllowed
from keys import services as key_services
from keys.models import CLAIM_LASTS, EncryptionTest, KeyRegistration
from support import bulk_runs, seeding, services
from support.errors import SecondLeadForBulk
from support.models import BulkItem, BulkOperation, FleetRow, Ticket
from tenants import audit, transactions
from tenants.models import AuditEvent, Tenant

REASON = {"reason": "the provider asked us to"}


@pytest.fixture
def desk(sam: User, browser_of: Callable[[User], Client]) -> Client:
    return browser_of(sam)


def colleague(name: str, group: str) -> User:
    user = User.objects.create_user(f"{name}@kore.example", f"{name}@kore.example", "x", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


@pytest.fixture
def lena(db: None) -> User:
    """Another support lead."""
    return colleague("lena", "Support lead")


@pytest.fixture
def fleet(db: None) -> list[FleetRow]:
    seeding.seed(30, uses_each=0)
    return list(FleetRow.objects.order_by("name", "pk"))


def serving(at_least: int) -> list[Tenant]:
    """Return tenants whose key serves and is suspended by nobody."""
    rows = KeyRegistration.objects.filter(status="active").select_related("tenant").order_by("pk")
    found = [row.tenant for row in rows]
    while len(found) < at_least:
        seeding.seed(30, uses_each=0)
        found = [row.tenant for row in rows.all()]
    return found[:at_least]


def begin(kind: str, tenants: list[Tenant], user: User, **facts: Any) -> BulkOperation:
    pks = [tenant.pk for tenant in tenants]
    return services.begin_bulk(kind=kind, tenants=pks, facts=facts, reason="r", actor=acting_staff(user))


def done(operation: BulkOperation) -> dict[str, int]:
    bulk_runs.run_due()
    operation.refresh_from_db()
    return {status: count for status, count in BulkItem.objects.of(operation).counts().items() if count}


def stopped(tenants: list[Tenant]) -> int:
    return KeyRegistration.objects.filter(tenant__in=tenants, status="suspended", suspended_by="kore").count()


def these(browser: Client, asked: dict[str, Any]) -> str:
    """Return by what the page before the button knows again whom it showed."""
    told: str = browser.get("/admin/fleet/bulk/", asked).context["these"]
    return told


# --- from the fleet ----------------------------------------------------------------------------------------------


def test_a_filter_is_tested_row_by_row_and_its_page_says_what_became_of_each(
    desk: Client, fleet: list[FleetRow]
) -> None:
    asked = {"kind": "test", "state": "active", "all": "1"}
    count = FleetRow.objects.filter(state="active").count()
    assert f"{count} tenant" in desk.get("/admin/fleet/bulk/", asked).content.decode()
    answer = desk.post("/admin/fleet/bulk/", {**asked, **REASON, "these": these(desk, asked)})
    operation = BulkOperation.objects.get()
    assert answer["Location"] == f"/admin/support/bulkoperation/{operation.pk}/change/"
    assert (operation.status, operation.total, operation.filters) == ("queued", count, "state=active")
    assert "hx-get" in desk.get(answer["Location"]).content.decode()
    counts = done(operation)
    assert operation.status == "finished" and counts.get("pending", 0) == 0 and counts["done"] > 0
    tested = BulkItem.objects.filter(status="done").values("tenant")
    assert EncryptionTest.objects.filter(tenant__in=tested).open().count() == counts["done"]
    page = desk.get(answer["Location"])
    assert "hx-get" not in page.content.decode() and "Finished" in page.content.decode()
    names = set(AuditEvent.objects.filter(tenant=None, name__startswith="support.bulk").values_list("name", flat=True))
    assert names == {"support.bulk.requested", "support.bulk.finished"}


def test_chosen_by_hand_are_those_alone(desk: Client, fleet: list[FleetRow]) -> None:
    marked = [str(row.pk) for row in fleet[:3]]
    asked = {"kind": "ask", "t": [*marked, "no id"], "state": "active"}
    facts = {"subject": "A new Region", "text": "Do you need it?"}
    desk.post("/admin/fleet/bulk/", {**asked, **REASON, **facts, "these": these(desk, asked)})
    assert done(BulkOperation.objects.get()) == {"done": 3}
    tickets = Ticket.objects.filter(subject="A new Region")
    assert {str(one.tenant_id) for one in tickets} == set(marked)
    assert {one.status for one in tickets} == {"waiting_for_tenant"}


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"kind": "test"}, "Nobody is chosen"),
        ({"kind": "test", "t": "x"}, "Nobody is chosen"),
        ({"kind": "test", "all": "1", "these": "nobody"}, "The fleet has changed"),
        ({"kind": "ask", "all": "1", "text": "t"}, "required"),
        ({"kind": "ask", "all": "1", "subject": "s", "text": "a\x00b"}, "character"),
        ({"kind": "ask", "all": "1", "subject": "s", "text": "t" * 10_001}, "10"),
        ({"kind": "window", "all": "1", "keep_until": "2999-01-01T00:00"}, "within the next seven days"),
        ({"kind": "window", "all": "1", "keep_until": "[" * 3_000}, "valid date"),
    ],
)
def test_what_does_not_fit_begins_nothing(
    desk: Client, fleet: list[FleetRow], asked: dict[str, str], sentence: str
) -> None:
    answer = desk.post("/admin/fleet/bulk/", {"these": these(desk, asked), **REASON, **asked})
    assert answer.status_code == 200 and sentence in answer.content.decode()
    assert not BulkOperation.objects.exists()


def test_as_many_others_are_not_those_that_the_page_showed(desk: Client, fleet: list[FleetRow]) -> None:
    asked = {"kind": "suspend", "state": "cannot_tell", "all": "1"}
    FleetRow.objects.update(state="active")
    FleetRow.objects.filter(pk__in=[row.pk for row in fleet[:5]]).update(state="cannot_tell")
    seen = {**asked, **REASON, "these": these(desk, asked)}
    FleetRow.objects.filter(pk=fleet[0].pk).update(state="active")
    FleetRow.objects.filter(pk=fleet[9].pk).update(state="cannot_tell")
    page = desk.post("/admin/fleet/bulk/", seen).content.decode()
    assert "The fleet has changed" in page and fleet[9].name in page
    assert not BulkOperation.objects.exists()
    assert desk.post("/admin/fleet/bulk/", {**seen, "these": these(desk, asked)}).status_code == 302
    assert fleet[0].pk not in BulkItem.objects.values_list("tenant", flat=True)


def test_who_may_not_do_it_to_one_does_it_to_nobody(
    fleet: list[FleetRow], browser_of: Callable[..., Client], sam: User
) -> None:
    support, auditor = colleague("sue", "Support"), colleague("ada", "Auditor")
    for user, kind, status in ((support, "test", 200), (support, "suspend", 403), (auditor, "test", 403)):
        browser = browser_of(user)
        for call in (browser.get, browser.post):
            assert call("/admin/fleet/bulk/", {"kind": kind, "all": "1"}).status_code == status, (user, kind)
    assert browser_of(sam).get("/admin/fleet/bulk/", {"kind": "resume", "all": "1"}).status_code == 404
    with pytest.raises(NotAllowed):
        begin("suspend", [fleet[0].tenant], support)
    assert 'name="t"' not in browser_of(auditor).get("/admin/fleet/").content.decode()


def test_what_the_person_may_no_longer_do_is_refused_row_by_row(fleet: list[FleetRow], sam: User) -> None:
    operation = begin("probe", serving(3), sam)
    sam.groups.clear()
    assert done(operation) == {"refused": 3}
    assert operation.status == "finished"


def test_who_is_shown_out_in_the_middle_does_nothing_more(
    fleet: list[FleetRow], sam: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation, probe = begin("probe", serving(3), sam), bulk_runs.DO["probe"]

    def probe_and_show_out(*row: Any) -> None:
        probe(*row)
        User.objects.filter(pk=sam.pk).update(is_active=False)

    monkeypatch.setitem(bulk_runs.DO, "probe", probe_and_show_out)
    assert done(operation) == {"done": 1, "refused": 2}


def test_the_end_of_waiting_tests_moves_and_no_other_test_begins(fleet: list[FleetRow], sam: User) -> None:
    tenants = serving(2)
    key_services.start_test(tenants[0], reason="r", actor=acting_staff(sam))
    until = clock.now() + timedelta(days=2)
    operation = begin("window", tenants, sam, keep_until=until.isoformat())
    assert done(operation) == {"done": 1, "refused": 1}
    assert EncryptionTest.objects.filter(tenant__in=tenants).open().get().keep_until == until
    assert "No test waits" in BulkItem.objects.get(status="refused").why


# --- two leads ---------------------------------------------------------------------------------------------------


def test_more_than_ten_keys_need_another_lead_and_ten_and_one_are_more_than_ten(sam: User, db: None) -> None:
    tenants = serving(12)
    assert begin("suspend", tenants[:10], sam).status == "queued"
    assert begin("suspend", tenants[10:11], sam).status == "waiting"
    assert done(BulkOperation.objects.filter(total=10).get()) == {"done": 10}
    assert stopped(tenants) == 10


@pytest.mark.django_db(transaction=True)
def test_six_and_six_at_the_same_moment_are_twelve(sam: User) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    tenants, both = serving(12), threading.Barrier(2)

    def wait_before_the_row(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("INSERT") and "bulkoperation" in sql:
            with contextlib.suppress(threading.BrokenBarrierError):  # the other one waits for us, as it should
                both.wait(1)
        return execute(sql, *rest)

    def run(mine: list[Tenant]) -> None:
        try:
            with connection.execute_wrapper(wait_before_the_row):
                begin("suspend", mine, User.objects.get(pk=sam.pk))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[mine]) for mine in (tenants[:6], tenants[6:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(BulkOperation.objects.values_list("status", flat=True)) == ["queued", "waiting"]


def test_the_second_lead_is_not_the_first_and_no_supporter(
    desk: Client, sam: User, lena: User, browser_of: Callable[..., Client]
) -> None:
    tenants = serving(12)
    operation = begin("suspend", tenants, sam)
    assert done(operation) == {"pending": 12} and stopped(tenants) == 0
    address = f"/admin/support/bulkoperation/{operation.pk}/operations/approve-bulk/"
    assert "You asked for it yourself" in desk.post(address, REASON).content.decode()
    assert browser_of(colleague("sue", "Support")).post(address, REASON).status_code == 403
    assert browser_of(lena).post(address, REASON).status_code == 302
    assert "moved on" in browser_of(lena).post(address, REASON).content.decode(), "once"
    assert done(operation) == {"done": 12} and stopped(tenants) == 12
    assert operation.decided_by == lena
    assert AuditEvent.objects.filter(tenant__in=tenants, name="keys.key.suspended").count() == 12
    assert len(lines_by("kore:lena@kore.example", "support.bulk.approved")) == 1


def test_what_the_second_lead_refuses_never_begins(sam: User, lena: User) -> None:
    tenants = serving(11)
    operation = begin("suspend", tenants, sam)
    services.refuse_bulk(operation, reason="not tonight", actor=acting_staff(lena))
    assert done(operation) == {"pending": 11} and operation.status == "refused" and stopped(tenants) == 0
    for again in (services.approve_bulk, services.refuse_bulk, services.stop_bulk):
        with pytest.raises(DomainError, match="Reload"):
            again(operation, reason="r", actor=acting_staff(lena))


# --- resume exactly that batch -------------------------------------------------------------------------------------


def test_a_batch_is_resumed_exactly(desk: Client, sam: User, lena: User) -> None:
    tenants = serving(5)
    key_services.suspend(tenants[0], reason="fraud", actor=acting_staff(lena))
    operation = begin("suspend", tenants[:4], sam)
    assert done(operation) == {"done": 3, "refused": 1}
    assert "We have suspended it already" in BulkItem.objects.get(status="refused").why
    # Somebody resumed one of them and suspended it again for a reason of their own.
    key_services.resume(tenants[1], reason="r", actor=acting_staff(lena))
    key_services.suspend(tenants[1], reason="theft", actor=acting_staff(lena))
    address = f"/admin/support/bulkoperation/{operation.pk}/operations/resume-batch/"
    assert desk.post(address, REASON).status_code == 302
    resumption = BulkOperation.objects.get(undoes=operation)
    assert "is under way already" in desk.post(address, REASON).content.decode(), "one at a time"
    assert done(resumption) == {"done": 2, "refused": 1}
    assert "touched it since" in BulkItem.objects.of(resumption).get(status="refused").why
    left = set(KeyRegistration.objects.filter(status="suspended", tenant__in=tenants).values_list("tenant", flat=True))
    assert left == {tenants[0].pk, tenants[1].pk}


def test_resuming_more_than_ten_needs_another_lead_too(sam: User, lena: User) -> None:
    tenants = serving(11)
    operation = begin("suspend", tenants, sam)
    services.approve_bulk(operation, reason="r", actor=acting_staff(lena))
    done(operation)
    resumption = services.resume_bulk(operation, reason="r", actor=acting_staff(sam))
    assert resumption.status == "waiting"
    let_in(lena, by=acting_staff(sam))
    with pytest.raises(SecondLeadForBulk):
        services.approve_bulk(resumption, reason="whom I made", actor=acting_staff(lena))
    let_in(lena, by=audit.COMMAND)
    services.approve_bulk(resumption, reason="r", actor=acting_staff(lena))
    assert done(resumption) == {"done": 11} and stopped(tenants) == 0
    with pytest.raises(DomainError, match="suspended no key that is left"):
        services.resume_bulk(operation, reason="r", actor=acting_staff(sam))


# --- the worker --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends a worker without asking it."""


def test_a_killed_worker_leaves_no_row_half_done_and_none_is_done_twice(
    sam: User, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenants = serving(6)
    operation = begin("suspend", tenants, sam)
    suspended: list[object] = []

    def dies(item: BulkItem, *more: Any) -> None:
        bulk_runs._suspend(item, *more)
        suspended.append(item.tenant_id)
        if len(suspended) == 3:
            raise Killed

    monkeypatch.setitem(bulk_runs.DO, BulkOperation.Kind.SUSPEND, dies)
    with pytest.raises(Killed):
        bulk_runs.run_due()
    assert stopped(tenants) == BulkItem.objects.filter(status="done").count() == 2, "the third is undone with its row"
    assert done(operation) == {"done": 2, "pending": 4}, "the lost worker's claim holds"
    BulkOperation.objects.update(claimed_at=clock.now() - CLAIM_LASTS * 2, woken_at=None)
    assert done(operation) == {"done": 6} and operation.status == "finished"
    events = AuditEvent.objects.filter(tenant__in=tenants, name="keys.key.suspended")
    assert events.count() == 6 and sorted(map(str, suspended[:2] + suspended[3:])) == sorted(str(t.pk) for t in tenants)


def test_stop_leaves_the_rest_and_says_so(desk: Client, sam: User, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = serving(6)
    operation = begin("suspend", tenants, sam)
    address = f"/admin/support/bulkoperation/{operation.pk}/operations/stop-bulk/"
    items = iter(range(10))

    def stops(item: BulkItem, *more: Any) -> None:
        bulk_runs._suspend(item, *more)
        if next(items) == 1:
            assert desk.post(address, REASON).status_code == 302

    monkeypatch.setitem(bulk_runs.DO, BulkOperation.Kind.SUSPEND, stops)
    assert done(operation) == {"done": 2, "pending": 4} and stopped(tenants) == 2
    assert operation.status == "stopped" and operation.due_at is None
    event = AuditEvent.objects.get(name="support.bulk.stopped")
    assert '"left":4' in event.payload.replace(" ", "")
    assert done(operation) == {"done": 2, "pending": 4}, "it stays so"


def test_a_row_that_breaks_holds_up_no_other(sam: User, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = begin("probe", serving(3), sam)
    items = iter(range(10))

    def breaks(item: BulkItem, *more: Any) -> None:
        if next(items) == 1:
            raise KeyError("a bug")
        bulk_runs._probe(item, *more)

    monkeypatch.setitem(bulk_runs.DO, BulkOperation.Kind.PROBE, breaks)
    assert done(operation) == {"done": 2, "broken": 1}


def test_a_run_ends_in_time_and_the_next_one_goes_on(sam: User, db: None) -> None:
    operation = begin("probe", serving(3), sam)
    assert bulk_runs.run(operation.pk, until=clock.monotonic() - 1) == 0
    operation.refresh_from_db()
    assert operation.claimed_at is None and operation.due_at is not None
    assert done(operation) == {"done": 3}


def test_a_row_and_what_is_done_for_it_are_one_transaction() -> None:
    assert bulk_runs._do.__wrapped__ is not None  # type: ignore[attr-defined]
    assert bulk_runs._do.__code__ is transactions.atomic(lambda: None).__code__  # type: ignore[attr-defined]


def test_hostile_addresses_of_its_page_get_an_answer(desk: Client, sam: User, db: None) -> None:
    operation = begin("probe", serving(2), sam)
    address = f"/admin/support/bulkoperation/{operation.pk}/change/"
    for value in ("\x00", "9" * 400, "²", "-1", "pending", "' OR 1=1 --"):
        assert desk.get(address, {"show": value, "after": value}).status_code == 200
    assert desk.get("/admin/support/bulkoperation/nothing/change/").status_code == 404
