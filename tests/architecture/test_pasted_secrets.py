"""A secret that is pasted anywhere is refused there, and stands nowhere afterwards:
every form and every address of the API is tried."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Customer, a_former_member, acting
from django import forms
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework import serializers
from url_map import addresses

from byokportal import clock
from byokportal.errors import SecretPasted
from keys.management.commands import explain_aws_error
from keys.models import KeyRegistration
from support import services as support_services
from support.admin.base import ReadOnlyAdmin
from tenants import audit, fresh, idempotency, services, tokens
from tenants.models import Member, Tenant

pytestmark = pytest.mark.django_db
SECRET = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
PIECE = "MIIEowIBAAKCAQEA7example"
OURS = tokens.new_secret("cs")
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlc2lnbmF0dXJl"
PASTED = {
    "access key": f"{'AKIA'}IOSFODNN7EXAMPLE {SECRET}",
    "private key": f"-----BEGIN RSA PRIVATE KEY-----\n{PIECE}\n-----END RSA PRIVATE KEY-----",
    "token of ours": f"please look: {OURS}",
    "JWT": f"Authorization: Bearer {JWT}",
}
PIECES = (SECRET, PIECE, OURS, JWT)
MODULES = (
    "tenants.forms",
    "keys.forms",
    "support.forms",
    "tenants.api.serializers",
    "tenants.api.directory",
    "tenants.api.domains",
    "tenants.api.people",
    "tenants.api.sign_on",
    "keys.api.serializers",
    "keys.api.documents",
    "keys.api.links",
    "support.api.serializers",
)


def field_names() -> set[str]:
    """Return the name of every field of every form and every body."""
    found: set[str] = set()
    for name in MODULES:
        for title, shape in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if issubclass(shape, forms.BaseForm):
                found |= set(shape.base_fields)
            elif issubclass(shape, serializers.Serializer) and title.endswith("In"):
                found |= set(shape._declared_fields)
    return found - {"password", "client_secret"}


FIELDS = sorted(field_names())


def stands(text: str) -> bool:
    return any(piece in text for piece in PIECES)


def nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Look through every column of every table, and through the log."""
    for model in apps.get_models(include_auto_created=True):
        for row in model._default_manager.values():
            assert not stands(str(row)), model
    assert not stands(caplog.text)


@pytest.fixture
def filled(alice: Member, customer: Customer) -> Callable[[str], str]:
    """Return a function that fills a route with things of Alice's organisation."""
    ticket = support_services.open_ticket(alice.tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    KeyRegistration.objects.create(tenant=alice.tenant, status="draft")
    known = {
        "tenant": str(alice.tenant.pk),
        "ticket": str(ticket.pk),
        "number": "1",
        "former": str(a_former_member(alice).pk),
        "name": "trust-policy",
        "member": str(alice.pk),
    }

    def fill(route: str) -> str:
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: known.get(match[1], str(uuid.uuid4())), route)

    return fill


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


PAGES = sorted(
    route
    for route in {address.route for address in addresses()}
    if not route.startswith(("api/", "admin/", "accounts/", "healthz", "readyz", "docs/"))
)
API = sorted(
    route
    for route in {address.route for address in addresses()}
    if route.startswith("api/v1/") and "data-keys" not in route and "oauth" not in route
)


def test_the_walk_is_a_walk() -> None:
    assert len(PAGES) > 20 and len(API) > 20 and len(FIELDS) > 15
    assert {"reason", "text", "subject", "name", "policy", "email", "key_arn"} <= set(FIELDS)


