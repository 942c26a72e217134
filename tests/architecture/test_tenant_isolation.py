"""Another tenant's id is a 404 like one that does not exist, on every route: the URL map is walked."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable

import pytest
from conftest import a_former_member, a_log_stream, a_webhook, acting, an_approval
from django.test import Client
from url_map import addresses

from keys import services
from keys.models import KeyRegistration
from support import services as support_services
from tenants import audit
from tenants import services as tenant_services
from tenants.models import DirectoryGroup, Member, ServiceAccount

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "delete")


# Every route of ours that has a tenant in it; those of SCIM take a token of their own (tests/tenants/test_scim.py).
ROUTES = sorted(
    address.route for address in addresses() if ":tenant>" in address.route and not address.name.startswith("scim:")
)


def test_the_map_has_the_routes_we_know_of() -> None:
    assert len(ROUTES) > 35
    assert any(route.startswith("api/") for route in ROUTES)


# What a directory of SAML asks for: our name and where to send people; and an answer that nobody asked for.
OF_A_DIRECTORY = {"sign-on/<uuid:tenant>/saml/", "sign-on/<uuid:tenant>/saml/metadata/"}


def fill(route: str, tenant: str, objects: dict[str, str]) -> str:
    for name, value in {"tenant": tenant, **objects}.items():
        for kind in ("uuid", "str", "int", "slug"):
            route = route.replace(f"<{kind}:{name}>", value)
    assert "<" not in route, route
    return "/" + route


def test_a_stranger_gets_the_same_404_as_for_what_does_not_exist(
    alice: Member,
    mallory: Member,
    active: KeyRegistration,
    api_of: Callable[[Member | ServiceAccount], Client],
    browser_of: Callable[[Member], Client],
) -> None:
    ticket = support_services.open_ticket(alice.tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    link, _ = services.make_link(alice.tenant, name="Cloud platform", actor=acting(alice))
    proposal = services.propose(link, text="arn:aws:iam::111122223333:role/Proposed")
    theirs = {
        "link": str(link.pk),
        "proposal": str(proposal.pk),
        "number": "1",
        "former": str(a_former_member(alice).pk),
        "name": "trust-policy",
        "test": str(active.tests.get().pk),
        "ticket": str(ticket.pk),
        "stream": str(a_log_stream(alice).pk),
        "webhook": str((webhook := a_webhook(alice)).pk),
        "delivery": str(webhook.deliveries.get().message_id),
        "token": str(uuid.uuid4()),
        "invitation": str(uuid.uuid4()),
        "approval": str(an_approval(alice).pk),
        "recovery": str(uuid.uuid4()),
        "drill": str(services.start_drill(alice.tenant, actor=acting(alice)).pk),
        "registration": str(active.pk),
        "recipient": str(tenant_services.add_head_recipient(alice.tenant, email="h@a.example", actor=acting(alice)).pk),
        "event": str(alice.tenant.events.earliest("pk").pk),
        "use": "1",
        "head": "1",
        "domain": str(tenant_services.add_domain(alice.tenant, name="acme.example", actor=acting(alice)).pk),
        **_directory(alice),
    }
    callers = {True: api_of(mallory), False: browser_of(mallory)}
    for route, method in itertools.product(ROUTES, METHODS):
        is_api = route.startswith("api/")
        call = getattr(callers[is_api], method)
        more = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
        foreign, missing = fill(route, str(alice.tenant.pk), theirs), fill(route, str(uuid.uuid4()), theirs)
        first, second = call(foreign, **more), call(missing, **more)
        assert first.status_code == second.status_code, (method, foreign)
        if route in OF_A_DIRECTORY:
            # It answers without looking whether there is such an organisation.
            continue
        assert first.status_code in {404, 405}, (method, foreign, first.status_code)
        if is_api:
            assert {**first.json(), "request_id": ""} == {**second.json(), "request_id": ""}, (method, foreign)
        else:
            assert alice.tenant.name not in first.content.decode(), (method, foreign)


NAMES = (
    "test",
    "ticket",
    "drill",
    "registration",
    "domain",
    "link",
    "proposal",
    "group",
    "scim_token",
    "webhook",
    "stream",
    "event",
    "recipient",
)
OF_OBJECTS = [route for route in ROUTES if any(f":{name}>" in route for name in NAMES)]


def _directory(owner: Member) -> dict[str, str]:
    """Return a token and a group of a tenant's directory."""
    directory = tenant_services.set_directory(owner.tenant, actor=acting(owner))
    token, _ = tenant_services.make_directory_token(directory, actor=acting(owner))
    group = DirectoryGroup.objects.create(directory=directory, display_name="Admins")
    return {"scim_token": str(token.pk), "group": str(group.pk)}


def test_an_object_of_a_stranger_under_ones_own_tenant_is_a_404(
    alice: Member,
    mallory: Member,
    active: KeyRegistration,
    api_of: Callable[[Member | ServiceAccount], Client],
    browser_of: Callable[[Member], Client],
) -> None:
    ticket = support_services.open_ticket(alice.tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    drill = services.start_drill(alice.tenant, actor=acting(alice))
    link, _ = services.make_link(alice.tenant, name="Cloud platform", actor=acting(alice))
    proposal = services.propose(link, text="arn:aws:iam::111122223333:role/Proposed")
    theirs = {
        "link": str(link.pk),
        "proposal": str(proposal.pk),
        "test": str(active.tests.get().pk),
        "ticket": str(ticket.pk),
        "stream": str(a_log_stream(alice).pk),
        "webhook": str((webhook := a_webhook(alice)).pk),
        "delivery": str(webhook.deliveries.get().message_id),
        "drill": str(drill.pk),
        "registration": str(active.pk),
        "recipient": str(tenant_services.add_head_recipient(alice.tenant, email="h@a.example", actor=acting(alice)).pk),
        "event": str(alice.tenant.events.earliest("pk").pk),
        "use": "1",
        "head": "1",
        "domain": str(tenant_services.add_domain(alice.tenant, name="acme.example", actor=acting(alice)).pk),
        **_directory(alice),
    }
    callers = {True: api_of(mallory), False: browser_of(mallory)}
    assert len(OF_OBJECTS) > 5
    for route in OF_OBJECTS:
        client, path = callers[route.startswith("api/")], fill(route, str(mallory.tenant_id), theirs)
        posted = ("cancel", "cancel/", "/end", "look", "look/", "revoke/", "confirm", "confirm/", "refuse", "refuse/")
        posted += ("role/", "remove/")
        posted += ("rotate", "rotate/", "switch/", "switch-on", "switch-off", "/test", "/test/", "replay", "replay/")
        if path.endswith(posted):
            answer = client.post(path, "{}", content_type="application/json")
        elif path.endswith("/role"):
            answer = client.put(path, '{"role": ""}', content_type="application/json")
        else:
            by_delete = "<str:link>" in route or "<str:recipient>" in route or "<str:scim_token>" in route
            answer = client.delete(path) if by_delete else client.get(path)
        assert answer.status_code == 404, path
