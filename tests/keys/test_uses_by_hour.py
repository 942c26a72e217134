"""Uses of keys by hour: each committed row is added up exactly once, in whatever order rows are committed;
pages add the tail."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from conftest import health_of
from django.db import connection, transaction
from django.db.models import Sum

from keys import usage
from keys.health import notes
from keys.models import KeyRegistration, KeyUse, KeyUseCursor, KeyUseHour, KeyUseTotal
from tenants.models import Member, Tenant

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def use(
    tenant: Tenant,
    *,
    count: int = 1,
    operation: str = "generate",
    caller: str = "service:search",
    at: datetime = NOON,
    **facts: str,
) -> KeyUse:
    return KeyUse.objects.create(
        tenant=tenant, operation=operation, count=count, caller=caller, context_digest="0" * 64, at=at, **facts
    )


def hours() -> list[tuple[object, ...]]:
    return list(
        KeyUseHour.objects.order_by("hour", "service", "operation").values_list(
            "hour", "service", "operation", "data_scope", "requests", "keys"
        )
    )


def test_they_are_added_up_by_tenant_service_operation_and_hour(tenant: Tenant, mallory: Member) -> None:
    use(tenant, count=3)
    use(tenant, count=4, at=NOON + timedelta(minutes=59, seconds=59))
    use(tenant, count=5, at=NOON + timedelta(hours=1))
    use(tenant, count=6, operation="decrypt")
    use(tenant, count=7, caller="service:mail")
    use(mallory.tenant, count=100)
    assert usage.roll_up() == 6
    mine = [row for row in hours() if row[5] != 100]
    assert mine == [
        (NOON, "service:mail", "generate", "default", 1, 7),
        (NOON, "service:search", "decrypt", "default", 1, 6),
        (NOON, "service:search", "generate", "default", 2, 7),
        (NOON + timedelta(hours=1), "service:search", "generate", "default", 1, 5),
    ]
    assert usage.generated(tenant) == usage.Uses(19, True)
    assert usage.generated(mallory.tenant) == usage.Uses(100, True)
    assert usage.roll_up() == 0
    use(tenant, count=1)
    assert usage.generated(tenant) == usage.Uses(20, True)  # the tail
    assert usage.roll_up() == 1
    assert usage.generated(tenant) == usage.Uses(20, True)
    assert dict(KeyUseTotal.objects.filter(tenant=tenant).values_list("operation", "keys")) == {
        "generate": 20,
        "decrypt": 6,
    }


def test_rows_of_before_are_added_up_in_batches(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "BATCH", 7)
    for number in range(30):
        use(tenant, count=1, at=NOON + timedelta(minutes=7 * number))
    monkeypatch.setattr(usage, "SECONDS", -1.0)
    assert usage.roll_up() == 0
    assert usage._add(usage.settled() or 0) == (7, False)
    monkeypatch.undo()
    assert usage.roll_up() == 23
    assert KeyUseHour.objects.aggregate(n=Sum("keys"))["n"] == 30
    assert usage.generated(tenant).keys == 30


def test_a_page_adds_up_a_bounded_tail_and_says_that_there_is_more(
    active: KeyRegistration, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "TAIL", 5)
    before = usage.generated(tenant).keys
    usage.roll_up()
    for _ in range(8):
        use(tenant, count=2)
    assert usage.generated(tenant) == usage.Uses(before + 10, False)
    health = health_of(active)
    health.key_facts = {"deletion_at": "2026-12-01T10:00:00+00:00"}
    said = notes.of(health)[0].text
    assert "for ever" in said
    usage.roll_up()
    assert usage.generated(tenant) == usage.Uses(before + 16, True)


def test_each_data_scope_is_added_up_by_itself(tenant: Tenant) -> None:
    use(tenant, count=3)
    for _ in range(2):
        use(tenant, count=4, data_scope="mail")
    usage.roll_up()
    assert {row[3:] for row in hours()} == {("default", 1, 3), ("mail", 2, 8)}
    assert set(KeyUseTotal.objects.values_list("data_scope", "keys")) == {("default", 3), ("mail", 8)}
    assert usage.generated(tenant) == usage.Uses(11, True)


def test_a_run_that_dies_in_the_middle_adds_nothing(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    use(tenant)
    real = usage._upsert

    def dies(model: type, *args: object) -> None:
        real(model, *args)
        if model is KeyUseTotal:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(usage, "_upsert", dies)
        with pytest.raises(MemoryError):
            usage.roll_up()
    assert not KeyUseHour.objects.exists()
    assert usage.roll_up() == 1
    assert usage.generated(tenant) == usage.Uses(1, True)


# --- at the same time -------------------------------------------------------------------------------------------------


def in_threads(*works: Callable[[], object]) -> None:
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@pytest.mark.django_db(transaction=True)
def test_two_workers_add_each_row_once(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "BATCH", 10)
    for _ in range(200):
        use(tenant)
    in_threads(usage.roll_up, usage.roll_up, usage.roll_up)
    assert KeyUseHour.objects.aggregate(n=Sum("requests"))["n"] == 200
    assert usage.generated(tenant) == usage.Uses(200, True)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_committed_after_a_later_one_is_not_missed(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    monkeypatch.setattr(usage, "WAIT_AT_MOST", 0.05)
    is_open, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            use(tenant, count=100)  # takes its id first
            is_open.set()
            may_end.wait(20)

    def others() -> None:
        is_open.wait(20)
        use(tenant, count=1)  # a later id, committed first
        assert usage.roll_up() == 0
        assert usage.generated(tenant) == usage.Uses(1, True)
        may_end.set()

    in_threads(slow, others)
    assert usage.generated(tenant) == usage.Uses(101, True)
    assert usage.roll_up() == 2
    assert usage.generated(tenant) == usage.Uses(101, True)
    assert KeyUseHour.objects.aggregate(n=Sum("keys"))["n"] == 101


@pytest.mark.django_db(transaction=True)
def test_whoever_has_committed_by_now_holds_nothing_up(tenant: Tenant) -> None:
    """A transaction that begins to insert after we looked is not waited for: its id is later."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            with transaction.atomic():
                use(tenant)
                if random.random() < 0.3:
                    transaction.set_rollback(True)

    def rolls() -> None:
        try:
            for _ in range(40):
                usage.roll_up()
                before = KeyUseCursor.objects.filter(pk=1).first()
                through = before.through if before else 0
                rows = KeyUse.objects.filter(pk__lte=through).aggregate(n=Sum("count"))["n"] or 0
                added = KeyUseTotal.objects.aggregate(n=Sum("keys"))["n"] or 0
                assert added == rows  # nothing below the cursor came later
        finally:
            stop.set()

    in_threads(busy, busy, busy, rolls)
    usage.roll_up()
    made = KeyUse.objects.aggregate(n=Sum("count"))["n"]
    assert usage.generated(tenant) == usage.Uses(made, True)
    assert KeyUseHour.objects.aggregate(n=Sum("keys"))["n"] == made
    assert KeyUseCursor.objects.get().through > 0
