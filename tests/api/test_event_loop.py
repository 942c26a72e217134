"""Data keys on the server's event loop: what need not wait is answered there, what has to wait in threads,
and no key without a row."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import silence
import time_machine
from asgi_server import Answer, Server, tokened
from django.core.exceptions import SynchronousOnlyOperation
from django.test import Client

from byokportal import clock
from keys import datakeys, services
from keys.datakeys import ledger
from keys.datakeys.http import event_loop, operations, priority
from keys.datakeys.ledger import recording
from keys.models import KeyRegistration, KeyUse
from tenants import access, audit, authentication, limits
from tenants.models import AccessToken, ServiceAccount, Tenant

pytestmark = pytest.mark.django_db(transaction=True)
JSON = "application/json"
ApiOf = Callable[[ServiceAccount], Client]


@pytest.fixture
def server(
    active: KeyRegistration, service: ServiceAccount, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[Server]:
    monkeypatch.delenv("DJANGO_ALLOW_ASYNC_UNSAFE")  # set for tests in a browser
    settings.SNAPSHOT_SECONDS = 60  # no thread looks for changes here: a request would after twice that
    made = Server(tokened(service))
    yield made
    made.close()


@pytest.fixture
def path(tenant: Tenant) -> str:
    return f"/api/v1/tenants/{tenant.pk}/data-keys"


@pytest.fixture
def warm(server: Server, path: str) -> Server:
    """The server after its first request, which looked everything up in a thread."""
    assert server.post(path).status == 200
    assert server.handed == [path]
    server.handed.clear()
    return server


def test_what_is_remembered_is_answered_on_the_loop_with_its_row_committed(warm: Server, path: str) -> None:
    made = warm.post(path, {"context": {"object": "1"}})
    assert made.status == 200
    assert made.headers["cache-control"] == "no-store"
    assert made.headers["content-length"] == str(len(made.body))
    opened = warm.post(f"{path}/decrypt", {"wrapped_key": made.json()["wrapped_key"], "context": {"object": "1"}})
    assert opened.json()["plaintext"] == made.json()["plaintext"]
    assert warm.handed == []
    uses = KeyUse.objects.order_by("id").values_list("operation", "count", "request_id")[1:]
    assert list(uses) == [("generate", 1, made.headers["x-request-id"]), ("decrypt", 1, opened.headers["x-request-id"])]


def test_many_at_once_have_a_row_each(warm: Server, path: str) -> None:
    async def all_at_once() -> list[Answer]:
        return await asyncio.gather(*(warm.ask(path, [b"{}"]) for _ in range(100)))

    answers = warm.run(all_at_once())
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json()["plaintext"] for answer in answers}) == 100
    assert set(KeyUse.objects.values_list("request_id", flat=True)) >= {a.headers["x-request-id"] for a in answers}


def test_what_may_take_long_is_answered_in_a_thread(warm: Server, path: str) -> None:
    requests: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        ("", {"context": {"a": "b"}, "much": "x" * event_loop.SMALL}, {}),
        ("", {}, {"idempotency_key": "k"}),
    ]
    for below, body, headers in requests:
        assert warm.post(path + below, body, **headers).status < 500
    assert warm.handed == [path + below for below, _, _ in requests]


def test_bulk_has_its_turn_on_the_loop_and_those_behind_it_are_told_to_come_again(
    warm: Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm.data_keys, "_bulk_queue", priority.BulkQueue(waiting=2))
    blob = warm.post(path).json()["wrapped_key"]

    async def all_at_once() -> list[Answer]:
        bulk = [warm.ask(path, [json.dumps({"items": [{}] * 11}).encode()]) for _ in range(4)]
        bulk += [warm.ask(f"{path}/rewrap", [json.dumps({"wrapped_key": blob}).encode()])]
        return await asyncio.gather(*bulk, *(warm.ask(path, [b"{}"]) for _ in range(5)))

    answers = warm.run(all_at_once())
    statuses = [answer.status for answer in answers]
    assert statuses[5:] == [200] * 5
    assert set(statuses[:5]) == {200, 429}
    assert {a.json()["code"] for a in answers if a.status == 429} == {"rate_limited"}
    assert sum(len(a.json()["items"]) for a in answers[:4] if a.status == 200) == 11 * statuses[:4].count(200)
    assert warm.handed == []


def test_what_the_full_queue_refuses_costs_its_caller_no_share(
    warm: Server, path: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm.data_keys, "_bulk_queue", priority.BulkQueue(waiting=0))
    settings.DATA_KEYS_PER_CALLER = 20
    with time_machine.travel(datetime.now(UTC), tick=False):
        limits.forget_all()
        assert warm.post(path, {"items": [{}] * 20}).status == 429
        assert [warm.post(path).status for _ in range(21)] == [200] * 20 + [429]


@pytest.mark.parametrize("is_busy", [True, False])
def test_bulk_pauses_while_somebody_waits_for_one_key(is_busy: bool) -> None:
    now, slept = [0.0], []

    async def bulk(queue: priority.BulkQueue) -> None:
        async with queue.head():
            now[0] += 0.003

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    async def three() -> None:
        queue = priority.BulkQueue(waiting=3, monotonic=lambda: now[0])
        with queue.interactive() if is_busy else contextlib.nullcontext():
            for _ in range(3):
                await bulk(queue)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(priority.asyncio, "sleep", sleep)
        asyncio.run(three())
    assert [one for one in slept if one] == ([0.003 * priority.PAUSE] * 2 if is_busy else [])


def test_a_refused_bulk_call_leaves_the_queue_to_the_next(warm: Server, path: str, settings: Any) -> None:
    settings.DATA_KEYS_PER_CALLER = 10
    with time_machine.travel(datetime.now(UTC), tick=False):
        limits.forget_all()
        assert [warm.post(path, {"items": [{}] * 11}).status for _ in range(3)] == [200, 429, 429]
    settings.DATA_KEYS_PER_CALLER = 1_000
    limits.forget_all()
    assert warm.post(path, {"items": [{}] * 11}).status == 200


def test_a_tenant_that_asks_its_key_every_time_waits_in_a_thread(warm: Server, path: str, tenant: Tenant) -> None:
    services.set_latency(tenant, seconds=0, actor=audit.COMMAND)
    datakeys.here().snapshots.look()  # what a thread does twice a second
    for _ in range(2):
        assert warm.post(path).status == 200
    assert len(warm.handed) == 2


def test_a_request_begun_twice_counts_nobody_in_for_ever(
    warm: Server, path: str, tenant: Tenant, work: Callable[[], None]
) -> None:
    before = warm.post(path).json()["wrapped_key"]
    services.rotate_branch_key(tenant, reason="tests", actor=audit.COMMAND)
    work()
    datakeys.here().snapshots.look()
    after = warm.post(path).json()["wrapped_key"]
    keys = datakeys.here().keys
    old, new = keys._kept.values()
    keys._forget(old)
    warm.handed.clear()
    opened = warm.post(f"{path}/decrypt", {"items": [{"wrapped_key": after}, {"wrapped_key": before}]})
    assert all("plaintext" in item for item in opened.json()["items"])
    assert len(warm.handed) == 1  # the old one had to be loaded, after the new one was taken
    keys.drop(tenant.pk)
    assert not any(new.secret.reveal())


def test_a_suspended_key_is_refused_the_same_way(warm: Server, path: str, tenant: Tenant) -> None:
    services.suspend(tenant, reason="drill", actor=audit.COMMAND)
    datakeys.here().snapshots.look()
    assert (warm.post(path).status, warm.post(path).json()["code"]) == (423, "suspended")


def test_threads_that_all_hang_hold_up_nobody_who_need_not_wait(warm: Server, path: str) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.sleep(3600)

    warm.threads = hang
    free = threading.Event()
    for _ in range(8):
        warm.data_keys._threads.submit(free.wait)
    try:
        assert warm.post(path).status == 200
    finally:
        free.set()


def test_a_locked_table_is_a_503_within_half_a_second_and_no_key(warm: Server, path: str) -> None:
    with silence.a_locked_table():
        refused = warm.post(path, x_request_id="asked-in-vain-1")  # it comes while the table is still locked
    assert (refused.status, refused.json()["code"], refused.headers["retry-after"]) == (
        503,
        "database_unavailable",
        "2",
    )
    assert (refused.headers["x-request-id"], refused.headers["x-content-type-options"]) == (
        "asked-in-vain-1",
        "nosniff",
    )
    assert b"plaintext" not in refused.body
    assert recording.WAIT < 0.5
    time.sleep(0.1)
    assert warm.post(path).status == 200


def test_a_database_that_falls_silent_is_a_503_within_half_a_second_and_comes_back(server: Server, path: str) -> None:
    with silence.wire_to_the_database() as wire:
        for _ in range(2):
            assert server.post(path).status == 200
        uses = KeyUse.objects.count()
        wire.silent.set()
        for _ in range(3):
            assert server.post(path).json()["code"] == "database_unavailable"
        wire.silent.clear()
        time.sleep(recording.WAIT)
        assert server.post(path).status == 200
        assert KeyUse.objects.count() >= uses + 1
        server.run(recording.close())


def test_a_connection_that_the_database_closes_costs_no_answer(warm: Server, path: str) -> None:
    assert warm.post(path).status == 200
    silence.end_other_connections()
    time.sleep(0.2)
    assert warm.post(path).status == 200


def test_a_row_that_would_block_the_loop_is_refused_there(server: Server, tenant: Tenant) -> None:
    async def record() -> None:
        ledger.record(ledger.use(tenant.pk, KeyUse.Operation.GENERATE, [{}], caller="tests", request_id="r"))

    with pytest.raises(SynchronousOnlyOperation):
        server.run(record())
    assert not KeyUse.objects.filter(request_id="r").exists()


def test_another_tenant_does_not_exist(warm: Server, mallory: Any) -> None:
    theirs = f"/api/v1/tenants/{mallory.tenant_id}/data-keys"
    assert (warm.post(theirs).status, warm.post(theirs).json()["code"]) == (404, "not_found")


def test_a_body_may_come_in_pieces(warm: Server, path: str) -> None:
    assert warm.run(warm.ask(path, [b"{", b"", b"}"])).status == 200
    assert warm.handed == []


def test_a_body_in_chunks_is_read_in_a_thread_too(server: Server, path: str) -> None:
    asked = server.ask(path, [b"{", b"}"], content_length="", transfer_encoding="chunked")
    assert server.run(asked).status == 200
    assert server.handed == [path]


def test_a_body_longer_than_any_address_takes_is_refused_before_a_thread_sees_it(warm: Server, path: str) -> None:
    for address in (path, "/accounts/login/"):
        refused = warm.post(address, b"x" * (256 * 1024 + 1))
        assert (refused.status, refused.json()["code"], refused.headers["connection"]) == (
            413,
            "body_too_large",
            "close",
        )
    assert warm.handed == []


def test_a_thread_gets_on_when_the_caller_has_left(warm: Server) -> None:
    async def leave() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_: Any) -> None:
            raise RuntimeError("the transport is closed")

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/healthz",
            "raw_path": b"/healthz",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "server": ("testserver", 80),
            "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"testserver")],
        }
        await warm.application(scope, receive, send)

    for _ in range(8):  # twice as many as there are threads
        warm.run(leave())
    assert len(warm.handed) == 8


def test_a_request_begun_twice_pays_once(warm: Server, path: str, tenant: Tenant) -> None:
    services.set_latency(tenant, seconds=0, actor=audit.COMMAND)
    datakeys.here().snapshots.look()
    with time_machine.travel(time.time() + 10, tick=False):
        for _ in range(5):
            assert warm.post(path).status == 200
        assert limits._counts.get(f"tenant:{tenant.pk}").used == 5


def test_a_caller_who_leaves_in_the_middle_gets_no_key(warm: Server, path: str) -> None:
    uses = KeyUse.objects.count()
    assert warm.run(warm.ask(path, [b"{", None])).status == 0
    assert (KeyUse.objects.count(), warm.handed) == (uses, [])


def test_a_body_that_does_not_come_takes_no_thread(warm: Server, path: str) -> None:
    waiting = asyncio.run_coroutine_threadsafe(warm.ask(path, [b"{"], never_ends="1"), warm.loop)
    assert warm.post(path).status == 200
    assert (waiting.done(), warm.handed) == (False, [])
    waiting.cancel()


def test_a_bug_is_a_500_that_says_nothing(warm: Server, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr(operations, "prepare", broken)
    answer = warm.post(path)
    assert (answer.status, answer.json()["code"]) == (500, "bug")
    assert answer.headers["cache-control"] == "no-store"
    assert b"secret detail" not in answer.body


def test_date_and_cache_until_are_of_one_clock_on_the_loop_and_in_threads_whatever_the_machine_says(
    server: Server, path: str, settings: Any
) -> None:
    """A service counts from `Date` to `cache_until`;
    a machine that is three hours slow would let it keep keys for three hours."""
    settings.CLOCK = "database"
    clock.forget()
    datakeys.start_anew()
    server.post(path)
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=3)):
        for more in ({}, {"idempotency_key": "k"}):  # at once, and in a thread
            answer = server.post(path, **more)
            assert answer.status == 200, answer.body
            until = datetime.fromisoformat(answer.json()["cache_until"])
            assert 0 < (until - parsedate_to_datetime(answer.headers["date"])).total_seconds() <= 301
    clock.forget()


@pytest.mark.parametrize("end", ["token", "tenant"])
def test_who_lost_its_token_or_tenant_while_aws_was_slow_gets_no_key(
    warm: Server, path: str, tenant: Tenant, service: ServiceAccount, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    made = operations.prepare

    def slow(admitted: operations.Admitted, *, may_wait: bool = True) -> Any:
        """AWS answers after what was remembered of the caller has ended."""
        if end == "token":
            AccessToken.objects.filter(service_account=service).update(revoked_at=datetime.now(UTC))
        else:
            service.tenants.remove(tenant)
        authentication.forget_all()
        access.forget_all()
        return made(admitted, may_wait=True)

    monkeypatch.setattr(operations, "prepare", lambda admitted, *, may_wait=True: slow(admitted) if may_wait else None)
    answer = warm.post(path)
    assert answer.status == (401 if end == "token" else 404)
    assert b"plaintext" not in answer.body
