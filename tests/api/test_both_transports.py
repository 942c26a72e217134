"""The two transports of data keys are one function: every case of the contract goes through both, and what comes back
is the same, byte for byte. Randomness, clock and request id are injected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from asgi_server import JSON, Answer, Server, tokened
from django.db import connection
from django.test import Client

from keys import datakeys, services
from keys.datakeys import cache, envelope
from keys.models import KeyRegistration, KeyUse
from tenants import access, audit, authentication
from tenants.models import IdempotentRequest, ServiceAccount, Tenant

pytestmark = pytest.mark.django_db(transaction=True)
NAMED = (
    "content-type",
    "cache-control",
    "retry-after",
    "www-authenticate",
    "allow",
    "x-request-id",
    "x-content-type-options",
)
# Stands for a wrapped key of the tenant; the bytes are put in when there is one.
BLOB = "a wrapped key"
Case = tuple[str, str, bytes | dict[str, Any], dict[str, str]]


def many(count: int, **more: Any) -> dict[str, Any]:
    return {"items": [more] * count}


CASES: dict[str, Case] = {
    "one": ("POST", "", {}, {}),
    "one with a context": ("POST", "", {"context": {"object": "é", "a": "1"}}, {}),
    "one with an id of the caller's": ("POST", "", {}, {"x_request_id": "not our form!"}),
    "many": ("POST", "", many(3, context={"a": "b"}), {}),
    "a hundred": ("POST", "", many(100), {}),
    "too many": ("POST", "", many(101), {}),
    "none": ("POST", "", {"items": []}, {}),
    "some that cannot be made": (
        "POST",
        "",
        {"items": [{}, {"context": {"tenant": "another"}}, {"context": {"": "x"}}]},
        {},
    ),
    "only what cannot be made": ("POST", "", {"items": [{"context": {"tenant": "another"}}]}, {}),
    "a context of another tenant": ("POST", "", {"context": {"tenant": "another"}}, {}),
    "a context that is none": ("POST", "", {"context": {"a": 1}}, {}),
    "an unknown field": ("POST", "", {"much": "x"}, {}),
    "a large body": ("POST", "", {"context": {"a": "b"}, "much": "x" * 70_000}, {}),
    "no body": ("POST", "", b"", {}),
    "a list": ("POST", "", b"[]", {}),
    "a name twice": ("POST", "", b'{"a": 1, "a": 2}', {}),
    "no UTF-8": ("POST", "", b"\xff", {}),
    "deep brackets": ("POST", "", b"[" * 10_000, {}),
    "another media type": ("POST", "", b"{}", {"content_type": "text/plain"}),
    "a length that is none": ("POST", "", b"{}", {"content_length": "twelve"}),
    "an unknown token": ("POST", "", b"{}", {"authorization": "Bearer " + "x" * 43}),
    "no token": ("POST", "", b"{}", {"authorization": ""}),
    "another scheme": ("POST", "", b"{}", {"authorization": "Basic eDp5"}),
    "open one": ("POST", "/decrypt", {"wrapped_key": BLOB}, {}),
    "open one with another context": ("POST", "/decrypt", {"wrapped_key": BLOB, "context": {"a": "b"}}, {}),
    "open many": ("POST", "/decrypt", many(20, wrapped_key=BLOB), {}),
    "open some": ("POST", "/decrypt", {"items": [{"wrapped_key": BLOB}, {"wrapped_key": "AAAA"}]}, {}),
    "open nothing": ("POST", "/decrypt", {}, {}),
    "open no base64": ("POST", "/decrypt", {"wrapped_key": "%%%"}, {}),
    "open no blob of ours": ("POST", "/decrypt", {"wrapped_key": "AAAA"}, {}),
    "move one": ("POST", "/rewrap", {"wrapped_key": BLOB}, {}),
    "move many": ("POST", "/rewrap", many(20, wrapped_key=BLOB), {}),
    "move some": ("POST", "/rewrap", {"items": [{"wrapped_key": BLOB}, {"wrapped_key": "AAAA"}]}, {}),
    "read it": ("GET", "", b"", {}),
    "read it without a token": ("GET", "", b"", {"authorization": ""}),
    "put it": ("PUT", "/decrypt", {"wrapped_key": BLOB}, {}),
    "what may I": ("OPTIONS", "/rewrap", b"", {}),
    "no such address": ("POST", "/nothing", b"{}", {}),
    "once": ("POST", "", {}, {"idempotency_key": "k-1"}),
    "once, many": ("POST", "", many(2, context={"a": "b"}), {"idempotency_key": "k-2"}),
    "open once": ("POST", "/decrypt", {"wrapped_key": BLOB}, {"idempotency_key": "k-3"}),
    "move once": ("POST", "/rewrap", {"wrapped_key": BLOB}, {"idempotency_key": "k-4"}),
    "a key of another form": ("POST", "", {}, {"idempotency_key": "k, 5"}),
}


@pytest.fixture
def one_moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Randomness that repeats itself, and a clock that stands."""
    monkeypatch.setattr(envelope, "secrets", SimpleNamespace(token_bytes=lambda count: b"r" * count))
    monkeypatch.setattr(cache, "random", SimpleNamespace(uniform=lambda _, most: most))
    with time_machine.travel(time.time(), tick=False):
        yield


@pytest.fixture
def server(
    active: KeyRegistration, service: ServiceAccount, monkeypatch: pytest.MonkeyPatch, one_moment: None, settings: Any
) -> Iterator[Server]:
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE")
    settings.SNAPSHOT_SECONDS = 60
    made = Server(tokened(service))
    yield made
    made.close()


