"""The failure table of docs/runbook.md, row by row: cause, what the tenant sees, what services get, who is told, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Customer, acting
from django.contrib.auth.models import User
from django.test import Client

from byokportal.localaws.testing import LocalAws
from keys import datakeys, services
from keys.models import KeyRegistration
from support import follow
from support.models import Notice
from tenants.audit import Actor
from tenants.models import Member, OnboardingStep, ServiceAccount, Tenant

Probe = Callable[[KeyRegistration], KeyRegistration]
Deed = Callable[["World"], Any]


@dataclass
class World:
    """Everything that a cause may touch."""

    tenant: Tenant
    customer: Customer
    aws: LocalAws
    alice: Member
    sam: User
    registration: KeyRegistration

    def weather(self, fault: str, value: float | str | None = None, operation: str = "kms:*") -> None:
        self.aws.set_weather(fault, value, operation=operation)

    def key_policy(self, *statements: dict[str, Any]) -> None:
        admin = {"Sid": "Admin", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{self.customer.account}:root"}, "Action": ["kms:PutKeyPolicy", "kms:*Key*"], "Resource": "*"}  # fmt: skip
        policy = json.dumps(
            {"Version": "2012-10-17", "Statement": [{**admin, "Action": "kms:PutKeyPolicy"}, *statements]}
        )
        self.customer.kms.put_key_policy(KeyId=self.customer.key_arn, PolicyName="default", Policy=policy)

    def trust(self, text: str) -> None:
        self.customer.set_trust(text)


NOBODY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of the table: after `cause` a probe says `status` for `reason`; after `cure`, `probes` good ones end it (0: a person does)."""

    name: str
    cause: Deed
    status: str
    reason: str
    by: str
    whose_turn: str
    service_gets: int
    code: str
    step: int | None
    told: str
    cure: Deed
    probes: int


def fair(world: World) -> None:
    world.aws.weather.clear()


def restored_policy(world: World) -> None:
    world.key_policy(
        {"Sid": "All", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{world.customer.account}:root"}, "Action": "kms:*", "Resource": "*"},
        json.loads(services.document(world.tenant, "key-policy-statement")),
    )  # fmt: skip


KEY = {
    "status": "suspended",
    "by": "aws",
    "whose_turn": "tenant",
    "service_gets": 423,
    "told": "key-suspended",
    "probes": 2,
}
SILENT = {"status": "unreachable", "by": "", "whose_turn": "kore", "service_gets": 503, "code": "key_unreachable", "step": None, "told": "key-unreachable", "cure": fair, "probes": 1}  # fmt: skip

TABLE = [
    Row("disabled", lambda w: w.customer.kms.disable_key(KeyId=w.customer.key_arn), reason="kms_key_disabled", code="kms_key_disabled", step=1,
        cure=lambda w: w.customer.kms.enable_key(KeyId=w.customer.key_arn), **KEY),
    Row("deletion", lambda w: w.customer.kms.schedule_key_deletion(KeyId=w.customer.key_arn, PendingWindowInDays=7),
        reason="kms_key_pending_deletion", code="kms_key_pending_deletion", step=1,
        cure=lambda w: (w.customer.kms.cancel_key_deletion(KeyId=w.customer.key_arn), w.customer.kms.enable_key(KeyId=w.customer.key_arn)), **KEY),
    Row("material gone", lambda w: w.weather("key-state", "PendingImport", "*"), reason="kms_key_pending_import", code="kms_key_pending_import", step=1,
        cure=fair, **KEY),
    Row("key policy", lambda w: w.key_policy(), reason="kms_access_denied", code="kms_access_denied", step=3, cure=restored_policy, **KEY),
    Row("trust policy", lambda w: w.trust(NOBODY), reason="role_not_assumable", code="role_not_assumable", step=2,
        cure=lambda w: w.trust(services.document(w.tenant, "trust-policy")), **KEY),
    Row("tenant's button", lambda w: services.suspend(w.tenant, reason="drill", actor=acting(w.alice)), status="suspended", reason="drill",
        by="tenant", whose_turn="tenant", service_gets=423, code="suspended", step=None, told="key-suspended",
        cure=lambda w: services.resume(w.tenant, reason="over", actor=acting(w.alice)), probes=2),
    Row("our button", lambda w: services.suspend(w.tenant, reason="abuse", actor=Actor.staff(w.sam)), status="suspended", reason="abuse",
        by="kore", whose_turn="kore", service_gets=423, code="suspended", step=None, told="key-suspended",
        cure=lambda w: services.resume(w.tenant, reason="over", actor=Actor.staff(w.sam)), probes=2),
    Row("KMS throttles", lambda w: w.weather("throttling"), reason="aws_throttled", **SILENT),
    Row("STS throttles", lambda w: w.weather("throttling", operation="sts:AssumeRole"), reason="aws_throttled", **SILENT),
    Row("KMS 500", lambda w: w.weather("error", 500), reason="aws_unreachable", **SILENT),
    Row("KMS resets", lambda w: w.weather("reset"), reason="aws_unreachable", **SILENT),
    Row("key store away", lambda w: w.weather("key-state", "Unavailable", "*"), reason="aws_unreachable", **SILENT),
]  # fmt: skip


@pytest.fixture
def world(
    tenant: Tenant, customer: Customer, aws: LocalAws, alice: Member, sam: User, active: KeyRegistration
) -> World:
    return World(tenant, customer, aws, alice, sam, active)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_row(
    row: Row, world: World, service: ServiceAccount, probe_now: Probe, api_of: Callable[..., Client], settings: Any
) -> None:
    settings.MANY_DENIALS = 5
    tenant, registration = world.tenant, world.registration
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    row.cause(world)
    probe_now(registration)
    if row.status == "unreachable":  # a single silence is no news
        assert services.key_state(tenant).status == "active"
        probe_now(registration)
    state = services.key_state(tenant)
    assert (state.status, state.reason, state.suspended_by, state.whose_turn) == (
        row.status,
        row.reason,
        row.by,
        row.whose_turn,
    )

    answer = api_of(service).post(f"/api/v1/tenants/{tenant.pk}/data-keys", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (row.service_gets, row.code)
    assert answer.json()["retryable"] is (row.service_gets == 503)
    assert ("Retry-After" in answer) is (row.service_gets == 503)

    fallen = OnboardingStep.objects.filter(tenant=tenant, status=OnboardingStep.Status.FAILED).values_list(
        "number", flat=True
    )
    assert list(fallen) == ([row.step] if row.step else [])
    while follow.follow():
        pass
    told = Notice.objects.filter(template__in=["key-suspended", "key-unreachable", "incident-opened"])
    assert [(notice.template, notice.recipient) for notice in told] == [(row.told, world.alice.user.email)]

    for _ in range(3):  # as long as the cause is there nothing ends it
        probe_now(registration)
    assert services.key_state(tenant).status == row.status
    row.cure(world)
    if row.by in {"tenant", "kore"}:
        assert services.key_state(tenant).status == "unreachable"
    for number in range(row.probes):
        assert registration.status != "active", number
        probe_now(registration)
    assert registration.status == "active"
    assert (registration.reason, registration.suspended_by, registration.refused_since) == ("", "", None)
    assert not OnboardingStep.objects.filter(tenant=tenant, status=OnboardingStep.Status.FAILED).exists()
    assert len(datakeys.generate(tenant, [{}], caller="tests", request_id="r")) == 1
