"""Pages with lists: how many queries each one makes is recorded, and does not grow with the rows.

A changed number is a visible diff of query_budgets.json; RECORD_QUERY_BUDGETS=1 writes it anew.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from conftest import acting, invited
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from url_map import addresses, is_page

from keys import log_heads
from keys.models import CheckResult, EncryptionTest, KeyRegistration, RevocationDrill, RoleConfiguration
from support import services as support_services
from support.fleet import counting, projection
from support.models import Notice, Ticket, WebhookDelivery, WebhookEndpoint
from tenants import audit, log_trees, roles, services
from tenants.models import Approval, AuditEvent, Directory, LogStream, MailDomain, Member, SignOnConnection

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
        services.remove_member(invited(tenant, f"{one}@gone.example", "auditor"), reason="r", actor=acting(alice))
        services.invite(tenant, email=f"{one}@elsewhere.example", role="auditor", actor=acting(alice))
        MailDomain.objects.create(tenant=tenant, name=f"{one}.example", token="t")
        directory = Directory.objects.get(tenant=tenant)
        directory.tokens.create(digest=one, made_by="member:alice@acme.example")
        group = directory.groups.create(display_name=one)
        group.users.create(
            directory=directory,
            user_name=one,
            user_name_key=one,
            email=f"{one}@acme.example",
            is_active=True,
            resource={},
            member=Member.objects.get(user__email=f"{one}@acme.example"),
        )
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
        WebhookEndpoint.objects.create(
            tenant=tenant, description=one, origin="https://a.example", kinds=["key"], sealed_address=""
        )
        LogStream.objects.create(
            tenant=tenant, format="webhook", description=one, origin="https://a.example", sealed_address=""
        )
        event = AuditEvent.objects.of(tenant).latest("pk")
        for endpoint in WebhookEndpoint.objects.all():
            WebhookDelivery.objects.create(tenant=tenant, endpoint=endpoint, event=event)
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


NOT_COUNTED = {
    "portal:confirm-restore": "of an organisation that waits after a restore; that of this world does not",
    "portal:end-horizon": "of a key that only backups need, and one in this world serves",
    "portal:sign-on-saml": "the connection of this world speaks the other protocol",
}


def portal_pages(objects: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every page of a tenant, as it is recorded and as it is asked for; step 1 to 6 are a page each."""
    shown = [one for one in addresses() if one.route.startswith("tenants/<uuid:tenant>/") and is_page(one)]
    for route in (one.route for one in shown if one.name not in NOT_COUNTED):
        for step in range(1, 7) if "/steps/<int:number>/" in route else (0,):
            here = route.replace("/steps/<int:number>/", f"/steps/{step}/").replace("facts/<slug:name>", "facts/scp")
            here = here.replace("<slug:name>", "trust-policy")
            path = re.sub(r"<\w+:(\w+)>", lambda name: str(objects[name[1]].pk), here)
            yield "/" + re.sub(r"<\w+:(\w+)>", r"<\1>", here), "/" + path


def _office(objects: dict[type[Model], Any]) -> Iterator[tuple[str, str]]:
    """Yield every list of the back office, and the page of one row of each that has one in this world."""
    yield "/admin/", "/admin/"
    yield "/admin/fleet/", "/admin/fleet/"
    yield "/admin/tickets/", "/admin/tickets/"
    yield "/admin/fleet/?q=", "/admin/fleet/?q=Acme&step=1"
    for model in admin.site._registry:
        of_model = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        yield of_model, of_model
        row = objects.get(model) or model._default_manager.order_by("pk").first()
        if row is not None:
            yield f"{of_model}<{model._meta.model_name}>/change/", f"{of_model}{row.pk}/change/"


def _count(client: Client, path: str) -> int:
    assert client.get(path).status_code == 200, (
        path,
        client.get(path).status_code,
    )  # the first look fills caches that live as long as the process
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status_code == 200, path
    # PostgreSQL is asked for the lock of a tenant's row; SQLite has one writer and is not.
    return sum("FOR NO KEY UPDATE" not in query["sql"] for query in queries)


def world_of(alice: Member) -> dict[str, Any]:
    """Make an organisation with a row of everything, and return what the addresses of its pages name."""
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
    SignOnConnection.objects.create(
        tenant=tenant, mode="offered", issuer="https://login.acme.example", client_id="byok", sealed_secret=""
    )
    Directory.objects.create(tenant=tenant)
    _fill(alice, 1, name="first")
    ticket = Ticket.objects.of(tenant).first()
    assert ticket is not None
    former = Member.everybody.filter(tenant=tenant).exclude(removed_at=None).first()
    named = {"tenant": tenant, "ticket": ticket, "test": test, "drill": drill, "former": former, "number": alice}
    return named | {
        "domain": MailDomain.objects.of(tenant).first(),
        "approval": Approval.objects.filter(tenant=tenant).first(),
        "webhook": WebhookEndpoint.objects.first(),
        "stream": LogStream.objects.first(),
    }


def test_list_pages_make_the_recorded_number_of_queries_however_many_rows(
    alice: Member, sam: User, browser_of: Callable[[Member | User], Client]
) -> None:
    named = world_of(alice)
    registration = named["test"].registration
    pages = [(browser_of(alice), *page) for page in portal_pages(named)]
    pages += [(browser_of(sam), *page) for page in _office({type(row): row for row in (*named.values(), registration)})]
    log_trees.seal()
    log_heads.publish_due()
    projection.follow()
    counting.count()
    few = {name: _count(client, path) for client, name, path in pages}
    _fill(alice, 8, name="more")
    projection.follow()
    many = {name: _count(client, path) for client, name, path in pages}
    assert many == few
    if os.environ.get("RECORD_QUERY_BUDGETS"):
        RECORDED.write_text(json.dumps(few, indent=2, sort_keys=True) + "\n")
    assert few == json.loads(RECORDED.read_text())
