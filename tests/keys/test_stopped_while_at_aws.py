"""A stop that comes while a request is at AWS: what the request brings back is not used (design.md 8)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from conftest import Customer, acting
from django.db import connection

from byokportal import clock
from byokportal.errors import DomainError
from byokportal.localaws.testing import LocalAws
from keys import branchkeys, datakeys, services
from keys.aws.kms import KmsKey
from keys.datakeys import Engine, NewDataKey
from keys.models import BranchKey, CacheDrop, KeyRegistration, KeyUse
from tenants import access, audit
from tenants.models import Member, ServiceAccount, Tenant

Meanwhile = Callable[[], Any]


def process() -> Engine:
    return Engine(now=time.time, monotonic=time.time)


@pytest.fixture
def while_at_aws(monkeypatch: pytest.MonkeyPatch) -> Callable[[Meanwhile], None]:
    """Return a function that lets something happen between KMS's next answer and its arrival here."""

    def once(meanwhile: Meanwhile) -> None:
        left, decrypt = [meanwhile], KmsKey.decrypt

        def slow(self: KmsKey, *args: Any, **kwargs: Any) -> Any:
            answer = decrypt(self, *args, **kwargs)
            if left:
                left.pop()()
            return answer

        monkeypatch.setattr(KmsKey, "decrypt", slow)

    return once


def one(engine: Engine, tenant: Tenant, made: NewDataKey, how: str) -> str:
    """Ask for a data key in one of the ways there are; return what came of it."""
    facts, item = {"caller": "tests", "request_id": "r"}, (made.wrapped_key, {"object": "1"})
    try:
        match how:
            case "generate":
                datakeys.generate(tenant, [{"object": "1"}], **facts, engine=engine)
            case "generate a batch":
                datakeys.generate(tenant, [{"object": "1"}] * 3, **facts, engine=engine)
            case "decrypt":
                (result,) = datakeys.open_wrapped(tenant, [item], **facts, engine=engine)
                return result.code if isinstance(result, DomainError) else "given out"
            case "decrypt a batch":
                results = datakeys.open_wrapped(tenant, [item, (b"no blob", {}), item], **facts, engine=engine)
                return "given out" if isinstance(results[0], datakeys.OpenedDataKey) else results[0].code
            case "rewrap":
                (moved,) = datakeys.rewrap(tenant, [item], **facts, engine=engine)
                return moved.code if isinstance(moved, DomainError) else "given out"
    except DomainError as error:
        return error.code
    return "given out"


WAYS = ["generate", "generate a batch", "decrypt", "decrypt a batch", "rewrap"]


@pytest.mark.parametrize("latency", [0, 300])
@pytest.mark.parametrize("how", WAYS)
def test_suspend(
    how: str,
    latency: int,
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    while_at_aws: Callable[[Meanwhile], None],
) -> None:
    services.set_latency(tenant, seconds=latency, actor=acting(alice))
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=process())
    engine, uses = process(), KeyUse.objects.count()
    while_at_aws(lambda: services.suspend(tenant, reason="x", actor=acting(alice)))
    assert one(engine, tenant, made, how) == "suspended"
    assert (len(engine.keys), KeyUse.objects.count()) == (0, uses)


@pytest.mark.parametrize("latency", [0, 300])
@pytest.mark.parametrize("how", WAYS)
def test_drop(
    how: str,
    latency: int,
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    aws: LocalAws,
    while_at_aws: Callable[[Meanwhile], None],
) -> None:
    services.set_latency(tenant, seconds=latency, actor=acting(alice))
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=process())
    dropped: list[int] = []

    def drop() -> None:
        services.drop_caches(tenant, reason="x", actor=acting(alice))
        dropped.append(len(aws.calls))

    while_at_aws(drop)
    assert one(process(), tenant, made, how) == "given out"
    assert [name for _, name, _ in aws.calls[dropped[0] :] if name == "Decrypt"], "it used what it had loaded before"


@pytest.mark.parametrize("latency", [0, 300])
@pytest.mark.parametrize("how", WAYS)
def test_a_denial_that_another_process_met(
    how: str,
    latency: int,
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    customer: Customer,
    while_at_aws: Callable[[Meanwhile], None],
) -> None:
    services.set_latency(tenant, seconds=latency, actor=acting(alice))
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=process())

    def denied() -> None:
        customer.kms.disable_key(KeyId=customer.key_arn)
        assert one(process(), tenant, made, "decrypt") == "kms_key_disabled"

    while_at_aws(denied)
    assert one(process(), tenant, made, how) == "kms_key_disabled"