def through_the_loop(server: Server, path: str, case: Case) -> Answer:
    method, below, body, headers = case
    return server.run(server.ask(path + below, [_bytes(body)], method=method, **_headers(server, headers)))


def through_django(server: Server, path: str, case: Case) -> Answer:
    method, below, body, headers = case
    meta = {
        (name if name.startswith("content_") else f"http_{name}").upper(): value
        for name, value in {"content_type": JSON, **_headers(server, headers)}.items()
    }
    given = Client().generic(method, path + below, _bytes(body), **meta)  # type: ignore[arg-type]
    return Answer(given.status_code, {name.lower(): value for name, value in given.headers.items()}, given.content)


def _headers(server: Server, more: dict[str, str]) -> dict[str, str]:
    return {"authorization": f"Bearer {server.token}", "x_request_id": "same-for-both"} | more


def _bytes(body: bytes | dict[str, Any]) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def seen(answer: Answer, case: Case) -> tuple[int, dict[str, str], bytes]:
    """Return what has to be equal; an id that we make up is put aside."""
    headers = {name: answer.headers[name] for name in NAMED if name in answer.headers}
    body = answer.body
    if case[3].get("x_request_id"):
        body = body.replace(headers.pop("x-request-id").encode(), b"")
    return answer.status, headers, body


def both(server: Server, path: str, case: Case, between: Callable[[], object] = lambda: None) -> Answer:
    """Send a case through both transports, and assert that both answer and record the same."""
    first = KeyUse.objects.count()
    loop = through_the_loop(server, path, case)
    rows_of_loop = list(KeyUse.objects.order_by("pk").values_list("operation", "count", "context_digest")[first:])
    between()
    django = through_django(server, path, case)
    rows = list(KeyUse.objects.order_by("pk").values_list("operation", "count", "context_digest")[first:])
    assert seen(loop, case) == seen(django, case)
    assert rows[len(rows_of_loop) :] == rows_of_loop
    return loop


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_warm", [True, False], ids=["in memory", "not in memory"])
def test_both_transports_answer_alike(server: Server, tenant: Tenant, name: str, is_warm: bool) -> None:
    path = f"/api/v1/tenants/{tenant.pk}/data-keys"
    method, below, body, headers = CASES[name]
    if isinstance(body, dict):
        blob = json.loads(through_the_loop(server, path, ("POST", "", {}, {})).body)["wrapped_key"]
        body = json.loads(json.dumps(body).replace(BLOB, blob))
    if not is_warm:
        datakeys.start_anew()

    def anew() -> None:
        IdempotentRequest.objects.all().delete()
        if not is_warm:
            datakeys.start_anew()

    answer = both(server, path, (method, below, body, headers), anew)
    assert (answer.status == 200) is (method == "POST" and name in GOOD), answer.body


# What is answered with a key, or with a batch whose items say what became of them.
GOOD = {
    "one",
    "one with a context",
    "one with an id of the caller's",
    "many",
    "a hundred",
    "some that cannot be made",
    "only what cannot be made",
    "open one",
    "open many",
    "open some",
    "move one",
    "move many",
    "move some",
    "once",
    "once, many",
    "open once",
    "move once",
}


@pytest.mark.parametrize("name", ["once", "once, many", "open once", "move once"])
def test_both_answer_a_repeat_alike(server: Server, tenant: Tenant, name: str) -> None:
    path = f"/api/v1/tenants/{tenant.pk}/data-keys"
    blob = json.loads(through_the_loop(server, path, ("POST", "", {}, {})).body)["wrapped_key"]
    method, below, body, headers = CASES[name]
    case = (method, below, json.loads(json.dumps(body).replace(BLOB, blob)), headers)
    first = through_the_loop(server, path, case)
    assert both(server, path, case).body == first.body
    assert both(server, path, ("POST", below, {"items": [{}]}, headers)).json()["code"] in {
        "idempotency_key_reused",
        "invalid_input",
    }


def test_both_refuse_alike(server: Server, tenant: Tenant, mallory: Any, settings: Any) -> None:
    path = f"/api/v1/tenants/{tenant.pk}/data-keys"
    theirs = f"/api/v1/tenants/{mallory.tenant_id}/data-keys"
    assert both(server, theirs, CASES["one"]).status == 404
    assert both(server, path.replace(str(tenant.pk), "nobody"), CASES["one"]).status == 404
    services.suspend(tenant, reason="drill", actor=audit.COMMAND)
    datakeys.here().snapshots.look()
    assert both(server, path, CASES["one"]).status == 423
    settings.DATA_KEYS_PER_TENANT = 1
    assert both(server, path, CASES["one"]).status == 429


@pytest.mark.parametrize(
    "table", ["tenants_accesstoken", "tenants_serviceaccount_tenants", "keys_branchkeyload", "keys_keyuse"]
)
def test_both_say_alike_that_the_database_cannot_be_used(server: Server, tenant: Tenant, table: str) -> None:
    """A table that is not there, as in a database that is half migrated, at each step of a request."""

    def anew() -> None:
        authentication.forget_all()
        access.forget_all()
        datakeys.start_anew()

    path = f"/api/v1/tenants/{tenant.pk}/data-keys"
    assert through_the_loop(server, path, CASES["one"]).status == 200
    anew()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
    try:
        answer = both(server, path, CASES["one"], anew) if table != "keys_keyuse" else both_refused(server, path, anew)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")
    assert (answer.status, answer.json()["code"]) == (503, "database_unavailable")


def both_refused(server: Server, path: str, anew: Callable[[], None]) -> Answer:
    """Send a case through both transports where no row can be counted."""
    loop = through_the_loop(server, path, CASES["one"])
    anew()
    assert seen(loop, CASES["one"]) == seen(through_django(server, path, CASES["one"]), CASES["one"])
    return loop
