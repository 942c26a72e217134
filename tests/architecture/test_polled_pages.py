"""Pages that ask for themselves again read a bounded number of rows:
what SQLite does for one does not grow with what the tenant has."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import acting
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from byokportal import clock
from keys import services, usage
from keys.models import (
    BranchKey,
    CacheDrop,
    CheckResult,
    EncryptionTest,
    KeyHealth,
    KeyRegistration,
    KeyUse,
    RegistrationMove,
    RevocationDrill,
    RoleConfiguration,
    ServingProcess,
)
from support.models import BulkItem, BulkOperation, Ticket, TicketMessage
from tenants.models import AuditEvent, Member, OnboardingMove, Tenant

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
HTMX = {"HX-Request": "true"}
# Each template that polls → the address that it asks, and the queries that this makes.
POLLED = {
    "admin/parts/bulk.html": ("/admin/support/bulkoperation/{bulk}/change/", 7),
    "admin/parts/drop.html": ("/admin/tenants/tenant/{tenant}/drop/", 8),
    "admin/parts/test.html": ("/admin/keys/encryptiontest/{test}/change/", 15),
    "portal/parts/drill.html": ("/tenants/{tenant}/key/drills/{drill}/live/", 4),
    "portal/parts/key_state.html": ("/tenants/{tenant}/key/live/", 13),
    "portal/parts/live_test.html": ("/tenants/{tenant}/tests/{test}/", 5),
    "portal/parts/preparing.html": ("/tenants/{tenant}/registration/preparing/", 4),
    "portal/parts/test_progress.html": ("/tenants/{tenant}/tests/progress/", 7),
    "portal/parts/tracker_steps.html": ("/tenants/{tenant}/", 4),
}


def test_every_template_that_polls_stands_here() -> None:
    polls = re.compile(r'hx-trigger="[^"]*every ')
    assert {
        str(p.relative_to(TEMPLATES)) for p in TEMPLATES.rglob("*.html") if polls.search(p.read_text())
    } == POLLED.keys()


def cycle(found: list[KeyRegistration], rows: int) -> Iterator[KeyRegistration]:
    return itertools.islice(itertools.cycle(found), rows)


def _more(active: KeyRegistration, alice: Member, rows: int) -> None:
    """Add rows of everything that a tenant gathers over the years."""
    tenant, at = active.tenant, clock.now() - timedelta(days=30)
    step = tenant.steps.get(number=5)
    many = range(rows)
    KeyUse.objects.bulk_create(
        KeyUse(tenant=tenant, operation="generate", count=2, caller="service:s", context_digest="0" * 64) for _ in many
    )
    usage.roll_up()
    # A replaced key is one; a tenant has replaced its key a hundred times at most.
    old = KeyRegistration.objects.bulk_create(
        KeyRegistration(
            tenant=tenant, key_arn=active.key_arn, role_arn=active.role_arn, status="retired", created_at=at
        )
        for _ in range(rows // 15)
    )
    KeyHealth.objects.bulk_create(KeyHealth(tenant=tenant, registration=one, region="eu-central-1") for one in old)
    RegistrationMove.objects.bulk_create(
        RegistrationMove(
            tenant=tenant, registration=active, old_status="active", new_status="unreachable", actor="x", at=at
        )
        for _ in many
    )
    OnboardingMove.objects.bulk_create(
        OnboardingMove(tenant=tenant, step=step, old_status="done", new_status="failed", actor="x", at=at) for _ in many
    )
    tests = EncryptionTest.objects.bulk_create(
        EncryptionTest(
            tenant=tenant, registration=one, requested_by="x", status="finished", finished_at=at, created_at=at
        )
        for one in cycle(old, rows)
    )
    CheckResult.objects.bulk_create(
        CheckResult(tenant=tenant, test=test, position=n, code=f"c{n}", step=2, verdict="pass")
        for test in tests
        for n in range(3)
    )
    RoleConfiguration.objects.bulk_create(
        RoleConfiguration(
            tenant=tenant,
            registration=one,
            service_role=tenant.service_role,
            action="add",
            role_arn=active.role_arn,
            status="done",
            created_at=at,
        )
        for one in cycle(old, rows)
    )
    RevocationDrill.objects.bulk_create(
        RevocationDrill(
            tenant=tenant,
            registration=active,
            started_by="x",
            bound_seconds=300,
            until=at,
            started_at=at,
            finished_at=at,
        )
        for _ in many
    )
    BranchKey.objects.bulk_create(
        BranchKey(
            tenant=tenant, registration=active, key_arn=active.key_arn, wrapped=b"w", is_current=False, created_at=at
        )
        for _ in many
    )
    processes = ServingProcess.objects.bulk_create(ServingProcess(name="old", started_at=at, seen_at=at) for _ in many)
    CacheDrop.objects.bulk_create(
        CacheDrop(tenant=tenant, process=one, generation=1, count=1, at=at) for one in processes
    )
    ticket = Ticket.objects.of(tenant).first()
    assert ticket is not None
    TicketMessage.objects.bulk_create(TicketMessage(tenant=tenant, ticket=ticket, author="x", text="x") for _ in many)
    AuditEvent.objects.bulk_create(
        AuditEvent(
            tenant=tenant,
            name="tenants.token.minted",
            actor="x",
            payload='{"data": {"name": "x", "email": "x"}}',
            at=at,
            followed_at=at,
        )
        for _ in many
    )
    AuditEvent.objects.bulk_create(
        AuditEvent(
            tenant=tenant,
            name="tenants.tenant.viewed",
            actor="y",
            payload='{"data": {"name": "x", "email": "x"}}',
            at=at,
            followed_at=at,
        )
        for _ in many
    )


def _work(client: Client, path: str) -> tuple[int, int]:
    """Return how many steps of its virtual machine SQLite took for a page (unit: a hundred), and the queries."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    assert client.get(path, headers=HTMX).status_code == 200
    connection.connection.set_progress_handler(count, 100)
    try:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path, headers=HTMX).status_code == 200
    finally:
        connection.connection.set_progress_handler(None, 0)
    return steps, len(queries)


