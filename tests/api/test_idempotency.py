"""Idempotency-Key: fifty equal requests at once have one effect, killed workers leave nothing stuck,
a repeat asks anew."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from byokportal.errors import NotFound
from keys import lifecycle, services
from keys.datakeys import snapshots
from keys.datakeys.http import operations
from keys.datakeys.ledger import links, recording
from keys.models import BranchKey, KeyRegistration, KeyUse
from support.models import Ticket
from tenants import access, audit, authentication, idempotency, roles
from tenants.errors import RequestInProgress
from tenants.models import IdempotentRequest, Member, ServiceAccount, Tenant

JSON = "application/json"
ApiOf = Callable[[Member | ServiceAccount], Client]


def at_once(number: int, do: Callable[[], Any]) -> list[Any]:
    """Do it in so many threads, each with its own connection, and return what came of it."""

    def closing(_: int) -> Any:
        try:
            return do()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(closing, range(number)))


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty threads at once on a busy machine may keep the database from answering in half a second:
    here that is not the question."""
    for module, name in ((operations, "DATABASE"), (recording, "WAIT"), (links, "COMMIT"), (snapshots, "WAIT")):
        monkeypatch.setattr(module, name, 30.0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_patient")
def test_fifty_equal_requests_at_once_make_one_key(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    answers = at_once(50, lambda: api.post(path, {}, content_type=JSON, headers={"idempotency-key": "k"}))
    assert set(Counter(answer.status_code for answer in answers)) <= {200, 409}
    for refused in (answer for answer in answers if answer.status_code == 409):
        assert (refused.json()["code"], refused["Retry-After"]) == ("request_in_progress", "1")
    keys = {(a.json()["plaintext"], a.json()["wrapped_key"]) for a in answers if a.status_code == 200}
    assert len(keys) == 1
    assert KeyUse.objects.filter(operation="generate").count() == 1
    later = api.post(path, {}, content_type=JSON, headers={"idempotency-key": "k"})
    assert {(later.json()["plaintext"], later.json()["wrapped_key"])} == keys


@pytest.mark.django_db(transaction=True)
def test_fifty_equal_tickets_at_once_are_one(tenant: Tenant, alice: Member, api_of: ApiOf) -> None:
    api, path = api_of(alice), f"/api/v1/tenants/{tenant.pk}/tickets"
    ticket = {"topic": "question", "subject": "Once", "text": "Only once."}
    answers = at_once(50, lambda: api.post(path, ticket, content_type=JSON, headers={"idempotency-key": "k"}))
    assert set(Counter(answer.status_code for answer in answers)) <= {201, 409}
    assert Ticket.objects.of(tenant).filter(subject="Once").count() == 1


@pytest.mark.django_db
def test_a_key_belongs_to_one_caller_and_one_tenant(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    from tenants import services as tenant_services

    other, _ = tenant_services.create_service_account("o", tenants=[tenant], scopes=roles.SCOPES, actor=audit.COMMAND)
    path = f"/api/v1/tenants/{tenant.pk}/data-keys"
    mine, theirs = (
        api_of(account).post(path, {}, content_type=JSON, headers={"idempotency-key": "k"}).json()["wrapped_key"]
        for account in (service, other)
    )
    assert mine != theirs


@pytest.mark.django_db
def test_a_repeat_is_refused_once_the_key_was_taken_back_and_what_is_stored_holds_no_plaintext(
    tenant: Tenant, alice: Member, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    body = {"items": [{}, {"context": {"": "an empty name"}}, {"context": {"n": "2"}}]}
    first = api.post(path, body, content_type=JSON, headers={"idempotency-key": "k"})
    assert [set(item) for item in first.json()["items"]][1] == {"problem"}
    again = api.post(path, body, content_type=JSON, headers={"idempotency-key": "k"})
    assert [item.get("plaintext") for item in again.json()["items"]] == [
        item.get("plaintext") for item in first.json()["items"]
    ]
    stored = json.dumps(IdempotentRequest.objects.get().answer)
    assert all(item["plaintext"] not in stored for item in first.json()["items"] if "plaintext" in item)
    services.suspend(tenant, reason="stop", actor=audit.Actor.of_member(alice, via="api"))
    refused = api.post(path, body, content_type=JSON, headers={"idempotency-key": "k"})
    assert (refused.status_code, refused.json()["code"]) == (423, "suspended")
    assert KeyUse.objects.count() == 2


def _data_keys(api: Client, tenant: Tenant) -> Callable[..., Any]:
    def post(path: str, body: Any, key: str = "") -> Any:
        headers = {"idempotency-key": key} if key else {}
        return api.post(f"/api/v1/tenants/{tenant.pk}/data-keys{path}", body, content_type=JSON, headers=headers)

    return post


@pytest.mark.django_db
def test_opening_twice_under_one_key_asks_twice_and_keeps_nothing(
    tenant: Tenant, alice: Member, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    post = _data_keys(api_of(service), tenant)
    made = post("", {}).json()
    body = {"wrapped_key": made["wrapped_key"]}
    for times in (1, 2):
        assert post("/decrypt", body, "k").json()["plaintext"] == made["plaintext"]
        assert KeyUse.objects.filter(operation="decrypt").count() == times
    assert (IdempotentRequest.objects.get().status, IdempotentRequest.objects.get().answer) == (200, {})
    other = post("/decrypt", {"items": [body]}, "k")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    services.suspend(tenant, reason="stop", actor=audit.Actor.of_member(alice, via="api"))
    refused = post("/decrypt", body, "k")
    assert (refused.status_code, refused.json()["code"]) == (423, "suspended")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/decrypt", "/rewrap"])
def test_what_failed_leaves_its_key_free(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf, path: str
) -> None:
    post = _data_keys(api_of(service), tenant)
    right = {"wrapped_key": post("", {}).json()["wrapped_key"]}
    assert post(path, {"wrapped_key": "AQID"}, "k").status_code == 422
    assert not IdempotentRequest.objects.exists()
    assert post(path, right, "k").status_code == 200
    mixed = {"items": [{"wrapped_key": "AQID"}, right]}
    for _ in range(2):
        bad, good = post(path, mixed, "batch").json()["items"]
        assert bad["problem"]["code"] == "wrapped_key_unreadable"
        assert "problem" not in good


@pytest.mark.django_db
def test_rewrapping_twice_under_one_key_answers_the_same_keys_as_long_as_the_tenant_serves(
    tenant: Tenant, alice: Member, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    def rotate() -> None:
        BranchKey.objects.of(tenant).update(is_current=False)
        lifecycle.changed(tenant.pk)

    post = _data_keys(api_of(service), tenant)
    made = [post("", {"context": {"n": n}}).json() for n in "12"]
    body = {
        "items": [{"wrapped_key": one["wrapped_key"], "context": {"n": n}} for n, one in zip("12", made, strict=True)]
    }
    rotate()
    first = post("/rewrap", body, "k").json()
    assert first["items"] != [{"wrapped_key": one["wrapped_key"]} for one in made]
    rotate()
    assert post("/rewrap", body, "k").json() == first
    assert KeyUse.objects.filter(operation="rewrap").count() == 2
    assert post("/rewrap", body).json() != first
    opened = post(
        "/decrypt", {"items": [one | {"context": {"n": n}} for n, one in zip("12", first["items"], strict=True)]}
    )
    assert [one["plaintext"] for one in opened.json()["items"]] == [one["plaintext"] for one in made]
    services.suspend(tenant, reason="stop", actor=audit.Actor.of_member(alice, via="api"))
    refused = post("/rewrap", body, "k")
    assert (refused.status_code, refused.json()["code"]) == (423, "suspended")


@pytest.mark.django_db
def test_a_request_without_a_key_asks_nothing_about_keys(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    post = _data_keys(api_of(service), tenant)
    body = {"wrapped_key": post("", {}).json()["wrapped_key"]}
    for path in ("/decrypt", "/rewrap"):
        with CaptureQueriesContext(connection) as queries:
            assert post(path, body).status_code == 200
        assert not [query["sql"] for query in queries if "idempotent" in query["sql"]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_one_transaction", [True, False])
def test_a_worker_killed_in_the_middle_leaves_no_key_stuck_for_ever(tenant: Tenant, in_one_transaction: bool) -> None:
    facts = {"key": "k", "caller": "c", "tenant": tenant, "method": "POST", "path": "/", "body": b"{}"}
    facts["in_one_transaction"] = in_one_transaction
    done = idempotency.Answer(201, {"id": "1"})

    def killed() -> idempotency.Answer:
        audit.record("tenants.token.minted", tenant=tenant, actor=audit.SYSTEM, target=tenant, name="half")
        os.kill(os.getpid(), signal.SIGKILL)
        return done

    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            idempotency.once(killed, **facts)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert tenant.events.filter(name="tenants.token.minted").exists() is not in_one_transaction
    with pytest.raises(RequestInProgress):
        idempotency.once(lambda: done, **facts)
    with time_machine.travel(timezone.now() + idempotency.STUCK + timedelta(seconds=1)):
        assert idempotency.once(lambda: done, **facts) == done
        assert idempotency.once(lambda: done, **facts).is_repeat


@pytest.mark.django_db
def test_one_that_was_taken_for_killed_has_no_say_any_more(tenant: Tenant) -> None:
    facts = {"key": "k", "caller": "c", "tenant": tenant, "method": "POST", "path": "/", "body": b"{}"}
    later = timezone.now() + idempotency.STUCK + timedelta(seconds=1)

    def slow() -> idempotency.Answer:
        with time_machine.travel(later):
            assert idempotency.once(
                lambda: idempotency.Answer(200, {"by": "second"}), **facts, in_one_transaction=False
            )
        return idempotency.Answer(200, {"by": "first"})

    with pytest.raises(RequestInProgress):
        idempotency.once(slow, **facts, in_one_transaction=False)
    assert IdempotentRequest.objects.get().answer == {"by": "second"}


@pytest.mark.django_db(transaction=True)
def test_what_it_did_is_undone_when_it_was_taken_for_killed(tenant: Tenant) -> None:
    facts = {"key": "k", "caller": "c", "tenant": tenant, "method": "POST", "path": "/", "body": b"{}"}

    def slow() -> idempotency.Answer:
        audit.record("tenants.token.minted", tenant=tenant, actor=audit.SYSTEM, target=tenant, name="late")
        IdempotentRequest.objects.all().delete()  # as the next request with this key does after STUCK
        return idempotency.Answer(201, {"by": "first"})

    with pytest.raises(RequestInProgress):
        idempotency.once(slow, **facts, in_one_transaction=True)
    assert not tenant.events.filter(name="tenants.token.minted").exists()


@pytest.mark.django_db(transaction=True)
def test_an_answer_that_was_committed_stays_whatever_fails_after_it(tenant: Tenant) -> None:
    facts = {"key": "k", "caller": "c", "tenant": tenant, "method": "POST", "path": "/", "body": b"{}"}
    facts["in_one_transaction"] = True

    def lost() -> None:
        raise ConnectionError("the answer of the commit was lost")

    def do() -> idempotency.Answer:
        audit.record("tenants.token.minted", tenant=tenant, actor=audit.SYSTEM, target=tenant, name="once")
        transaction.on_commit(lost)
        return idempotency.Answer(201, {"by": "first"})

    with pytest.raises(ConnectionError):
        idempotency.once(do, **facts)
    again = idempotency.once(do, **facts)
    assert (again.kept, again.is_repeat) == ({"by": "first"}, True)
    assert tenant.events.filter(name="tenants.token.minted").count() == 1


@pytest.mark.django_db
def test_what_fails_in_the_middle_leaves_neither_row_nor_claim(tenant: Tenant) -> None:
    facts = {"key": "k", "caller": "c", "tenant": tenant, "method": "POST", "path": "/", "body": b"{}"}

    def fails() -> idempotency.Answer:
        audit.record("tenants.token.minted", tenant=tenant, actor=audit.SYSTEM, target=tenant, name="half")
        raise NotFound

    with pytest.raises(NotFound):
        idempotency.once(fails, **facts, in_one_transaction=True)
    assert not tenant.events.filter(name="tenants.token.minted").exists()
    assert not IdempotentRequest.objects.exists()


@pytest.mark.django_db
def test_one_caller_may_use_one_key_for_each_of_its_tenants(tenant: Tenant, mallory: Member) -> None:
    """A stored answer is looked up with its tenant: the request is the same to the letter."""
    facts = {"key": "k", "caller": "c", "method": "POST", "path": "/", "body": b"{}", "in_one_transaction": True}
    mine = idempotency.once(lambda: idempotency.Answer(201, {"of": "mine"}), **facts, tenant=tenant)
    theirs = idempotency.once(lambda: idempotency.Answer(201, {"of": "theirs"}), **facts, tenant=mallory.tenant)
    assert (mine.kept, theirs.kept, theirs.is_repeat) == ({"of": "mine"}, {"of": "theirs"}, False)
    again = idempotency.once(lambda: idempotency.Answer(201, {}), **facts, tenant=mallory.tenant)
    assert (again.kept, again.is_repeat) == ({"of": "theirs"}, True)


@pytest.mark.django_db
@pytest.mark.parametrize("joined", ["one,two", "one, two", "one,", ",", "", "one,one"])
def test_two_keys_are_none(tenant: Tenant, alice: Member, api_of: ApiOf, joined: str) -> None:
    """Servers join two headers of one name by a comma (RFC 9110, 5.2)."""
    said = {"topic": "question", "subject": "s", "text": "t"}
    path = f"/api/v1/tenants/{tenant.pk}/tickets"
    answer = api_of(alice).post(path, said, content_type=JSON, headers={"idempotency-key": joined})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")
    assert not Ticket.objects.exists()


@pytest.mark.django_db
def test_after_a_day_a_key_may_be_used_again(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    path = f"/api/v1/tenants/{tenant.pk}/data-keys"
    api_of(service).post(path, {}, content_type=JSON, headers={"idempotency-key": "k"})
    IdempotentRequest.objects.update(created_at=timezone.now() - idempotency.LASTS - timedelta(seconds=1))
    body = {"context": {"another": "body"}}
    assert api_of(service).post(path, body, content_type=JSON, headers={"idempotency-key": "k"}).status_code == 200


def test_a_token_and_a_tenant_are_forgotten_within_five_seconds(
    tenant: Tenant, active: KeyRegistration, service: ServiceAccount, api_of: ApiOf
) -> None:
    api, path = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    assert api.post(path, {}, content_type=JSON).status_code == 200
    service.tenants.clear()
    access.forget_all()  # as 5 seconds would
    assert api.post(path, {}, content_type=JSON).status_code == 404
    service.tokens.update(revoked_at=timezone.now())
    authentication.forget_all()
    assert api.post(path, {}, content_type=JSON).status_code == 401
