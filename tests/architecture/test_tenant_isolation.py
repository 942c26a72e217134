"""Another tenant's id is a 404 like one that does not exist, on every route: the URL map is walked."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import acting
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from keys import services
from keys.models import KeyRegistration
from support import services as support_services
from tenants import audit
from tenants.models import Member, ServiceAccount

pytestmark = pytest.mark.django_db
METHODS = ("get", "post", "put", "delete")


def routes(patterns: Any = None, prefix: str = "") -> Iterator[str]:
    """Yield every route of ours that has a tenant in it."""
    for pattern in patterns if patterns is not None else get_resolver().url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and ":tenant>" in route:
            yield route


ROUTES = sorted(routes())


def test_the_map_has_the_routes_we_know_of() -> None:
    assert len(ROUTES) > 35
    assert any(route.startswith("api/") for route in ROUTES)


def fill(route: str, tenant: str, objects: dict[str, str]) -> str:
    for name, value in {"tenant": tenant, **objects}.items():
        for kind in ("uuid", "str", "int", "slug"):
            route = route.replace(f"<{kind}:{name}>", value)
    assert "<" not in route, route
    return "/" + route


@pytest.mark.parametrize("route", ROUTES)
def test_a_stranger_gets_the_same_404_as_for_what_does_not_exist(
    route: str,
    alice: Member,
    mallory: Member,
    active: KeyRegistration,
    api_of: Callable[[Member | ServiceAccount], Client],
    browser_of: Callable[[Member], Client],
) -> None:
    ticket = support_services.open_ticket(alice.tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    theirs = {
        "number": "1",
        "name": "trust-policy",
        "test": str(active.tests.get().pk),
        "ticket": str(ticket.pk),
        "token": str(uuid.uuid4()),
        "drill": str(services.start_drill(alice.tenant, actor=acting(alice)).pk),
    }
    client = api_of(mallory) if route.startswith("api/") else browser_of(mallory)
    missing = fill(route, str(uuid.uuid4()), theirs)
    foreign = fill(route, str(alice.tenant.pk), theirs)
    for method in METHODS:
        answers = [
            getattr(client, method)(path, "{}", content_type="application/json")
            if method != "get"
            else client.get(path)
            for path in (foreign, missing)
        ]
        first, second = answers
        assert first.status_code == second.status_code, (method, foreign)
        assert first.status_code in {404, 405}, (method, foreign, first.status_code)
        if route.startswith("api/"):
            assert {**first.json(), "request_id": ""} == {**second.json(), "request_id": ""}
        else:
            assert alice.tenant.name not in first.content.decode()


@pytest.mark.parametrize(
    "route",
    [
        route
        for route in ROUTES
        if "<str:test>" in route or "<uuid:test>" in route or ":ticket>" in route or ":drill>" in route
    ],
)
def test_an_object_of_a_stranger_under_ones_own_tenant_is_a_404(
    route: str,
    alice: Member,
    mallory: Member,
    active: KeyRegistration,
    api_of: Callable[[Member | ServiceAccount], Client],
    browser_of: Callable[[Member], Client],
) -> None:
    ticket = support_services.open_ticket(alice.tenant, topic="question", subject="s", text="t", actor=audit.SYSTEM)
    drill = services.start_drill(alice.tenant, actor=acting(alice))
    theirs = {"test": str(active.tests.get().pk), "ticket": str(ticket.pk), "drill": str(drill.pk)}
    client = api_of(mallory) if route.startswith("api/") else browser_of(mallory)
    path = fill(route, str(mallory.tenant_id), theirs)
    answer = client.post(path, "{}", content_type="application/json") if "cancel" in path else client.get(path)
    assert answer.status_code == 404
