"""Measure in this process, against the database and the stub of its environment:
a sweep, and what a client per tenant would take."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import django
from botocore.config import Config

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from byokportal.celery import stay_on_one_core  # noqa: E402
from keys import health  # noqa: E402
from keys.aws import clients, sessions  # noqa: E402
from keys.models import BranchKey, KeyHealth, KeyRegistration  # noqa: E402
from tenants.models import ServiceRole, Tenant  # noqa: E402

REGION = "eu-central-1"
THREADS = 32  # of the pool that each tenant's own client works in: more of them only wait for the interpreter


def prepare(count: int) -> ServiceRole:
    """Make so many tenants in service, each with a branch key,
    behind a service role of their own that the stub answers for."""
    name = "byok-service-of-the-sweep"
    role = ServiceRole.objects.create(name=name, arn=f"arn:aws:iam::999900001111:role/{name}", unique_id="AROASWEEP")
    now = timezone.now()
    tenants = Tenant.objects.bulk_create(
        [Tenant(name=f"t{number}", service_role=role) for number in range(count)], batch_size=1_000
    )
    registrations = KeyRegistration.objects.bulk_create(
        [
            KeyRegistration(
                tenant=tenant,
                status="active",
                activated_at=now,
                role_claim=f"claim-{number}",
                key_arn=f"arn:aws:kms:{REGION}:111122223333:key/{uuid.uuid4()}",
                role_arn=f"arn:aws:iam::111122223333:role/r{number}",
            )
            for number, tenant in enumerate(tenants)
        ],
        batch_size=1_000,
    )
    KeyHealth.objects.bulk_create(
        [
            KeyHealth(
                tenant_id=one.tenant_id,
                registration=one,
                region=REGION,
                trust_looked_at=now,
                key_facts={"state": "Enabled", "origin": "AWS_KMS"},
            )
            for one in registrations
        ],
        batch_size=1_000,
    )
    BranchKey.objects.bulk_create(
        [
            BranchKey(tenant_id=one.tenant_id, registration=one, key_arn=one.key_arn, wrapped=bytes(184))
            for one in registrations
        ],
        batch_size=1_000,
    )
    accounts = {
        account: {"access_key_id": "a", "secret_access_key": "s"}
        for account in (settings.AWS_ACCOUNT_ID, settings.CANARY_ACCOUNT_ID)
    }
    settings.LOCALAWS_FILE.write_text(json.dumps({"version": 1, "endpoint": os.environ["STUB"], "accounts": accounts}))
    # Becoming a service role goes through boto3, which in local mode trusts no certificate of ours;
    # the sweep starts after it.
    sessions._forget_those_of_another_local_aws()  # reading it for the first time empties the cache
    ours = clients.Credentials("a", "s", "t", datetime.now(UTC) + timedelta(hours=1), role.unique_id)
    sessions._cache.put(("service", role.arn, REGION), ours)
    return role


def due() -> None:
    KeyHealth.objects.filter(tenant__service_role__unique_id="AROASWEEP").update(
        next_probe_at=timezone.now() - timedelta(seconds=1), probe_claimed_at=None
    )


def sweep(count: int) -> float:
    """Probe every tenant once; return tenants a second."""
    due()
    began, done = time.perf_counter(), 0
    while done < count:
        asked = health.sweep()
        assert asked, "nothing is due any more"
        done += asked
    took = time.perf_counter() - began
    silent = KeyHealth.objects.exclude(good_probes__gte=1, probe_claimed_at=None, registration__status="active")
    assert not silent.exists(), set(silent.values_list("registration__status", "registration__reason"))
    return count / took


def client_per_tenant(count: int) -> float:
    """Do the same for some tenants with a boto3 client each in a thread pool; return tenants a second."""
    config = Config(
        connect_timeout=3,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=THREADS,
    )
    options: dict[str, Any] = {
        "region_name": REGION,
        "endpoint_url": os.environ["STUB"],
        "config": config,
        "verify": os.environ["AWS_CA_BUNDLE"],
    }
    session: Any = boto3.session.Session()  # one for all: each alone parses the service models anew, 40 ms
    sts = session.client("sts", aws_access_key_id="a", aws_secret_access_key="s", **options)
    # creating clients in a shared session is not thread-safe (boto3 guide, "Multithreading")
    creating = threading.Lock()
    ids = list(KeyRegistration.objects.values_list("pk", flat=True)[:count])

    def one(pk: uuid.UUID) -> None:
        found = KeyHealth.objects.select_related("registration__tenant").get(registration=pk)
        row = found.registration
        branch_key = row.branch_keys.order_by("-created_at").first()
        assert branch_key is not None
        got = sts.assume_role(
            RoleArn=row.role_arn, RoleSessionName="probe", ExternalId=row.tenant.external_id, DurationSeconds=900
        )["Credentials"]
        with creating:
            kms = session.client(
                "kms",
                aws_access_key_id=got["AccessKeyId"],
                aws_secret_access_key=got["SecretAccessKey"],
                aws_session_token=got["SessionToken"],
                **options,
            )
        kms.describe_key(KeyId=row.key_arn)
        kms.decrypt(
            KeyId=row.key_arn,
            CiphertextBlob=bytes(branch_key.wrapped),
            EncryptionContext={"tenant": str(row.tenant_id)},
        )
        found.good_probes += 1
        found.last_probe_at, found.next_probe_at = timezone.now(), timezone.now() + timedelta(seconds=300)
        found.save()

    def last() -> None:
        connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        list(pool.map(one, ids))
        took = time.perf_counter() - began
        list(pool.map(lambda _: last(), range(THREADS)))
    return count / took


if __name__ == "__main__":
    stay_on_one_core()  # as a worker's processes do; what it is compared with runs in the same process
    total, some = int(sys.argv[1]), int(sys.argv[2])
    call_command("migrate", verbosity=0)
    prepare(total)
    health.sweep(64)  # connections, models of services
    # Before and after, so that a machine that is busy with something else for a while is so for both.
    # CPU time is told beside it.
    cpu = [time.process_time()]
    before = client_per_tenant(some // 2)
    cpu.append(time.process_time())
    swept = sweep(total)
    cpu.append(time.process_time())
    after = client_per_tenant(some // 2)
    cpu.append(time.process_time())
    each = (cpu[1] - cpu[0] + cpu[3] - cpu[2]) / (some // 2 * 2)
    found = {
        "sweep": swept,
        "client_per_tenant": (before + after) / 2,
        "cpu": (cpu[2] - cpu[1]) / total,
        "cpu_client_per_tenant": each,
    }
    print(json.dumps(found))
