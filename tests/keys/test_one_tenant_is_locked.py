"""One tenant's row is locked, by an operation of ours or by anybody:
requests of all other tenants are answered (PostgreSQL)."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import loop
import pytest
from conftest import OTHER_CUSTOMER, Customer, acting, with_health
from django.db import OperationalError, connection, connections, transaction
from django.test import Client
from silence import in_a_thread_of_its_own

from byokportal import clock
from byokportal.errors import DatabaseUnavailable
from byokportal.localaws.testing import LocalAws
from keys import datakeys, health, services
from keys.datakeys import acquisition, ledger, snapshots
from keys.datakeys.http import operations
from keys.datakeys.ledger import links, recording
from keys.health import asking
from keys.models import CacheDrop, KeyHealth, KeyRegistration, KeyUse
from tenants.models import Member, ServiceAccount, ServiceRole, Tenant

pytestmark = pytest.mark.django_db(transaction=True)
MODES = ["FOR UPDATE", "FOR NO KEY UPDATE"]  # a deletion or somebody's psql; what our own operations take
OTHERS = 19
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def held(tenant: Tenant, mode: str) -> Iterator[None]:
    """Hold the tenant's row in a transaction of another connection."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite locks no rows")
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM tenants_tenant WHERE id = %s {mode}", [tenant.pk])
            locked.set()
            done.wait(60)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(in_a_thread_of_its_own, hold)
        try:
            assert locked.wait(10)
            yield
        finally:
            done.set()
            holding.result()