@pytest.mark.parametrize("how", WAYS)
def test_a_drop_in_this_process_alone(
    how: str,
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    aws: LocalAws,
    while_at_aws: Callable[[Meanwhile], None],
) -> None:
    """Where nobody could tell whose doing a refusal is, this process drops its copies and no generation grows."""
    services.set_latency(tenant, seconds=0, actor=acting(alice))
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=process())
    engine, dropped = process(), []

    def drop() -> None:
        engine.keys.drop(tenant.pk)
        dropped.append(len(aws.calls))

    while_at_aws(drop)
    assert one(engine, tenant, made, how) == "given out"
    assert [name for _, name, _ in aws.calls[dropped[0] :] if name == "Decrypt"]


def test_the_second_of_two_branch_keys_takes_long(
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    while_at_aws: Callable[[Meanwhile], None],
    work: Callable[[], None],
) -> None:
    """The first is at hand already when the stop comes, and opens nothing either."""
    services.set_latency(tenant, seconds=0, actor=acting(alice))
    engine, facts = process(), {"caller": "tests", "request_id": "r"}
    (old,) = datakeys.generate(tenant, [{}], **facts, engine=engine)
    branchkeys.make(tenant, active, instead_of=BranchKey.objects.get(tenant=tenant, is_current=True))
    (new,) = datakeys.generate(tenant, [{}], **facts, engine=engine)
    calls: list[int] = []

    def at_the_second() -> None:
        calls.append(1)
        while_at_aws(lambda: services.suspend(tenant, reason="x", actor=acting(alice)))

    while_at_aws(at_the_second)
    with pytest.raises(DomainError) as told:
        datakeys.open_wrapped(tenant, [(old.wrapped_key, {}), (new.wrapped_key, {})], **facts, engine=engine)
    assert (told.value.code, len(calls)) == ("suspended", 1)


@pytest.mark.parametrize("how", ["decrypt", "rewrap"])
def test_a_branch_key_that_ends_while_another_is_loaded_is_not_used(
    how: str,
    tenant: Tenant,
    alice: Member,
    active: KeyRegistration,
    work: Callable[[], None],
    aws: LocalAws,
    while_at_aws: Callable[[Meanwhile], None],
) -> None:
    services.set_latency(tenant, seconds=10, actor=acting(alice))
    facts = {"caller": "tests", "request_id": "r"}
    (older,) = datakeys.generate(tenant, [{"object": "1"}], **facts, engine=process())
    services.rotate_branch_key(tenant, reason="tests", actor=acting(alice))
    work()
    began = datetime.now(UTC)
    with time_machine.travel(began, tick=False) as traveller:
        engine = process()
        (newer,) = datakeys.generate(tenant, [{"object": "1"}], **facts, engine=engine)
        while_at_aws(lambda: traveller.shift(timedelta(seconds=10)))
        aws.calls.clear()
        ask = {"decrypt": datakeys.open_wrapped, "rewrap": datakeys.rewrap}[how]
        results = ask(tenant, [(one.wrapped_key, {"object": "1"}) for one in (newer, older)], **facts, engine=engine)
        assert not [one for one in results if isinstance(one, DomainError)]
        until = [one.cache_until for one in results if isinstance(one, datakeys.OpenedDataKey)]
        assert all(at > datetime.now(UTC) for at in until)
    # The older one twice, since it ended when it came; the newer one again.
    assert [name for _, name, _ in aws.calls].count("Decrypt") == 3


def test_a_new_copy_in_the_background_is_dropped_with_the_others(
    tenant: Tenant, alice: Member, active: KeyRegistration, while_at_aws: Callable[[Meanwhile], None]
) -> None:
    engine = process()
    datakeys.generate(tenant, [{}], caller="tests", request_id="r", engine=engine)
    snapshot = engine.snapshots.of(tenant.pk)
    assert snapshot is not None
    assert snapshot.current is not None
    while_at_aws(lambda: services.suspend(tenant, reason="x", actor=acting(alice)))
    engine._refresh(snapshot, snapshot.current.id)
    assert one(engine, tenant, NewDataKey(b"", b"", None), "generate") == "suspended"  # type: ignore[arg-type]
    assert len(engine.keys) == 0


@pytest.mark.parametrize("latency", [0, 300])
def test_the_platforms_key(
    latency: int, tenant: Tenant, alice: Member, aws: LocalAws, settings: Any, while_at_aws: Callable[[Meanwhile], None]
) -> None:
    ours = aws.client(settings.AWS_ACCOUNT_ID, "kms", "eu-central-1")
    settings.PLATFORM_KEY_ARN = ours.create_key()["KeyMetadata"]["Arn"]
    services.set_latency(tenant, seconds=latency, actor=acting(alice))
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=process())
    dropped: list[int] = []

    def drop() -> None:
        services.drop_caches(tenant, reason="x", actor=acting(alice))
        dropped.append(len(aws.calls))

    while_at_aws(drop)
    assert one(process(), tenant, made, "decrypt") == "given out"
    assert [name for _, name, _ in aws.calls[dropped[0] :] if name == "Decrypt"]


