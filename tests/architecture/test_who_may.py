"""Every address, every method, every kind of caller:
what each one gets is recorded, and a few laws hold over all of it.

The record `who_may.json` is reviewed like code: a line that changes is somebody who gets in, or no longer does
(`RECORD_WHO_MAY=1` writes it anew).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import a_former_member, a_log_stream, a_webhook, acting, acting_staff, an_approval, invited
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from url_map import REASON, addresses, body_of

from keys import datakeys, services
from keys.models import Closing, DriftResolution, Incident, KeyRegistration, RestoreHold, ServiceRolePolicy
from support import services as support_services
from support.models import BulkOperation
from tenants import access, attempts, audit, authentication, roles
from tenants import services as tenant_services
from tenants.models import AuditEvent, DirectoryGroup, Member, OwnerRecovery, ServiceAccount, Tenant

RECORDED = Path(__file__).with_name("who_may.json")
CALLERS = (
    "anonymous",
    "auditor",
    "admin",
    "owner",
    "removed member",
    "another tenant's owner",
    "support",
    "lead",
    "auditor of ours",
    "service account",
    "disabled service account",
)
IN, SIGN_IN, MAY_NOT, ABSENT, NO_METHOD = "in", "signs in", "may not", "not there", "no such method"
FOR_STAFF = {
    **REASON,
    "name": "N",
    "owner_email": "o@new.example",
    "email": "new@kore.example",
    "person": "nobody@acme.example",
    "role": "owner",
    "text": "t",
    "scopes": ["key:read"],
    "has_all_tenants": "on",
    "kind": "test",
    "all": "1",
}


def calls() -> Iterator[tuple[str, str, str]]:
    """Yield (method, route, name of the address); an operation of the back office is an address of its own."""
    for address in addresses():
        route = re.sub(r"(?<=<app_label>)[a-z|]+", "…", address.route)
        shown = getattr(address.view, "cls", None)
        methods = [m for m in ("get", "post", "put", "patch", "delete") if shown is None or hasattr(shown, m)]
        if shown is None:
            methods = ["get", "post"]
        routes = [route]
        if "<slug:operation_name>" in route:
            model = next(
                one for one in admin.site._registry if f"/{one._meta.app_label}/{one._meta.model_name}/" in route
            )
            of = admin.site._registry[model]
            operations = of.operations if "<path:object_id>" in route else of.list_operations
            routes = [route.replace("<slug:operation_name>", operation.name) for operation in operations]
        for one in routes:
            for method in methods:
                yield method, one, address.name


ALL = sorted(set(calls()))


@pytest.fixture
def world(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    mallory: Member,
    sam: User,
    service: ServiceAccount,
    active: KeyRegistration,
    browser_of: Callable[..., Client],
    api_of: Callable[..., Client],
) -> dict[str, Any]:
    """Acme Bank with something of everything, and a browser and an API client of each kind of caller."""
    carol = invited(tenant, "carol@acme.example", "admin")
    dora = invited(tenant, "dora@acme.example", "owner")
    staff = {"lead": sam}
    for name, group in (("support", "Support"), ("auditor of ours", "Auditor")):
        address = f"{group.lower()}@kore.example"
        staff[name] = User.objects.create_user(address, address, "x", is_staff=True)
        staff[name].groups.add(Group.objects.get(name=group))
    people = {"owner": alice, "admin": carol, "auditor": bob, "another tenant's owner": mallory, "removed member": dora}
    browsers = {name: browser_of(one) for name, one in {**people, **staff}.items()}
    apis = {name: api_of(one) for name, one in people.items()}
    disabled, _ = tenant_services.create_service_account(
        "old", tenants=[tenant], scopes=roles.SCOPES, actor=audit.COMMAND
    )
    apis["service account"], apis["disabled service account"] = api_of(service), api_of(disabled)
    from django.utils import timezone

    ServiceAccount.objects.filter(pk=disabled.pk).update(disabled_at=timezone.now())
    tenant_services.remove_member(dora, reason="left", actor=acting(alice))
    for name in CALLERS:
        browsers.setdefault(name, Client(headers=apis[name].headers if hasattr(apis.get(name), "headers") else None))
        apis.setdefault(name, browsers[name])  # a session counts for nothing in the API
    ticket = support_services.open_ticket(tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    webhook, stream = a_webhook(alice), a_log_stream(alice)
    invitation = tenant_services.invite(tenant, email="eve@acme.example", role="auditor", actor=acting(alice))
    token, _ = tenant_services.mint_token(alice, name="t", actor=acting(alice))
    drill = services.start_drill(tenant, actor=acting(alice))
    link, _ = services.make_link(tenant, name="Cloud platform", actor=acting(alice))
    proposal = services.propose(link, text="arn:aws:iam::111122223333:role/Proposed")
    User.objects.filter(pk=alice.user_id).update(is_active=False)
    recovery = tenant_services.request_new_owner(tenant, email="f@acme.example", reason="r", actor=acting_staff(sam))
    OwnerRecovery.objects.filter(pk=recovery.pk).update(
        status="waiting", approved_by=staff["support"], due_at=timezone.now()
    )
    User.objects.filter(pk=alice.user_id).update(is_active=True)
    incident = Incident.objects.create(service_role=tenant.service_role, why="6 organisations refused at once")
    policy, _ = ServiceRolePolicy.objects.update_or_create(
        service_role=tenant.service_role, slot=0, defaults={"found": "not attached"}
    )
    resolution = DriftResolution.objects.create(
        policy=policy, choice="take_ours", status="waiting", found_digest="x", reason="r", requested_by="kore:x"
    )
    hold = RestoreHold.objects.create(tenant=mallory.tenant)
    objects = {
        "tenant": tenant.pk,
        "ticket": ticket.pk,
        "stream": stream.pk,
        "webhook": webhook.pk,
        "delivery": webhook.deliveries.get().message_id,
        "invitation": invitation.pk,
        "approval": an_approval(carol).pk,
        "token": token.pk,
        "drill": drill.pk,
        "link": link.pk,
        "proposal": proposal.pk,
        "recovery": recovery.pk,
        "connection": _connection(tenant, alice),
        "domain": tenant_services.add_domain(tenant, name="acme.example", actor=acting(alice)).pk,
        **_directory(tenant, alice),
        "test": active.tests.get().pk,
        "number": carol.pk,
        "former": a_former_member(alice).pk,
        "recipient": tenant_services.add_head_recipient(tenant, email="h@a.example", actor=acting(alice)).pk,
        "event": tenant.events.earliest("pk").pk,
        "use": 1,
        "head": 1,
        "name": "trust-policy",
        "secret": "x" * 43,
        "uidb36": "1",
        "key": "x-y",
        "pk": 1,
        "content_type_id": 1,
    }
    of_model = {
        "tenant": tenant.pk,
        "servicerole": tenant.service_role_id,
        "keyregistration": active.pk,
        "encryptiontest": objects["test"],
        "roleconfiguration": active.configurations.first().pk,
        "revocationdrill": drill.pk,
        "incident": incident.pk,
        "driftresolution": resolution.pk,
        "restorehold": hold.pk,
        "serviceaccount": service.pk,
        "member": carol.pk,
        "user": staff["support"].pk,
        "ownerrecovery": recovery.pk,
        "ticket": ticket.pk,
        "closing": Closing.objects.create(tenant=tenant, reason="r", requested_by="kore:sam", due_at=None).pk,
        "bulkoperation": BulkOperation.objects.create(
            kind="suspend", status="waiting", total=0, requested_by=staff["support"], reason="r", due_at=None
        ).pk,
        "auditevent": tenant.events.first().pk,
        "notice": 1,
        "logstream": stream.pk,
        "webhookendpoint": webhook.pk,
        "webhookdelivery": webhook.deliveries.get().pk,
    }
    return {"browsers": browsers, "apis": apis, "objects": objects, "of_model": of_model}


def _directory(tenant: Tenant, owner: Member) -> dict[str, object]:
    """Connect a directory with a group, a person and a token."""
    directory = tenant_services.set_directory(tenant, actor=acting(owner))
    token, _ = tenant_services.make_directory_token(directory, actor=acting(owner))
    group = DirectoryGroup.objects.create(directory=directory, display_name="Admins")
    return {"scim_token": token.pk, "group": group.pk, "rest": "x"}


def _connection(tenant: Tenant, owner: Member) -> object:
    """Connect the tenant to a directory that nobody asks in these tests."""
    facts: dict[str, Any] = {"role_claim": "", "role_values": {}, "default_role": "", "may_make_owners": False}
    endpoints = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    return tenant_services.set_connection(
        tenant,
        issuer="https://login.acme.example",
        client_id="byok",
        client_secret="s",
        provider={name: f"https://login.acme.example/{name}" for name in endpoints} | {"auth_methods": []},
        **facts,
        factor_values=["mfa"],
        actor=acting(owner),
    ).pk


def path_of(route: str, world: dict[str, Any]) -> str:
    route = route.removesuffix("$").replace("^", "").replace("(?P<app_label>…)", "tenants").replace("(?P<url>.*)", "x")
    route = re.sub(r"\(\?P<(\w+)>[^)]*\)", lambda m: str(world["objects"][m[1]]), route)
    model = re.match(r"admin/\w+/(\w+)/", route)
    if model:
        route = route.replace("<path:object_id>", str(world["of_model"].get(model[1], 1)))
    if "/facts/" in route:
        route = route.replace("<slug:name>", "scp").replace("<str:name>", "scp")
    if "/steps/" in route:
        route = route.replace("<int:number>", "1")
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda m: str(world["objects"].get(m[1], 1)), route)


def outcome(answer: HttpResponse) -> str:
    """Return what a caller got, as a word."""
    if answer.status_code == 401 or answer.get("Location", "").startswith(("/accounts/login/", "/admin/login/")):
        return SIGN_IN
    if answer.status_code in {403, 404, 405}:
        return {403: MAY_NOT, 404: ABSENT, 405: NO_METHOD}[answer.status_code]
    return IN


@pytest.mark.slow
def test_every_address_answers_every_caller_as_recorded(world: dict[str, Any]) -> None:
    got: dict[str, dict[str, list[str]]] = {}
    for method, route, name in ALL:
        for caller in CALLERS:
            is_api = route.startswith("api/")
            client = world["apis" if is_api else "browsers"][caller]
            body = FOR_STAFF if route.startswith("admin/") else body_of(name)
            more: dict[str, Any] = {} if method == "get" else {"data": body}
            if is_api and method != "get" and name != "api:token":
                more["content_type"] = "application/json"
            jar = client.cookies.output()
            before = transaction.savepoint()  # not `atomic`: a use of a key is written in a durable block
            answer = getattr(client, method)(path_of(route, world), **more)
            if hasattr(answer, "streaming_content"):
                list(answer.streaming_content)
            transaction.savepoint_rollback(before)
            assert answer.status_code < 500 or answer.status_code in {502, 503}, (method, route, caller)
            if client.cookies.output() != jar:  # a sign-out, or a link's cookie
                client.cookies.load(jar.replace("Set-Cookie: ", ""))
            for forget in (authentication.forget_all, access.forget_all, attempts.forget_all, datakeys.start_anew):
                forget()
            line = got.setdefault(f"{method.upper()} {route}", {})
            line.setdefault(outcome(answer), []).append(caller)
    if os.environ.get("RECORD_WHO_MAY"):
        lines = (f"{json.dumps(address)}: {json.dumps(got[address], sort_keys=True)}" for address in sorted(got))
        RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")  # a line for each address: the difference is read
        RECORD.clear()
        RECORD.update(got)
    assert got == json.loads(RECORDED.read_text())


# --- after a POST --------------------------------------------------------------------------------------------------

WRITES = re.compile(r'^\s*(?:INSERT INTO|UPDATE|DELETE FROM) "(?!django_session)', re.IGNORECASE)
# A POST that answers with a page: it reads what was sent and keeps nothing of it, so a reload does nothing.
READS = {
    "tenants/<uuid:tenant>/check-policy/": "a policy is read, and not kept",
    "tenants/<uuid:tenant>/check-output/": "what a command printed is read, and not kept",
    "tenants/<uuid:tenant>/log/cloudtrail/": "an export of CloudTrail is compared, and not kept",
    "admin/explain-aws-error/": "the same with an error of AWS",
    "admin/explain-aws-error/answer/": "the first step: it shows where the text can go",
    "admin/tenants/tenant/<path:object_id>/explain/": "the same for one tenant",
}
LOOKS = {"admin/tenants/tenant/<path:object_id>/explain/"}
# What this world is not in a state for; each has a test of its own in which it is done.
NOT_NOW = {
    "address/",
    "address/confirm/",
    "invitation/",
    "recovery/",
    "tenants/<uuid:tenant>/approvals/require/",
    "tenants/<uuid:tenant>/approvals/<uuid:approval>/approve/",
    "tenants/<uuid:tenant>/approvals/<uuid:approval>/refuse/",
    "tenants/<uuid:tenant>/approvals/<uuid:approval>/withdraw/",
    "sign-on/<uuid:tenant>/saml/",
    "tenants/<uuid:tenant>/sign-on/saml/",
    "tenants/<uuid:tenant>/sign-on/connection/",
    "tenants/<uuid:tenant>/sign-on/needed/",
    "tenants/<uuid:tenant>/directory/join/",
    "tenants/<uuid:tenant>/sign-on/unlink/",
    "tenants/<uuid:tenant>/key/old/<uuid:registration>/end/",
    "tenants/<uuid:tenant>/key/leave/",
    "tenants/<uuid:tenant>/key/resume/",
    "tenants/<uuid:tenant>/key/rotate/",
    "tenants/<uuid:tenant>/registration/activation/",
    "tenants/<uuid:tenant>/registration/activate/",
    "tenants/<uuid:tenant>/registration/withdraw/",
}


def _shows_what_is_wrong(answer: HttpResponse) -> bool:
    contexts = answer.context if isinstance(answer.context, list) else [answer.context]  # type: ignore[attr-defined]
    return any(
        getattr(value, "errors", None) for context in contexts if context for value in context.flatten().values()
    )


def _is_list(route: str) -> bool:
    """Tell whether it is a list or a first page of the back office, which look at no body."""
    return bool(re.fullmatch(r"admin/(\w+/\w+/)?|admin/\^\(\?P<app_label>…\)/\$", route))


def test_what_a_post_does_it_does_once_for_it_answers_with_a_redirect(world: dict[str, Any]) -> None:
    done = set()
    for method, route, name in ALL:
        if method != "post" or route.startswith("api/"):
            continue
        for caller in ("owner", "auditor", "lead", "anonymous"):
            client = world["browsers"][caller]
            body = FOR_STAFF if route.startswith("admin/") else body_of(name)
            jar = client.cookies.output()
            before = transaction.savepoint()
            with CaptureQueriesContext(connection) as asked:
                answer = client.post(path_of(route, world), body)
            wrote = [query["sql"] for query in asked if WRITES.match(query["sql"])]
            transaction.savepoint_rollback(before)
            if client.cookies.output() != jar:
                client.cookies.load(jar.replace("Set-Cookie: ", ""))
            for forget in (authentication.forget_all, access.forget_all, datakeys.start_anew):
                forget()
            if 300 <= answer.status_code < 400 and outcome(answer) != SIGN_IN:
                done.add(route)
            if answer.status_code < 300 and not _shows_what_is_wrong(answer):
                assert route in READS or _is_list(route), (route, caller)
                # That staff looked at an organisation is written down.
                kept = [one for one in wrote if not (route in LOOKS and 'INSERT INTO "tenants_auditevent"' in one)]
                assert not kept, (route, caller, kept)
    portal = {
        route
        for method, route, _ in ALL
        if method == "post" and ("tenant>" in route or route in NOT_NOW) and not route.startswith("api/")
    }
    takes = {route for route in portal if NO_METHOD not in RECORD[f"POST {route}"]}
    assert takes - done - set(READS) == NOT_NOW, (
        "give a new address a body in BODIES of tests/url_map.py with which it is done"
    )


# What an auditor of ours keeps: for themselves alone, unless they share it.
OWN = {"admin/fleet/views/", "admin/fleet/views/<int:view>/remove/"}


def test_an_auditor_of_ours_changes_nothing_by_whatever_is_posted(world: dict[str, Any]) -> None:
    client, refused = world["browsers"]["auditor of ours"], set()
    for method, route, _ in ALL:
        if method != "post" or not route.startswith("admin/") or route.endswith(("login/", "logout/")) or route in OWN:
            continue
        before = transaction.savepoint()
        last = AuditEvent.objects.latest("pk").pk
        with CaptureQueriesContext(connection) as asked:
            answer = client.post(path_of(route, world), FOR_STAFF)
        wrote = [query["sql"] for query in asked if WRITES.match(query["sql"])]
        logged = set(AuditEvent.objects.filter(pk__gt=last).values_list("name", flat=True))
        transaction.savepoint_rollback(before)
        # That staff looked at an organisation is written down, by every page of one.
        seen = ('INSERT INTO "tenants_auditevent"', 'INSERT INTO "tenants_personname"')
        assert not [one for one in wrote if not one.startswith(seen)], route
        assert logged <= {"tenants.tenant.viewed"}, route
        if "/operations/" in route:
            assert outcome(answer) == MAY_NOT, route
            refused.add(route)
    assert len(refused) == sum(
        len(of.operations) + len(of.list_operations)  # type: ignore[attr-defined]
        for of in admin.site._registry.values()
    )


# --- laws ---------------------------------------------------------------------------------------------------------

RECORD: dict[str, dict[str, list[str]]] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


def _in(line: dict[str, list[str]]) -> set[str]:
    return set(line.get(IN, []))


# Of a directory, which is nobody here; neither tells whether there is such a tenant.
OF_A_DIRECTORY = {
    "POST sign-on/<uuid:tenant>/saml/": "refuses what answers no sign-in that is open; counts for nothing by itself",
    "GET sign-on/<uuid:tenant>/saml/metadata/": "is made of its address alone",
}


def _of_tenants() -> dict[str, dict[str, list[str]]]:
    return {
        address: line for address, line in RECORD.items() if ":tenant>" in address and address not in OF_A_DIRECTORY
    }


def test_the_record_knows_every_address() -> None:
    assert sorted(RECORD) == sorted(f"{method.upper()} {route}" for method, route, _ in ALL)


def test_nobody_from_outside_gets_into_a_tenant() -> None:
    outside = {
        "anonymous",
        "removed member",
        "another tenant's owner",
        "disabled service account",
        "support",
        "lead",
        "auditor of ours",
    }
    for address, line in _of_tenants().items():
        assert not _in(line) & outside, address


def test_a_disabled_service_account_gets_nowhere_in_the_api() -> None:
    for address, line in RECORD.items():
        if "api/v1/" in address and "oauth/token" not in address:
            assert "disabled service account" not in _in(line), address


def test_only_staff_are_in_the_back_office_and_ours_that_only_look_change_nothing() -> None:
    for address, line in RECORD.items():
        if " admin/" not in address or address.endswith(("/login/", "/logout/")):
            continue
        assert _in(line) <= {"support", "lead", "auditor of ours"}, address
        if "/operations/" in address:
            assert "auditor of ours" not in _in(line), address


def test_an_auditor_of_the_tenant_changes_nothing() -> None:
    allowed = {
        "tickets",
        "ticket",
        "messages",
        "policy-checks",
        "reconciliations",
        "log/cloudtrail",
        "check-policy",
        "check-output",
        "object",
        "revoke",
        "remove",
        "preparing",
        "mails",  # one's own
        "link",  # one's own account, to the organisation's sign-on
    }
    for address, line in _of_tenants().items():
        if not address.startswith("GET") and "auditor" in _in(line):
            assert any(word in address for word in allowed), address


def test_a_service_account_has_data_keys_and_no_page() -> None:
    for address, line in _of_tenants().items():
        if "service account" in _in(line):
            assert "/data-keys" in address or address.endswith("/key"), address


# Pages that show something beside their form, and open for people whom the button does not serve.
SHOW_MORE = {
    "activation": "when the key goes into service, and whether it is tested",
    "confirm-restore": "what the restored database knows, which an owner confirms",
    "automation": "one's own tokens, which one may revoke",
    "directory": "whom the directory names, and with which role",
    "drills": "the drills there were",
    "links": "the links there are",
    "people": "who is in",
    "seal": "the heads of the log, and how to check them",
    "streams": "where the log goes, and how far it is there",
    "steps": "what the step asks for, and how far it is",
    "tests": "the tests there were",
    "webhooks": "where the events go, and what was delivered",
}


def test_a_page_that_is_only_a_form_refuses_like_its_button() -> None:
    for address, line in RECORD.items():
        method, _, route = address.partition(" ")
        if method != "GET" or ":tenant>" not in route or f"POST {route}" not in RECORD or route.startswith("api/"):
            continue
        useless = _in(line) & set(RECORD[f"POST {route}"].get(MAY_NOT, []))
        last = [part for part in route.strip("/").split("/") if "<" not in part][-1]
        assert not useless or last in SHOW_MORE, (route, useless)