@pytest.mark.parametrize("kind", PASTED)
def test_no_form_of_the_portal_keeps_or_shows_it(
    kind: str,
    alice: Member,
    filled: Callable[[str], str],
    browser_of: Callable[[Member], Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    browser, pasted = browser_of(alice), PASTED[kind]
    everywhere = {**dict.fromkeys(FIELDS, pasted), "topic": "question", "role": "admin", "kind": "trust"}
    for route in PAGES:
        path = filled(route)
        # One field alone, where a page has its own words for it, and all of them.
        alone = (
            [{"key_arn": pasted}, {"role_arn": pasted}, {"output": pasted}]
            if "steps" in path or "output" in path
            else []
        )
        for given in (everywhere, *alone):
            answer = browser.post(path, given, headers={"referer": f"http://testserver/tenants/{alice.tenant.pk}/"})
            assert answer.status_code in {200, 302, 400, 404, 405}, (path, answer.status_code)
            assert not stands(answer.content.decode() + answer.get("Location", "")), path
    assert not stands(browser.get(f"/tenants/{alice.tenant.pk}/").content.decode())
    nowhere(caplog)


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_is_looked_at(field: str, alice: Member, browser_of: Callable[[Member], Client]) -> None:
    page = f"http://testserver/tenants/{alice.tenant.pk}/tickets/"
    for pasted in PASTED.values():
        given = {"topic": "question", "subject": "s", "text": "t", field: pasted}
        answer = browser_of(alice).post(
            f"/tenants/{alice.tenant.pk}/tickets/", given, headers={"referer": page}, follow=True
        )
        assert "rotate it now" in answer.content.decode(), field
    assert not alice.tenant.tickets.exists()


@pytest.mark.parametrize("kind", PASTED)
def test_no_operation_of_the_back_office_keeps_or_shows_it(
    kind: str,
    sam: User,
    tenant: Tenant,
    filled: Callable[[str], str],
    browser_of: Callable[[User], Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    User.objects.filter(pk=sam.pk).update(is_superuser=True)
    browser = browser_of(sam)
    session = browser.session
    session[fresh.KEY] = {"user": str(sam.pk), "at": clock.now().timestamp()}
    session.save()
    tried = 0
    for model, options in admin.site._registry.items():
        assert isinstance(options, ReadOnlyAdmin)
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}"
        obj = model._default_manager.first()
        paths = [f"{base}/operations/{operation.name}/" for operation in options.list_operations]
        paths += [f"{base}/{obj.pk}/operations/{operation.name}/" for operation in options.operations] if obj else []
        for path in paths:
            answer = browser.post(path, {**dict.fromkeys(FIELDS, PASTED[kind]), "role": "owner"})
            assert answer.status_code == 400 and "rotate it now" in answer.content.decode(), path
            assert not stands(answer.content.decode()), path
            tried += 1
    assert tried > 10
    page = browser.post("/admin/explain-aws-error/", {"text": PASTED[kind], "operation": PASTED[kind]})
    assert page.status_code == 200 and not stands(page.content.decode())
    nowhere(caplog)


@pytest.mark.parametrize("kind", PASTED)
def test_no_address_of_the_api_keeps_or_repeats_it(
    kind: str,
    alice: Member,
    filled: Callable[[str], str],
    api_of: Callable[[Member], Client],
    caplog: pytest.LogCaptureFixture,
) -> None:
    api, refused = api_of(alice), 0
    for number, (route, method) in enumerate(itertools.product(API, ("post", "put", "patch"))):
        headers = {"idempotency-key": f"key-{number}"}
        answer = getattr(api, method)(
            filled(route), dict.fromkeys(FIELDS, PASTED[kind]), content_type="application/json", headers=headers
        )
        assert answer.status_code in {400, 403, 404, 405, 409}, (route, method, answer.status_code, answer.content)
        assert not stands(answer.content.decode()), route
        refused += answer.json().get("code") == "secret_pasted"
    assert refused > 8
    nowhere(caplog)


@pytest.mark.parametrize("kind", PASTED)
def test_what_is_called_without_a_form_refuses_it_too(
    kind: str, alice: Member, service_role: object, caplog: pytest.LogCaptureFixture
) -> None:
    pasted, actor = PASTED[kind], acting(alice)
    calls: list[Callable[[], object]] = [
        lambda: services.create_tenant(pasted, owner_email="x@y.example", actor=audit.COMMAND),
        lambda: services.create_service_account(
            pasted, tenants=[alice.tenant], scopes=["key:read"], actor=audit.COMMAND
        ),
        lambda: services.reason_of(pasted),
        lambda: services.name_of(pasted),
        lambda: support_services.open_ticket(alice.tenant, topic="question", subject="s", text=pasted, actor=actor),
        lambda: support_services.open_ticket(alice.tenant, topic="question", subject=pasted, text="t", actor=actor),
    ]
    for call in calls:
        with pytest.raises(SecretPasted):
            call()
    with pytest.raises((SecretPasted, SystemExit, CommandError)) as refused:
        call_command("create_tenant", "--name", pasted, "--owner", "x@y.example")
    assert not stands(str(refused.value))
    nowhere(caplog)


def test_a_key_of_a_request_is_kept_for_a_day_and_holds_no_secret(alice: Member) -> None:
    for key in (OURS, JWT):
        with pytest.raises(SecretPasted):
            idempotency.once(
                lambda: idempotency.Answer(200, {}),
                key=key,
                caller="x",
                tenant=alice.tenant,
                method="POST",
                path="/",
                body=b"",
                in_one_transaction=True,
            )


def test_a_secret_in_an_address_is_not_logged(
    alice: Member, browser_of: Callable[[Member], Client], capsys: Any
) -> None:
    from byokportal.logs import redact

    for piece in (OURS, JWT, SECRET, f"{'AKIA'}IOSFODNN7EXAMPLE"):
        assert piece not in redact(f"GET /tenants/?q={piece}&x=1 HTTP/1.1")
    assert (
        redact("GET /api/v1/tenants/5f8c1f0e-0000-4000-8000-000000000000/key 200")
        == "GET /api/v1/tenants/5f8c1f0e-0000-4000-8000-000000000000/key 200"
    )


@pytest.mark.parametrize("kind", PASTED)
def test_the_command_that_explains_errors_repeats_none(kind: str) -> None:
    said = f"User: {PASTED[kind]} is not authorized to perform: kms:Decrypt on resource: {PASTED[kind]}"
    found = explain_aws_error.Command().answer(
        {"code": "AccessDeniedException", "message": said, "operation": PASTED[kind]}
    )
    assert found["causes"] and not stands(str(found))