@pytest.mark.parametrize(
    ("stop", "status", "code"),
    [
        (lambda tenant: services.suspend(tenant, reason="x", actor=audit.COMMAND), 423, "suspended"),
        (lambda tenant: services.drop_caches(tenant, reason="x", actor=audit.COMMAND), 503, "key_unreachable"),
    ],
)
def test_keeping_the_answer_for_a_repeat_takes_long(
    stop: Callable[[Tenant], object],
    status: int,
    code: str,
    tenant: Tenant,
    active: KeyRegistration,
    service: ServiceAccount,
    api_of: Callable[[ServiceAccount], Any],
) -> None:
    client, stopped = api_of(service), []

    def slow(execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("UPDATE") and "tenants_idempotentrequest" in sql and not stopped:
            stopped.append(1)
            stop(tenant)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(slow):
        answer = client.post(
            f"/api/v1/tenants/{tenant.pk}/data-keys",
            json.dumps({}),
            content_type="application/json",
            headers={"idempotency-key": "one"},
        )
    assert (stopped, answer.status_code, answer.json()["code"]) == ([1], status, code)


def test_a_generation_never_goes_back(tenant: Tenant, alice: Member, active: KeyRegistration, settings: Any) -> None:
    first = services.drop_caches(tenant, reason="x", actor=acting(alice)).generation
    assert abs(first / 1000 - time.time()) < 60
    Tenant.objects.filter(pk=tenant.pk).update(key_generation=3)  # restored from an old backup
    assert services.drop_caches(tenant, reason="x", actor=acting(alice)).generation >= first
    ahead = first + 10**9
    Tenant.objects.filter(pk=tenant.pk).update(key_generation=ahead)  # the database's clock was ahead once
    assert services.drop_caches(tenant, reason="x", actor=acting(alice)).generation == ahead + 1
    settings.CLOCK = "database"  # the same by the database itself
    assert services.drop_caches(tenant, reason="x", actor=acting(alice)).generation == ahead + 2
    Tenant.objects.filter(pk=tenant.pk).update(key_generation=3)
    assert abs(services.drop_caches(tenant, reason="x", actor=acting(alice)).generation / 1000 - time.time()) < 60


@pytest.mark.parametrize("wrong_by", [-180, -3 * 3600, 3 * 3600])
def test_suspend_on_a_machine_whose_clock_is_wrong(
    wrong_by: int, tenant: Tenant, alice: Member, active: KeyRegistration, settings: Any
) -> None:
    """180 s behind, the change was older than what other processes asked for: keys went out for five minutes more."""
    settings.CLOCK = "database"
    clock.forget()
    engine = Engine()
    (made,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r", engine=engine)
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=wrong_by)):
        services.suspend(tenant, reason="x", actor=acting(alice))
    assert one(engine, tenant, made, "decrypt") == "suspended"
    assert len(engine.keys) == 0
    drop = CacheDrop.objects.get(process=engine.snapshots.process)
    assert abs((drop.at - datetime.now(UTC)).total_seconds()) < 60
    clock.forget()


def test_a_service_that_loses_its_permission_while_aws_answers_gets_nothing(
    tenant: Tenant,
    active: KeyRegistration,
    service: ServiceAccount,
    api_of: Callable[[ServiceAccount], Any],
    while_at_aws: Callable[[Meanwhile], None],
) -> None:
    def take_away() -> None:
        ServiceAccount.objects.filter(pk=service.pk).update(scopes=["key:read"])
        access.forget_all()  # what is remembered for five seconds has run out meanwhile

    client, address = api_of(service), f"/api/v1/tenants/{tenant.pk}/data-keys"
    while_at_aws(take_away)
    answer = client.post(address, "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


def test_a_service_without_the_permission_asks_no_aws(
    tenant: Tenant,
    active: KeyRegistration,
    service: ServiceAccount,
    api_of: Callable[[ServiceAccount], Any],
    aws: LocalAws,
) -> None:
    ServiceAccount.objects.filter(pk=service.pk).update(scopes=["key:read"])
    service.refresh_from_db()
    client, calls = api_of(service), len(aws.calls)
    for path, body in (("", "{}"), ("/decrypt", '{"wrapped_key": "AA=="}'), ("/rewrap", '{"wrapped_key": "AA=="}')):
        answer = client.post(f"/api/v1/tenants/{tenant.pk}/data-keys{path}", body, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")
    assert (len(aws.calls), BranchKey.objects.count(), KeyUse.objects.count()) == (calls, 0, 0)