@pytest.mark.sqlite
def test_what_they_read_does_not_grow(
    active: KeyRegistration, alice: Member, sam: User, browser_of: Callable[[Member | User], Client]
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("counts the steps of SQLite's virtual machine")
    tenant: Tenant = active.tenant
    services.drop_caches(tenant, reason="x", actor=acting(alice))
    KeyHealth.objects.update(key_facts={"deletion_at": "2999-01-01T00:00:00+00:00"})
    drill = services.start_drill(tenant, actor=acting(alice))
    test = EncryptionTest.objects.of(tenant).get()
    bulk = BulkOperation.objects.create(kind="probe", status="queued", total=1, requested_by=sam, reason="r")
    BulkItem.objects.create(operation=bulk, tenant=tenant, position=0)
    ids = {"tenant": tenant.pk, "drill": drill.pk, "test": test.pk, "bulk": bulk.pk}
    pages = {
        name: (path.format(**ids), browser_of(sam if path.startswith("/admin") else alice))
        for name, (path, _) in POLLED.items()
    }
    _more(active, alice, 300)
    few = {name: _work(client, path) for name, (path, client) in pages.items()}
    _more(active, alice, 1_500)
    many = {name: _work(client, path) for name, (path, client) in pages.items()}
    grown = {name: (few[name][0], many[name][0]) for name in POLLED if many[name][0] > few[name][0] + 100}
    assert {name: queries for name, (_, queries) in few.items()} == {
        name: queries for name, (_, queries) in many.items()
    }
    assert grown == {}
    assert {name: queries for name, (_, queries) in few.items()} == {
        name: queries for name, (_, queries) in POLLED.items()
    }
