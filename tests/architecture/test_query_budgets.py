"""Pages with lists: how many queries each one makes is recorded, and does not grow with the rows.

A changed number is a visible diff of query_budgets.json; RECORD_QUERY_BUDGETS=1 writes it anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from conftest import acting, invited
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from keys.models import CheckResult, EncryptionTest, KeyRegistration, RevocationDrill, RoleConfiguration
from support import services as support_services
from support.models import Notice, Ticket
from tenants import audit, roles, services
from tenants.models import Approval, MailDomain, Member

RECORDED = Path(__file__).with_name("query_budgets.json")
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"


def _fill(alice: Member, rows: int, *, name: str) -> None:
    """Add rows of everything that some page lists, to Alice's organisation and beside it."""
    tenant = alice.tenant
    for number in range(rows):
        one = f"{name}-{number}"
        other = services.create_tenant(one, owner_email=f"{one}@other.example", actor=audit.COMMAND)
        invited(tenant, f"{one}@acme.example", "auditor")
        services.invite(tenant, email=f"{one}@elsewhere.example", role="auditor", actor=acting(alice))
        MailDomain.objects.create(tenant=tenant, name=f"{one}.example", token="t")
        services.mint_token(alice, name=one, actor=audit.COMMAND)
        services.create_service_account(one, tenants=[tenant, other], scopes=roles.SCOPES, actor=audit.COMMAND)
        ticket = support_services.open_ticket(tenant, topic="question", subject=one, text=one, actor=audit.SYSTEM)
        support_services.answer_ticket(ticket, text=one, status=Ticket.Status.WAITING_FOR_KORE, actor=audit.SYSTEM)
        Approval.objects.create(
            tenant=tenant,
            operation="keys.set_latency",
            arguments=json.dumps({"seconds": one}),
            sentence=one,
            requested_by=Member.objects.get(user__email=f"{one}@acme.example"),
            expires_at=timezone.now() + timedelta(1),
        )
        Notice.objects.create(tenant=tenant, template="key-active", recipient=f"{one}@acme.example")
        for owner in (tenant, other):
            registration = KeyRegistration.objects.create(tenant=owner, key_arn=KEY, role_arn=ROLE, status="retired")
            RoleConfiguration.objects.create(
                tenant=owner,
                registration=registration,
                service_role=owner.service_role,
                action="add",
                role_arn=ROLE,
                status="failed",
            )
            test = EncryptionTest.objects.create(
                tenant=owner, registration=registration, requested_by="system", finished_at=timezone.now()
            )
            for position in range(3):
                CheckResult.objects.create(
                    tenant=owner, test=test, position=position, code=f"check-{position}", step=2, verdict="pass"
                )
        suspended = {"status": "suspended", "suspended_by": "aws", "activated_at": timezone.now()}
        KeyRegistration.objects.create(tenant=other, key_arn=KEY, role_arn=ROLE, role_claim=one, **suspended)


def _count(client: Client, path: str) -> int:
    assert client.get(path).status_code == 200, path  # the first look fills caches that live as long as the process
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200, path
    # PostgreSQL is asked for the lock of a tenant's row; SQLite has one writer and is not.
    return sum("FOR NO KEY UPDATE" not in query["sql"] for query in queries)


def test_list_pages_make_the_recorded_number_of_queries_however_many_rows(
    alice: Member, sam: User, browser_of: Callable[[Member | User], Client]
) -> None:
    tenant = alice.tenant
    serving = {"status": "active", "activated_at": timezone.now(), "role_claim": "111122223333/a"}
    registration = KeyRegistration.objects.create(tenant=tenant, key_arn=KEY, role_arn=ROLE, **serving)
    test = EncryptionTest.objects.create(
        tenant=tenant, registration=registration, requested_by="system", finished_at=timezone.now()
    )
    drill = RevocationDrill.objects.create(
        tenant=tenant,
        registration=registration,
        started_by="system",
        bound_seconds=300,
        until=timezone.now(),
        finished_at=timezone.now(),
    )
    _fill(alice, 1, name="first")
    ticket = Ticket.objects.of(tenant).first()
    assert ticket is not None
    portal = [
        "",
        *(f"steps/{number}/" for number in range(1, 7)),
        "log/",
        "people/",
        "sign-on/",
        "approvals/",
        "automation/",
        "key/",
        "tickets/",
    ]
    portal += [
        f"tickets/{ticket.pk}/",
        f"tests/{test.pk}/",
        "tests/progress/",
        "tests/",
        "key/drills/",
        f"key/drills/{drill.pk}/",
    ]
    office = [f"{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]
    office += [
        f"tenants/tenant/{tenant.pk}/change/",
        f"keys/keyregistration/{registration.pk}/change/",
        f"keys/encryptiontest/{test.pk}/change/",
        f"support/ticket/{ticket.pk}/change/",
    ]
    pages = {f"/tenants/{tenant.pk}/{path}": browser_of(alice) for path in portal} | {
        f"/admin/{path}": browser_of(sam) for path in ["", *office]
    }

    def names(path: str) -> str:
        for pk, word in (
            (tenant.pk, "tenant"),
            (ticket.pk, "ticket"),
            (test.pk, "test"),
            (drill.pk, "drill"),
            (registration.pk, "registration"),
        ):
            path = path.replace(str(pk), f"<{word}>")
        return path

    few = {names(path): _count(client, path) for path, client in pages.items()}
    _fill(alice, 8, name="more")
    many = {names(path): _count(client, path) for path, client in pages.items()}
    assert many == few
    if os.environ.get("RECORD_QUERY_BUDGETS"):
        RECORDED.write_text(json.dumps(few, indent=2, sort_keys=True) + "\n")
    assert few == json.loads(RECORDED.read_text())
