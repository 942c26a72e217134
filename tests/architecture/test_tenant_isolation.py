"""Another tenant's id is a 404 like one that does not exist, on every route: the URL map is walked."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable

import pytest
from conftest import acting, an_approval
from django.test import Client
from url_map import addresses

from keys import services
from keys.models import KeyRegistration
from support import services as support_services
from tenants import audit
from tenants import services as tenant_services
from tenants.models import Member, ServiceAccount

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "delete")


# Every route of ours that has a tenant in it.
ROUTES = sorted(address.route for address in addresses() if ":tenant>" in address.route)


def test_the_map_has_the_routes_we_know_of() -> None:
    assert len(ROUTES) > 35
    assert any(route.startswith("api/") for route in ROUTES)


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
        "name": "trust-policy",
        "test": str(active.tests.get().pk),
        "ticket": str(ticket.pk),
        "token": str(uuid.uuid4()),
        "invitation": str(uuid.uuid4()),
        "approval": str(an_approval(alice).pk),
        "recovery": str(uuid.uuid4()),
        "drill": str(services.start_drill(alice.tenant, actor=acting(alice)).pk),
        "registration": str(active.pk),
        "domain": str(tenant_services.add_domain(alice.tenant, name="acme.example", actor=acting(alice)).pk),
    }
    callers = {True: api_of(mallory), False: browser_of(mallory)}
    for route, method in itertools.product(ROUTES, METHODS):
        is_api = route.startswith("api/")
        call = getattr(callers[is_api], method)
        more = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
        foreign, missing = fill(route, str(alice.tenant.pk), theirs), fill(route, str(uuid.uuid4()), theirs)
        first, second = call(foreign, **more), call(missing, **more)
        assert first.status_code == second.status_code, (method, foreign)
        assert first.status_code in {404, 405}, (method, foreign, first.status_code)
        if is_api:
            assert {**first.json(), "request_id": ""} == {**second.json(), "request_id": ""}, (method, foreign)
        else:
            assert alice.tenant.name not in first.content.decode(), (method, foreign)


OF_OBJECTS = [
    route
    for route in ROUTES
    if any(f":{name}>" in route for name in ("test", "ticket", "drill", "registration", "domain", "link", "proposal"))
]


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
        "drill": str(drill.pk),
        "registration": str(active.pk),
        "domain": str(tenant_services.add_domain(alice.tenant, name="acme.example", actor=acting(alice)).pk),
    }
    callers = {True: api_of(mallory), False: browser_of(mallory)}
    assert len(OF_OBJECTS) > 5
    for route in OF_OBJECTS:
        client, path = callers[route.startswith("api/")], fill(route, str(mallory.tenant_id), theirs)
        posted = ("cancel", "cancel/", "/end", "look", "look/", "revoke/", "confirm", "confirm/", "refuse", "refuse/")
        if path.endswith(posted):
            answer = client.post(path, "{}", content_type="application/json")
        else:
            answer = client.delete(path) if "<str:link>" in route else client.get(path)
        assert answer.status_code == 404, path
