"""Data keys with cached branch keys: how seldom AWS is asked, and that every stop gets through all the same."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from conftest import Customer, acting
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from byokportal import deadline
from byokportal.errors import DatabaseUnavailable, DomainError
from byokportal.localaws.testing import LocalAws
from keys import branchkeys, datakeys, errors, lifecycle, services
from keys.aws import sessions
from keys.datakeys import Engine, bulkhead
from keys.datakeys.ledger import links, recording
from keys.models import BranchKey, CacheDrop, KeyRegistration, KeyUse, RegistrationMove, ServingProcess
from tenants.models import Member, Tenant

Status = KeyRegistration.Status


def asked(aws: LocalAws) -> Counter[str]:
    return Counter(operation for _, operation, _ in aws.calls)


def generate(engine: Engine, tenant: Tenant, count: int = 1) -> list[datakeys.NewDataKey]:
    return datakeys.generate(tenant, [{"object": "1"}] * count, caller="tests", request_id="r", engine=engine)


def opened(engine: Engine, tenant: Tenant, made: datakeys.NewDataKey) -> str:
    (result,) = datakeys.open_wrapped(
        tenant, [(made.wrapped_key, {"object": "1"})], caller="tests", request_id="r", engine=engine
    )
    if isinstance(result, DomainError):
        return result.code
    assert result.plaintext == made.plaintext
    return "opened"


def tried(call: Callable[[], Any]) -> str:
    try:
        answer = call()
    except DomainError as error:
        return error.code
    return answer if isinstance(answer, str) else "made"


@pytest.fixture
def engine(active: KeyRegistration) -> Engine:
    return process()


def process() -> Engine:
    """Return the engine of a process of its own; both of its clocks travel with time_machine."""
    return Engine(now=time.time, monotonic=time.time)


# --- how seldom ---------------------------------------------------------------------------------------------------


def test_one_kms_call_a_lifetime_whatever_the_load(engine: Engine, tenant: Tenant, aws: LocalAws) -> None:
    made = generate(engine, tenant)[0]
    before = asked(aws)
    for _ in range(20):
        generate(engine, tenant, count=100)
        assert opened(engine, tenant, made) == "opened"
    assert asked(aws) == before
    assert (before["Decrypt"], engine.keys.take(made_by(made), tenant.pk, 0).uses) == (before["Decrypt"], 2022)


def made_by(made: datakeys.NewDataKey) -> Any:
    return datakeys.envelope.branch_key_id(made.wrapped_key)


def test_the_cache_ends_when_it_said(engine: Engine, tenant: Tenant, aws: LocalAws) -> None:
    began = datetime.now(UTC)
    made = generate(engine, tenant)[0]
    assert (made.cache_until - began).total_seconds() >= 270
    assert (made.cache_until - datetime.now(UTC)).total_seconds() <= 301
    aws.calls.clear()
    with time_machine.travel(made.cache_until, tick=False):
        generate(engine, tenant)
    assert asked(aws)["Decrypt"] == 1


def test_it_does_not_outlive_the_session_that_loaded_it(
    engine: Engine, tenant: Tenant, alice: Member, active: KeyRegistration
) -> None:
    services.set_latency(tenant, seconds=900, actor=acting(alice))
    generate(engine, tenant)
    with time_machine.travel(datetime.now(UTC).timestamp() + 600, tick=False):  # the session has 300 s left
        made = generate(process(), tenant)[0]
        assert (made.cache_until - datetime.now(UTC)).total_seconds() <= 300


def test_latency_0_asks_the_cmk_every_time(
    engine: Engine, tenant: Tenant, alice: Member, aws: LocalAws, customer: Customer
) -> None:
    services.set_latency(tenant, seconds=0, actor=acting(alice))
    made = generate(engine, tenant)[0]
    aws.calls.clear()
    for _ in range(3):
        generate(engine, tenant)
    assert asked(aws)["Decrypt"] == 3
    assert made.cache_until <= datetime.now(UTC)
    assert len(engine.keys) == 0
    customer.kms.disable_key(KeyId=customer.key_arn)
    assert opened(engine, tenant, made) == "kms_key_disabled"


def test_a_shorter_latency_counts_at_once(engine: Engine, tenant: Tenant, alice: Member) -> None:
    generate(engine, tenant)
    services.set_latency(tenant, seconds=10, actor=acting(alice))
    made = generate(engine, tenant)[0]
    assert (made.cache_until - datetime.now(UTC)).total_seconds() <= 10


def test_a_new_copy_is_fetched_before_the_old_one_ends_and_the_session_ahead_of_time(
    engine: Engine, tenant: Tenant, aws: LocalAws
) -> None:
    made = generate(engine, tenant)[0]
    jobs: list[datakeys.Job] = []
    engine._in_background = jobs.append
    start, aws_calls = datetime.now(UTC).timestamp(), aws.calls
    waited = 0
    aws_calls.clear()
    for second in range(0, 3600, 10):
        with time_machine.travel(start + second, tick=False):
            before = asked(aws)["Decrypt"]
            assert opened(engine, tenant, made) == "opened"
            waited += asked(aws)["Decrypt"] - before  # by the request itself
            for job in jobs:
                job()
            jobs.clear()
    assert waited == 0
    assert 12 <= asked(aws)["Decrypt"] <= 22  # an hour at 300 s, refreshed at 60 to 80 % of the lifetime
    assert asked(aws)["AssumeRole"] <= 2 * 5  # role and service role, once in each 840 s


# --- stops ----------------------------------------------------------------------------------------------------------


def test_suspend_reaches_every_process_and_each_says_what_it_dropped(
    engine: Engine, tenant: Tenant, alice: Member, active: KeyRegistration
) -> None:
    others = [process() for _ in range(2)]
    idle = process()
    made = generate(engine, tenant)[0]
    for one in others:
        assert opened(one, tenant, made) == "opened"
    copies = [one.keys._kept.peek(made_by(made)) for one in (engine, *others)]
    services.suspend(tenant, reason="audit", actor=acting(alice))
    for one in (engine, *others, idle):
        one.snapshots.look()
    assert [copy.secret.reveal() for copy in copies] == [bytes(32)] * 3  # gone before anybody asked
    assert {tried(lambda p=one: opened(p, tenant, made)) for one in (engine, *others, idle)} == {"suspended"}
    tenant.refresh_from_db()
    drops = CacheDrop.objects.filter(tenant=tenant)
    assert {drop.process_id for drop in drops} == {one.snapshots.process for one in (engine, *others)}
    assert {(drop.generation, drop.count) for drop in drops} == {(tenant.key_generation, 1)}
    move = RegistrationMove.objects.filter(tenant=tenant).last()
    assert move is not None
    assert all(one.seen_at >= move.at for one in ServingProcess.objects.all())


def test_two_changes_at_one_instant_are_two(
    engine: Engine, tenant: Tenant, alice: Member, settings: Any, active: KeyRegistration
) -> None:
    """Clocks are as fine as they are: the second of two changes may carry the time of the first."""
    settings.SNAPSHOT_SECONDS = 0.5
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        lifecycle.changed(tenant.pk)
        generate(engine, tenant)
        services.suspend(tenant, reason="audit", actor=acting(alice))
        clock.shift(1.1)
        assert tried(lambda: generate(engine, tenant)) == "suspended"


def test_drop_cached_keys_now(engine: Engine, tenant: Tenant, alice: Member, aws: LocalAws) -> None:
    generate(engine, tenant)
    services.drop_caches(tenant, reason="drill", actor=acting(alice))
    aws.calls.clear()
    generate(engine, tenant)
    assert asked(aws)["Decrypt"] == 1
    assert CacheDrop.objects.filter(tenant=tenant).count() == 1


def test_a_refusal_met_by_one_process_purges_all(
    engine: Engine, tenant: Tenant, customer: Customer, active: KeyRegistration
) -> None:
    other = process()
    made = generate(engine, tenant)[0]
    assert opened(other, tenant, made) == "opened"
    customer.kms.disable_key(KeyId=customer.key_arn)
    assert opened(other, tenant, made) == "opened"  # within the tenant's latency
    assert tried(lambda: generate(process(), tenant)) == "kms_key_disabled"
    for one in (engine, other):
        assert tried(lambda p=one: opened(p, tenant, made)) == "kms_key_disabled"
        assert len(one.keys) == 0


def test_a_refusal_of_one_branch_key_purges_the_tenants_others_at_once(
    engine: Engine, tenant: Tenant, customer: Customer, active: KeyRegistration
) -> None:
    made = generate(engine, tenant)[0]
    branchkeys.make(tenant, active, instead_of=BranchKey.objects.get())
    customer.kms.disable_key(KeyId=customer.key_arn)
    assert len(engine.keys) == 1
    assert tried(lambda: generate(engine, tenant)) == "kms_key_disabled"
    assert len(engine.keys) == 0  # before anybody looked
    assert tried(lambda: opened(engine, tenant, made)) == "kms_key_disabled"


def test_nothing_outlives_the_latency_after_the_key_was_disabled(
    engine: Engine, tenant: Tenant, customer: Customer
) -> None:
    made = generate(engine, tenant)[0]
    refused_at = datetime.now(UTC).timestamp()
    customer.kms.disable_key(KeyId=customer.key_arn)
    with time_machine.travel(refused_at + 300, tick=False):
        assert tried(lambda: opened(engine, tenant, made)) == "kms_key_disabled"


def test_a_background_refresh_that_is_refused_suspends(
    engine: Engine, tenant: Tenant, customer: Customer, active: KeyRegistration
) -> None:
    made = generate(engine, tenant)[0]
    customer.kms.disable_key(KeyId=customer.key_arn)
    with time_machine.travel(datetime.now(UTC).timestamp() + 245, tick=False):
        assert tried(lambda: opened(engine, tenant, made)) == "kms_key_disabled"  # in time, but it asks behind its back
        active.refresh_from_db()
        assert (active.status, active.suspended_by) == (Status.SUSPENDED, "aws")
        assert tried(lambda: opened(engine, tenant, made)) == "kms_key_disabled"


def test_our_own_refusal_purges_nothing_and_what_is_cached_runs_out(
    engine: Engine, tenant: Tenant, customer: Customer, active: KeyRegistration, aws: LocalAws
) -> None:
    made = generate(engine, tenant)[0]
    nobody = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [nobody]})
    canary = tenant.service_role.canary_role_arn
    aws.client(canary.split(":")[4], "iam", "us-east-1").update_assume_role_policy(
        RoleName=canary.rpartition("/")[2], PolicyDocument=trust
    )
    customer.set_trust(trust)
    sessions.forget_all()
    assert tried(lambda: generate(process(), tenant)) == "own_access_broken"
    active.refresh_from_db()
    assert active.status == Status.UNREACHABLE
    assert opened(engine, tenant, made) == "opened"
    assert tried(lambda: generate(engine, tenant)) == "key_unreachable"
    with time_machine.travel(made.cache_until, tick=False):
        assert opened(engine, tenant, made) == "own_access_broken"


# --- faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "value"), [("throttling", None), ("error", 500), ("error", 503), ("reset", None), ("timeout", 30)]
)
def test_under_faults_cached_tenants_are_served_and_others_told_to_come_back(
    engine: Engine,
    tenant: Tenant,
    aws: LocalAws,
    active: KeyRegistration,
    fault: str,
    value: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from keys.aws import hot

    monkeypatch.setattr(hot, "READ_TIMEOUT", 0.2)
    hot._forget_pools()
    made = generate(engine, tenant)[0]
    aws.set_fault(fault, value, operation="kms:*")
    for second in (1, 100, 250):
        with time_machine.travel(datetime.now(UTC).timestamp() + second, tick=False):
            assert opened(engine, tenant, made) == "opened"
            assert tried(lambda: generate(engine, tenant)) == "made"
    fresh = process()
    with pytest.raises((errors.AwsThrottled, errors.AwsUnreachable)) as told:
        generate(fresh, tenant)
    assert told.value.retryable
    assert told.value.retry_after
    active.refresh_from_db()
    assert active.status == Status.ACTIVE  # nothing says that it was taken back
    with time_machine.travel(made.cache_until, tick=False):
        assert opened(engine, tenant, made) in {"aws_throttled", "aws_unreachable"}  # no longer than it said
    hot._forget_pools()


def test_in_doubt_there_are_no_new_keys_but_what_is_cached_opens(
    engine: Engine, tenant: Tenant, active: KeyRegistration
) -> None:
    from tenants import audit

    made = generate(engine, tenant)[0]
    lifecycle.move(active, Status.UNREACHABLE, actor=audit.SYSTEM, reason="aws_unreachable")
    assert tried(lambda: generate(engine, tenant)) == "key_unreachable"
    assert opened(engine, tenant, made) == "opened"
    assert len(engine.keys) == 1  # a doubt drops nothing


def test_an_answer_that_nobody_knows_stops_new_keys(
    engine: Engine, tenant: Tenant, active: KeyRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keys.aws import faults

    made = generate(engine, tenant)[0]
    monkeypatch.setattr(faults, "KMS", {})
    monkeypatch.setattr(faults, "STATES", ())
    BranchKey.objects.filter(tenant=tenant).update(wrapped=b"x" * 60)
    lifecycle.changed(tenant.pk)
    assert tried(lambda: generate(process(), tenant)) == "aws_surprise"
    active.refresh_from_db()
    assert active.status == Status.UNREACHABLE
    assert tried(lambda: generate(engine, tenant)) == "key_unreachable"
    assert opened(engine, tenant, made) == "opened"


# --- the database ---------------------------------------------------------------------------------------------------


class DatabaseIsGone:
    def __call__(self, execute: Any, sql: str, params: Any, many: Any, context: Any) -> Any:
        raise OperationalError("the database is gone")


def test_without_the_database_knowledge_counts_five_seconds_and_then_no_key_leaves(
    engine: Engine, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    engine.snapshots._monotonic = lambda: now[0]
    generate(engine, tenant)
    with connection.execute_wrapper(DatabaseIsGone()):
        now[0] += 3.9
        assert engine.snapshots.of(tenant.pk) is not None
        now[0] += 0.2
        with pytest.raises(DatabaseUnavailable):
            engine.snapshots.of(tenant.pk)
        with pytest.raises(DatabaseUnavailable):
            generate(process(), tenant)
    generate(engine, tenant)


def test_waiting_for_what_the_thread_learns_is_waiting_for_the_database(engine: Engine) -> None:
    with deadline.at_most(0.05):
        with pytest.raises(DatabaseUnavailable):
            engine.snapshots._wait_for_news()
        assert deadline.left() == 0


def test_a_request_reads_no_row_but_writes_its_own(engine: Engine, tenant: Tenant, settings: Any) -> None:
    settings.SNAPSHOT_SECONDS = 60
    made = generate(engine, tenant)[0]
    with CaptureQueriesContext(connection) as queries:
        opened(engine, tenant, made)
    its_own = ("SAVEPOINT", "INTO keys_keyuse", "PRAGMA busy_timeout")
    assert not [query["sql"] for query in queries if not any(word in query["sql"] for word in its_own)]
    assert [use.operation for use in KeyUse.objects.order_by("id")] == ["generate", "decrypt"]


# --- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_concurrent_first_requests_ask_once(
    tenant: Tenant, active: KeyRegistration, aws: LocalAws, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This machine is slower than AWS, and a hundred threads write into one file of SQLite's.
    monkeypatch.setattr(bulkhead, "WAIT_AT_MOST", 30)
    monkeypatch.setattr(recording, "WAIT", 30.0)
    monkeypatch.setattr(links, "COMMIT", 30.0)
    settings.SNAPSHOT_SECONDS = 60
    made = generate(Engine(), tenant)[0]
    engine = Engine()
    sessions.forget_all()
    aws.calls.clear()
    gate = threading.Barrier(100)

    def first(number: int) -> str:
        gate.wait()
        try:
            return tried(lambda: generate(engine, tenant) if number % 2 else opened(engine, tenant, made))
        finally:
            connection.close()

    with ThreadPoolExecutor(100) as pool:
        assert set(pool.map(first, range(100))) == {"made", "opened"}
    assert asked(aws) == {"AssumeRole": 2, "Decrypt": 1}


@pytest.mark.django_db(transaction=True)
def test_the_thread_that_looks_notices_a_stop_by_itself(
    tenant: Tenant, alice: Member, active: KeyRegistration, settings: Any
) -> None:
    settings.SNAPSHOT_SECONDS, settings.DATA_KEY_THREADS = 0.05, True
    engine = Engine()
    generate(engine, tenant)
    assert len(engine.keys) == 1
    services.suspend(tenant, reason="audit", actor=acting(alice))
    deadline = time.monotonic() + 60  # only so that a failure ends
    while len(engine.keys) or not CacheDrop.objects.filter(process=engine.snapshots.process).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert tried(lambda: generate(engine, tenant)) == "suspended"
    engine.snapshots.stop()
