"""Each unwrap of a branch key by the KMS leaves a row that says where and by which call; a use of a key names it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import REGION, Customer, acting
from django.db import connection
from django.test import Client

from byokportal.errors import DatabaseUnavailable
from byokportal.localaws.testing import LocalAws
from keys import datakeys, errors, lifecycle, services
from keys.aws import sessions
from keys.datakeys import ledger
from keys.models import BranchKey, BranchKeyLoad, KeyRegistration, KeyUse
from tenants.models import Member, ServiceAccount, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _the_first_branch_key(tenant: Tenant, active: KeyRegistration) -> None:
    """Make it, and forget the plaintext."""
    generate(tenant)
    cold()


def cold() -> None:
    datakeys.start_anew()


def generate(tenant: Tenant, count: int = 1) -> list[datakeys.NewDataKey]:
    return datakeys.generate(tenant, [{"a": "b"}] * count, caller="tests", request_id="r")


def loads() -> list[BranchKeyLoad]:
    """Return the loads after the first one."""
    return list(BranchKeyLoad.objects.order_by("at"))[1:]


def uses() -> list[Any]:
    """Return what each use after the first one names."""
    return list(KeyUse.objects.order_by("pk").values_list("load", flat=True))[1:]


def test_a_thousand_uses_name_the_one_load_that_came_before_them(tenant: Tenant, active: KeyRegistration) -> None:
    for _ in range(1_000):
        generate(tenant)
    (load,) = loads()
    assert uses() == [load.pk] * 1_000
    assert (load.tenant, load.branch_key, load.data_scope) == (tenant, BranchKey.objects.get(), "default")
    assert (load.process, load.region) == (datakeys.here().snapshots.process, REGION)
    assert load.session_name == sessions.session_name("data-keys", str(tenant.pk))


def test_the_customer_finds_it_in_cloudtrail(tenant: Tenant, customer: Customer, aws: LocalAws) -> None:
    generate(tenant)
    (load,) = loads()
    events = aws.client(customer.account, "cloudtrail", REGION).lookup_events()["Events"]
    said = [json.loads(event["CloudTrailEvent"]) for event in events if event["EventName"] == "Decrypt"]
    (event,) = [one for one in said if one["requestID"] == load.aws_request_id]
    assert event["userIdentity"]["arn"].rpartition("/")[2] == load.session_name
    assert event["awsRegion"] == load.region


def test_a_latency_of_0_leaves_one_for_each_request(tenant: Tenant, alice: Member) -> None:
    services.set_latency(tenant, seconds=0, actor=acting(alice))
    for _ in range(3):
        generate(tenant, count=5)
    assert len(loads()) == 3
    assert uses() == [load.pk for load in loads()]
    assert len({load.aws_request_id for load in loads()}) == 3


def test_opening_and_moving_name_the_load_of_what_opened(
    tenant: Tenant, active: KeyRegistration, api_of: Callable[[ServiceAccount], Client], service: ServiceAccount
) -> None:
    old = generate(tenant)[0].wrapped_key
    BranchKey.objects.update(is_current=False)
    lifecycle.changed(tenant.pk)
    cold()
    api = api_of(service)
    path, items = (
        f"/api/v1/tenants/{tenant.pk}/data-keys",
        {"items": [{"wrapped_key": base64.b64encode(old).decode(), "context": {"a": "b"}}]},
    )

    def ask(operation: str, body: object) -> None:
        cold()
        assert api.post(f"{path}{operation}", body, content_type="application/json").status_code == 200

    before = len(uses())
    ask("/decrypt", items)
    ask("/rewrap", items)
    ask("", {"context": {}})
    named = [BranchKeyLoad.objects.get(pk=load).branch_key for load in uses()[before:]]
    first, second = BranchKey.objects.order_by("created_at")
    assert named == [first, first, second]
    assert len(set(uses()[before:])) == 3


def test_a_refusal_leaves_none(tenant: Tenant, customer: Customer) -> None:
    customer.kms.disable_key(KeyId=customer.key_arn)
    with pytest.raises(errors.KeyDisabled):
        generate(tenant)
    assert (loads(), uses()) == ([], [])


@contextmanager
def without_the_table() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE keys_branchkeyload RENAME COLUMN session_name TO gone")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE keys_branchkeyload RENAME COLUMN gone TO session_name")


@pytest.mark.django_db(transaction=True)
def test_no_key_leaves_where_its_load_cannot_be_written(
    tenant: Tenant, api_of: Callable[[ServiceAccount], Client], service: ServiceAccount
) -> None:
    api = api_of(service)
    with without_the_table():
        with pytest.raises(DatabaseUnavailable):
            generate(tenant)
        assert len(datakeys.here().keys) == 0
        answer = api.post(f"/api/v1/tenants/{tenant.pk}/data-keys", {}, content_type="application/json")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert uses() == []
    assert KeyRegistration.objects.get().status == "active"  # nobody blames the tenant's key for it
    assert generate(tenant)


def test_a_use_from_before_loads_were_written_names_none(tenant: Tenant) -> None:
    ledger.record(ledger.use(tenant.pk, KeyUse.Operation.GENERATE, [{}], caller="tests", request_id="r"))
    assert uses() == [None]