@pytest.fixture(autouse=True)
def _a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit may take longer here than in service."""
    for module in (recording, snapshots, acquisition):
        monkeypatch.setattr(module, "WAIT", 4.0)
    monkeypatch.setattr(links, "COMMIT", 4.0)
    monkeypatch.setattr(operations, "DATABASE", 4.0)


@pytest.fixture
def organisations(transactional_db: None) -> list[Tenant]:
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    return [Tenant.objects.create(name=f"t-{number}", service_role=role) for number in range(OTHERS + 1)]


@pytest.fixture
def use() -> Iterator[Callable[[Tenant, str], bool]]:
    with loop.running() as its_own:

        def commit(tenant: Tenant, request_id: str) -> bool:
            row = ledger.use(tenant.pk, KeyUse.Operation.GENERATE, [{}], caller="tests", request_id=request_id)
            try:
                asyncio.run_coroutine_threadsafe(ledger.commit(row, recording.WAIT), its_own).result()
            except DatabaseUnavailable:
                return False
            return True

        yield commit


def test_a_row_of_a_locked_tenant_holds_up_no_other_in_the_ledger(
    use: Callable[[Tenant, str], bool], organisations: list[Tenant]
) -> None:
    locked, *others = organisations
    with held(locked, "FOR UPDATE"), ThreadPoolExecutor(32) as pool:
        of_locked = [pool.submit(use, locked, "locked") for _ in range(8)]
        of_others = [pool.submit(use, tenant, str(tenant.pk)) for _ in range(3) for tenant in others]
        assert all(one.result() for one in of_others)
        assert not any(one.result() for one in of_locked), "no key without a row"
    assert KeyUse.objects.count() == 3 * OTHERS
    assert use(locked, "after")
    assert KeyUse.objects.filter(tenant=locked).count() == 1


def test_a_row_is_written_as_soon_as_its_tenant_is_free_again(
    use: Callable[[Tenant, str], bool], organisations: list[Tenant]
) -> None:
    locked = organisations[0]
    with ThreadPoolExecutor(1) as pool:
        with held(locked, "FOR UPDATE"):
            waiting = pool.submit(use, locked, "waits")
            threading.Event().wait(0.05)
            assert not KeyUse.objects.exists()
        assert waiting.result() == KeyUse.objects.filter(request_id="waits").exists()


def test_what_a_process_dropped_is_written_down_while_another_tenant_is_locked(organisations: list[Tenant]) -> None:
    locked, other = organisations[:2]
    kept = datakeys.Engine().snapshots
    kept.look()
    for tenant in (locked, other):
        kept.of(tenant.pk)
    Tenant.objects.filter(pk__in=[locked.pk, other.pk]).update(key_generation=2**40)
    with held(locked, "FOR UPDATE"):
        for tenant in (locked, other):
            kept.of(tenant.pk, fresh=True)
        kept.look()
        assert CacheDrop.objects.count() == 2


def test_a_wait_for_a_lock_ends(organisations: list[Tenant]) -> None:
    with held(organisations[0], "FOR UPDATE"), pytest.raises(OperationalError, match="lock timeout"):
        Tenant.objects.filter(pk=organisations[0].pk).update(name="other")


def test_a_sweep_probes_a_key_whose_registration_somebody_holds(organisations: list[Tenant]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite locks no rows")
    now = clock.now()
    for number, tenant in enumerate(organisations):
        facts = {"status": "active", "key_arn": KEY, "role_arn": "r", "activated_at": now, "role_claim": str(number)}
        one = KeyRegistration.objects.create(tenant=tenant, **facts)
        with_health(one, next_probe_at=now, trust_looked_at=now)

    with transaction.atomic(), pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(asking, "ask", lambda question: asking.Answer(clock.now()))
        KeyRegistration.objects.select_for_update(no_key=True).get(tenant=organisations[0])
        assert pool.submit(in_a_thread_of_its_own, health.sweep).result(20) == len(organisations)
    assert set(KeyHealth.objects.values_list("good_probes", "probe_claimed_at")) == {(1, None)}


@pytest.mark.parametrize("mode", MODES)
def test_nineteen_requests_of_another_tenant_are_answered(
    mode: str,
    tenant: Tenant,
    active: KeyRegistration,
    mallory: Member,
    aws: LocalAws,
    work: Callable[[], None],
    api_of: Callable[[ServiceAccount], Client],
    service: ServiceAccount,
) -> None:
    other = mallory.tenant
    theirs = Customer(aws, account=OTHER_CUSTOMER)
    theirs.follow_the_guide(other, acting(mallory))
    services.submit_registration(other, actor=acting(mallory))
    work()
    service.tenants.add(other)
    api = api_of(service)

    def ask(one: Tenant) -> int:
        try:
            return api.post(f"/api/v1/tenants/{one.pk}/data-keys", {}, content_type="application/json").status_code
        finally:
            connections.close_all()

    assert [ask(tenant), ask(other)] == [200, 200]
    with held(tenant, mode), ThreadPoolExecutor(OTHERS + 1) as pool:
        mine = pool.submit(ask, tenant)
        answers = [pool.submit(ask, other) for _ in range(OTHERS)]
        assert [answer.result() for answer in answers] == [200] * OTHERS
        # An operation of ours on the tenant does not hold up its own data keys either;
        # a lock of its key does, for that tenant alone.
        assert mine.result() == (200 if mode == "FOR NO KEY UPDATE" else 503)


# --- the lint ------------------------------------------------------------------------------------------------------


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for app in ("byokportal", "tenants", "keys", "support"):
        for file in sorted((ROOT / app).rglob("*.py")):
            if "migrations" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", node


def test_no_row_is_locked_against_the_checks_of_foreign_keys() -> None:
    """`FOR UPDATE` blocks the check of every foreign key to the row:
    with a tenant locked so, no key of its could be recorded."""

    def is_no_key(call: ast.Call) -> bool:
        return any(word.arg == "no_key" and ast.unparse(word.value) == "True" for word in call.keywords)

    found = list(calls("select_for_update"))
    assert found
    assert [where for where, call in found if not is_no_key(call)] == []
    assert [where for where, _ in calls("update_or_create")] == [], "Django's takes FOR UPDATE"
    sql = [
        str(file.relative_to(ROOT))
        for app in ("byokportal", "tenants", "keys", "support")
        for file in (ROOT / app).rglob("*.py")
        if "FOR UPDATE" in file.read_text()
    ]
    assert sql == []
