"""What a data key costs in process, how seldom AWS is asked for it, and what ten thousand cached tenants weigh."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

from tests.bench.figure import Figure

ROUNDS, IN_A_ROUND = 5, 1_000
MILLION = int(os.environ.get("BENCH_MILLION", "1000000"))
FIRST = 1_000
WEB_THREADS, SECONDS, PACE = 32, 4, 200  # requests a second
HANGS = 0.6  # seconds: longer than keys.datakeys.bulkhead lets anybody but a tenth of the threads wait
TENANTS, CLIENTS = 10_000, 50
PEER = Path(os.environ.get("BENCH_PYTHON", ".venv-bench/bin/python"))
CONTEXT = {"object": "invoice-17"}


def measure() -> Iterator[Figure]:
    """Yield the rows of issue 5 that need no web server."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from byokportal.localaws.testing import LocalAws

    call_command("migrate", verbosity=0)
    settings.SNAPSHOT_SECONDS, settings.DATA_KEY_THREADS = 0.5, True
    with LocalAws(var_dir=settings.VAR_DIR) as aws:
        tenant = _tenant_in_service()
        yield from _speed(aws, tenant)
        yield from _beside_a_hanging_tenant(aws, tenant)
        yield from _calls(aws, tenant)
    yield from _memory()


def _tenant_in_service() -> Any:
    """Return a tenant with its key in service, by the commands that play the customer."""
    from tenants.models import Tenant
    from tests.bench import prepare

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        prepare.main()
    return Tenant.objects.get(pk=json.loads(printed.getvalue())["tenant"])


# --- speed ----------------------------------------------------------------------------------------------------------


def _one(engine: Any, tenant: Any, encoded: bytes) -> None:
    """Everything of a generate and a decrypt but their rows: where the tenant stands, the branch key, wrap, open."""
    from keys.datakeys import envelope

    (made,) = engine.generate(tenant.pk, [encoded]).items
    (opened,) = engine.open_wrapped(tenant.pk, [envelope.sealed(made.wrapped_key, encoded)]).items
    assert opened.plaintext == made.plaintext


def _speed(aws: Any, tenant: Any) -> Iterator[Figure]:
    from django.conf import settings

    from keys import datakeys
    from keys.datakeys import envelope

    engine, encoded = datakeys.here(), envelope.encode_context(str(tenant.pk), CONTEXT)
    account = aws.accounts[settings.AWS_ACCOUNT_ID]
    key_arn = aws.client(settings.AWS_ACCOUNT_ID, "kms", "eu-central-1").create_key()["KeyMetadata"]["Arn"]
    environment = {
        "AWS_ENDPOINT_URL_KMS": aws.endpoint,
        "AWS_ACCESS_KEY_ID": account["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": account["secret_access_key"],
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    peer = subprocess.Popen(
        [str(PEER if PEER.exists() else sys.executable), str(Path(__file__).with_name("esdk.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert peer.stdin is not None
    assert peer.stdout is not None

    def ask(line: str) -> str:
        assert peer.stdin is not None
        assert peer.stdout is not None
        peer.stdin.write(line + "\n")
        peer.stdin.flush()
        return peer.stdout.readline()

    try:
        version = json.loads(ask(json.dumps({"environment": environment, "key_arn": key_arn})))["version"]
        theirs, ours = [], []
        ask("20")
        _one(engine, tenant, encoded)
        for _ in range(ROUNDS):
            theirs.append(float(ask("100")) / 100)
            began = time.perf_counter()
            for _ in range(IN_A_ROUND):
                _one(engine, tenant, encoded)
            ours.append((time.perf_counter() - began) / IN_A_ROUND)
    finally:
        peer.kill()
    us, them = statistics.median(ours), statistics.median(theirs)
    yield Figure(
        f"wrap and open a data key ({us * 1e6:.0f} µs); aws-encryption-sdk {version}: {them * 1e6:.0f} µs",
        them / us,
        "times",
        25,
        at_least=True,
    )


# --- a tenant whose AWS hangs ----------------------------------------------------------------------------------------


def _hanging(aws: Any, beside: Any) -> Any:
    """Return a tenant in service whose AWS never answers; nothing of it is cached."""
    from keys.models import BranchKey, KeyRegistration
    from tenants.models import Tenant

    account = "222233334444"
    tenant = Tenant.objects.create(name="Sick", service_role=beside.service_role)
    registration = KeyRegistration.objects.create(
        tenant=tenant,
        status="active",
        activated_at=datetime.now(UTC),
        role_claim=f"{account}/x",
        role_arn=f"arn:aws:iam::{account}:role/x",
        key_arn=f"arn:aws:kms:eu-central-1:{account}:key/{uuid.uuid4()}",
    )
    BranchKey.objects.create(tenant=tenant, registration=registration, key_arn=registration.key_arn, wrapped=b"x" * 184)
    aws.set_fault("timeout", 30, account=account)
    return tenant


def _times(engine: Any, well: Any, sick: Any | None) -> tuple[list[float], int]:
    """Return how long a cached tenant's requests took, and how often a request of the sick one held a thread for long.

    Requests come at a steady pace to as many threads as a web process has, and wait for a free one.
    """
    from django.db import connection

    from byokportal.errors import DomainError
    from keys import datakeys
    from keys.datakeys import envelope

    encoded, took, most = envelope.encode_context(str(well.pk), CONTEXT), [], [0]

    def serve(came: float) -> None:
        _one(engine, well, encoded)
        took.append(time.perf_counter() - came)

    def serve_another() -> None:
        _one(engine, well, encoded)

    def try_sick() -> None:
        began = time.perf_counter()
        try:
            datakeys.generate(sick, [CONTEXT], caller="bench", request_id="bench", engine=engine)
        except DomainError:
            pass
        finally:
            if time.perf_counter() - began > HANGS:
                most[0] += 1
            connection.close()

    with ThreadPoolExecutor(WEB_THREADS) as threads:
        begin = time.perf_counter()
        for number in range(SECONDS * PACE):
            due = begin + number / PACE
            time.sleep(max(0.0, due - time.perf_counter()))
            threads.submit(serve, time.perf_counter())
            if number % 5 == 0:  # as many requests in both runs
                threads.submit(try_sick if sick is not None else serve_another)
    return took, most[0]


def _beside_a_hanging_tenant(aws: Any, tenant: Any) -> Iterator[Figure]:
    from keys import datakeys

    engine = datakeys.here()
    sick = _hanging(aws, tenant)
    engine.snapshots.of(sick.pk)
    alone: list[float] = []
    beside: list[float] = []
    longer = 0
    for _ in range(ROUNDS):
        alone += _times(engine, tenant, None)[0]
        times, count = _times(engine, tenant, sick)
        beside += times
        longer += count
    aws.faults.clear()
    us, them = (statistics.quantiles(times, n=100)[98] for times in (beside, alone))
    yield Figure(
        f"p99 beside a tenant whose AWS hangs ({us * 1e3:.1f} ms, {longer} waits beyond {HANGS} s)",
        us / them,
        "times",
        1.5,
    )


# --- calls ----------------------------------------------------------------------------------------------------------


def _asked(aws: Any) -> Counter[str]:
    return Counter(operation for _, operation, _ in aws.calls)


def _calls(aws: Any, tenant: Any) -> Iterator[Figure]:
    from django.db import connection

    from keys import datakeys
    from keys.aws import sessions
    from keys.datakeys import envelope

    encoded = envelope.encode_context(str(tenant.pk), CONTEXT)
    wall, monotonic = time.time(), time.monotonic()
    held = datakeys.Engine(now=lambda: wall, monotonic=lambda: monotonic)
    held.snapshots.stop()
    aws.calls.clear()
    for _ in range(MILLION):
        _one(held, tenant, encoded)
    yield Figure(
        f"KMS calls for {MILLION:,} generate and decrypt within a lifetime", _asked(aws)["Decrypt"], "calls", 1
    )

    engine = datakeys.Engine()
    sessions.forget_all()
    aws.calls.clear()
    gate, served = threading.Barrier(FIRST), []
    threading.stack_size(256 * 1024)

    def first() -> None:
        gate.wait()
        datakeys.generate(tenant, [CONTEXT], caller="bench", request_id="bench", engine=engine)
        served.append(1)
        connection.close()

    threads = [threading.Thread(target=first) for _ in range(FIRST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    threading.stack_size(0)
    asked = _asked(aws)
    yield Figure(f"{FIRST:,} first requests at once that were served", len(served), "requests", FIRST, at_least=True)
    yield Figure("… the KMS calls that they cost", asked["Decrypt"], "calls", 1)
    yield Figure("… and AssumeRole calls (our service role, the tenant's role)", asked["AssumeRole"], "calls", 2)


# --- memory ---------------------------------------------------------------------------------------------------------


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _memory() -> Iterator[Figure]:
    """Weigh in a process of its own: what other rows left behind would be used up first."""
    weighed = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_data_keys_in_process"], check=True, capture_output=True, text=True
    )
    ours, clients = json.loads(weighed.stdout.splitlines()[-1])
    yield Figure(f"memory of {TENANTS:,} cached tenants, sessions included", ours / 2**20, "MiB", 64)
    yield Figure(
        f"… and a boto3 client each ({clients / CLIENTS / 2**20:.2f} MiB) beside it",
        clients / CLIENTS * TENANTS / ours,
        "times",
        100,
        at_least=True,
    )


def _weigh() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from keys import datakeys
    from keys.aws import sessions
    from keys.datakeys import envelope, tenant_snapshot

    engine = datakeys.Engine()
    before = _resident()
    for number in range(TENANTS):
        _cache_one(engine, number, tenant_snapshot, sessions, envelope)
    ours = _resident() - before
    assert len(engine.keys) == TENANTS

    print(json.dumps([ours, _weigh_clients()]))


def _weigh_clients() -> int:
    """Return the bytes of `CLIENTS` boto3 clients that have called once:
    TLS context, trusted authorities, one connection each."""
    import boto3
    from botocore.httpsession import get_cert_path

    stub = subprocess.Popen([sys.executable, "-m", "tests.bench.tls_stub"], stdout=subprocess.PIPE, text=True)
    try:
        assert stub.stdout is not None
        said = json.loads(stub.stdout.readline())
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as trusted:
            trusted.write(Path(get_cert_path(True)).read_text() + "\n" + said["certificate"])
            trusted.flush()
            session = boto3.Session(region_name="eu-central-1", aws_access_key_id="AKIA", aws_secret_access_key="x")
            kept: list[Any] = []

            def add() -> None:
                client: Any = session.client(
                    "kms", endpoint_url=f"https://127.0.0.1:{said['port']}", verify=trusted.name
                )
                client.describe_key(KeyId="k")
                kept.append(client)

            add()
            before = _resident()
            for _ in range(CLIENTS):
                add()
            return _resident() - before
    finally:
        stub.kill()


def _cache_one(engine: Any, number: int, tenant_snapshot: Any, sessions: Any, envelope: Any) -> None:
    """Let a process hold one tenant as after its first request: snapshot, branch key, session; sizes as AWS's."""
    from keys.aws.clients import Credentials

    tenant, key_id, registration = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    account = f"{number:012}"
    role_arn = f"arn:aws:iam::{account}:role/AIforWorkByokAccessRole"
    key_arn = f"arn:aws:kms:eu-central-1:{account}:key/{uuid.uuid4()}"
    external_id = "byok-" + os.urandom(32).hex()[:43]
    row = tenant_snapshot.WrappedBranchKey(key_id, os.urandom(184), key_arn, registration, role_arn)
    copy = tenant_snapshot.Snapshot(
        tenant,
        datetime.now(UTC),
        time.monotonic(),
        0,
        300,
        external_id,
        "arn:aws:iam::999900001111:role/byok-service-1",
        registration,
        "active",
        "",
        "",
        datetime.now(UTC),
        role_arn,
        key_arn,
        row,
    )
    engine.snapshots._copies.put(tenant, copy)
    engine.snapshots._generations[tenant] = 0
    session = Credentials(
        "ASIA" + os.urandom(8).hex().upper(),
        os.urandom(20).hex(),
        os.urandom(600).hex(),
        datetime.now(UTC) + timedelta(seconds=900),
        "AROA" + account,
        str(uuid.uuid4()),
    )
    of_the_role = (
        "tenant",
        "arn:aws:iam::999900001111:role/byok-service-1",
        role_arn,
        external_id,
        "data-keys",
        key_arn,
    )
    sessions._cache.put(of_the_role, session)
    engine.keys.put(
        key_id,
        tenant,
        0,
        envelope.Secret(os.urandom(32)),
        began=engine.keys.start(),
        lasts=300,
        session_ends=time.time() + 900,
    )


if __name__ == "__main__":
    os.environ.setdefault("VAR_DIR", tempfile.mkdtemp(prefix="byok-bench-"))
    _weigh()
