"""The failure table of docs/runbook.md, row by row:
cause, what the tenant sees, what services get, who is told, how it ends.

Rows in which AWS says no to the tenant, and rows in which nobody can tell: of these also what a process gets that
holds the branch key, and one that has just started. `make test` runs the silences of QUICK alone, the
rest of them is slow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.config import Config
from conftest import Customer, acting, acting_staff, health_of
from django.contrib.auth.models import User
from django.test import Client

from byokportal.localaws.testing import LocalAws
from keys import datakeys, services
from keys.aws import clients, hot, sessions
from keys.models import KeyRegistration, KeyUse, RegistrationMove
from support import follow
from support.models import Notice
from tenants.models import Member, OnboardingStep, ServiceAccount, Tenant

Probe = Callable[[KeyRegistration], KeyRegistration]
Operation = Callable[["World"], Any]
OURS = "999900001111"
JSON = "application/json"


@dataclass
class World:
    """Everything that a cause may touch."""

    tenant: Tenant
    customer: Customer
    aws: LocalAws
    alice: Member
    sam: User
    registration: KeyRegistration
    lost: Any = None  # what `fair` puts back

    def faults(self, fault: str, value: float | str | None = None, operation: str = "kms:*") -> None:
        self.aws.set_fault(fault, value, operation=operation)

    def key_policy(self, *statements: dict[str, Any]) -> None:
        admin = {
            "Sid": "Admin",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{self.customer.account}:root"},
            "Action": ["kms:PutKeyPolicy", "kms:*Key*"],
            "Resource": "*",
        }
        policy = json.dumps(
            {"Version": "2012-10-17", "Statement": [{**admin, "Action": "kms:PutKeyPolicy"}, *statements]}
        )
        self.customer.kms.put_key_policy(KeyId=self.customer.key_arn, PolicyName="default", Policy=policy)

    def trust(self, text: str) -> None:
        self.customer.set_trust(text)

    def lose_our_user(self) -> None:
        """Our base principal is deleted: AWS does not know its access key any more."""
        self.lost = self.aws.gate.state.admins.pop(OURS)

    def lose_our_secret(self) -> None:
        """The secret that we were given is not the one of our access key."""
        self.lost = self.aws.gate.state.admins[OURS]
        self.aws.gate.state.admins[OURS] = replace(self.lost, secret="another")


NOBODY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
)


@dataclass(frozen=True)
class Row:
    """One row of the table: after `cause` a probe says `status` for `reason`;
    after `cure`, `probes` good ones end it (0: a person does)."""

    name: str
    cause: Operation
    status: str
    reason: str
    by: str
    whose_turn: str
    service_gets: int
    code: str
    step: int | None
    told: str
    cure: Operation
    probes: int
    looks: int = 1  # that it takes until it counts: a single silence is no news
    uncached: tuple[int, str] = (503, "")  # what a process gets that has to ask AWS; without a code it is the reason


def fair(world: World) -> None:
    world.aws.faults.clear()
    if world.lost:
        world.aws.gate.state.admins[OURS], world.lost = world.lost, None


def restored_policy(world: World) -> None:
    world.key_policy(
        {
            "Sid": "All",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{world.customer.account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        json.loads(services.document(world.tenant, "key-policy-statement")),
    )


KEY = {
    "status": "suspended",
    "by": "aws",
    "whose_turn": "tenant",
    "service_gets": 423,
    "told": "key-suspended",
    "probes": 2,
}
SILENT = {
    "status": "unreachable",
    "by": "",
    "whose_turn": "kore",
    "service_gets": 503,
    "code": "key_unreachable",
    "step": None,
    "told": "key-unreachable",
    "cure": fair,
    "probes": 1,
    "looks": 2,
}
BROKEN = {**SILENT, "reason": "own_access_broken", "looks": 1}
STS = "sts:AssumeRole"

TABLE = [
    Row(
        "disabled",
        lambda w: w.customer.kms.disable_key(KeyId=w.customer.key_arn),
        reason="kms_key_disabled",
        code="kms_key_disabled",
        step=1,
        cure=lambda w: w.customer.kms.enable_key(KeyId=w.customer.key_arn),
        **KEY,
    ),
    Row(
        "deletion",
        lambda w: w.customer.kms.schedule_key_deletion(KeyId=w.customer.key_arn, PendingWindowInDays=7),
        reason="kms_key_pending_deletion",
        code="kms_key_pending_deletion",
        step=1,
        cure=lambda w: (
            w.customer.kms.cancel_key_deletion(KeyId=w.customer.key_arn),
            w.customer.kms.enable_key(KeyId=w.customer.key_arn),
        ),
        **KEY,
    ),
    Row(
        "material gone",
        lambda w: w.faults("key-state", "PendingImport", "*"),
        reason="kms_key_pending_import",
        code="kms_key_pending_import",
        step=1,
        cure=fair,
        **KEY,
    ),
    Row(
        "key policy",
        lambda w: w.key_policy(),
        reason="kms_access_denied",
        code="kms_access_denied",
        step=3,
        cure=restored_policy,
        **KEY,
    ),
    Row(
        "trust policy",
        lambda w: w.trust(NOBODY),
        reason="role_not_assumable",
        code="role_not_assumable",
        step=2,
        cure=lambda w: w.trust(services.document(w.tenant, "trust-policy")),
        **KEY,
    ),
    Row(
        "tenant's button",
        lambda w: services.suspend(w.tenant, reason="drill", actor=acting(w.alice)),
        status="suspended",
        reason="drill",
        by="tenant",
        whose_turn="tenant",
        service_gets=423,
        code="suspended",
        step=None,
        told="key-suspended",
        cure=lambda w: services.resume(w.tenant, reason="over", actor=acting(w.alice)),
        probes=2,
    ),
    Row(
        "our button",
        lambda w: services.suspend(w.tenant, reason="abuse", actor=acting_staff(w.sam)),
        status="suspended",
        reason="abuse",
        by="kore",
        whose_turn="kore",
        service_gets=423,
        code="suspended",
        step=None,
        told="key-suspended",
        cure=lambda w: services.resume(w.tenant, reason="over", actor=acting_staff(w.sam)),
        probes=2,
    ),
]
SILENCES = [
    Row("KMS throttles", lambda w: w.faults("throttling"), reason="aws_throttled", **SILENT),
    Row("STS throttles", lambda w: w.faults("throttling", operation=STS), reason="aws_throttled", **SILENT),
    Row("KMS 500", lambda w: w.faults("error", 500), reason="aws_unreachable", **SILENT),
    Row("STS 500", lambda w: w.faults("error", 500, STS), reason="aws_unreachable", **SILENT),
    Row("KMS resets", lambda w: w.faults("reset"), reason="aws_unreachable", **SILENT),
    Row("STS resets", lambda w: w.faults("reset", operation=STS), reason="aws_unreachable", **SILENT),
    Row("KMS is silent", lambda w: w.faults("timeout", 3), reason="aws_unreachable", **SILENT),
    Row("STS is silent", lambda w: w.faults("timeout", 3, STS), reason="aws_unreachable", **SILENT),
    Row("a proxy answers for KMS", lambda w: w.faults("garbage"), reason="aws_unreachable", **SILENT),
    Row("a proxy answers for STS", lambda w: w.faults("garbage", operation=STS), reason="aws_unreachable", **SILENT),
    Row("KMS breaks off", lambda w: w.faults("cut"), reason="aws_unreachable", **SILENT),
    Row("STS breaks off", lambda w: w.faults("cut", operation=STS), reason="aws_unreachable", **SILENT),
    Row("key store away", lambda w: w.faults("key-state", "Unavailable", "*"), reason="aws_unreachable", **SILENT),
    Row(
        "KMS says what nobody knows",
        lambda w: w.faults("code", "Smell"),
        reason="aws_surprise",
        **{**SILENT, "looks": 1},
        uncached=(502, "aws_surprise"),
    ),
    Row(
        "STS says what nobody knows",
        lambda w: w.faults("code", "Smell", STS),
        reason="aws_surprise",
        **{**SILENT, "looks": 1},
        uncached=(502, "aws_surprise"),
    ),
    Row("our clock is behind", lambda w: w.faults("clock", 3600, "*"), **BROKEN),
    Row("our clock is ahead", lambda w: w.faults("clock", -3600, "*"), **BROKEN),
    Row("the request took too long", lambda w: w.faults("code", "RequestExpired", STS), **BROKEN),
    Row("our token has expired", lambda w: w.faults("code", "ExpiredToken", STS), **BROKEN),
    Row("our session has expired", lambda w: w.faults("code", "ExpiredTokenException"), **BROKEN),
    Row("our user is deleted", World.lose_our_user, **BROKEN),
    Row("our secret is wrong", World.lose_our_secret, **BROKEN),
]

QUICK = {
    "KMS throttles",
    "STS resets",
    "a proxy answers for KMS",
    "a proxy answers for STS",
    "KMS says what nobody knows",
    "our clock is behind",
    "our user is deleted",
}
SOME = [pytest.param(row, marks=[] if row.name in QUICK else [pytest.mark.slow]) for row in SILENCES]


@pytest.fixture
def world(
    tenant: Tenant, customer: Customer, aws: LocalAws, alice: Member, sam: User, active: KeyRegistration
) -> World:
    return World(tenant, customer, aws, alice, sam, active)


@pytest.fixture(autouse=True)
def _in_a_hurry(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait less long for an AWS that is silent than in service;
    a busy machine is in no hurry while the key comes into service."""
    monkeypatch.setattr(hot, "READ_TIMEOUT", 1)
    monkeypatch.setattr(clients, "LOCAL_CONFIG", clients.LOCAL_CONFIG.merge(Config(read_timeout=1)))
    hot._forget_pools()
    yield
    hot._forget_pools()


@pytest.mark.parametrize("row", [*TABLE, *SOME], ids=lambda row: row.name)
def test_the_row(
    row: Row, world: World, service: ServiceAccount, probe_now: Probe, api_of: Callable[..., Client], settings: Any
) -> None:
    settings.MANY_DENIALS = 5
    tenant, registration = world.tenant, world.registration
    datakeys.generate(tenant, [{}], caller="tests", request_id="r")
    row.cause(world)
    if row in SILENCES:
        sessions.forget_all()  # those that we hold have run out, by and by
    for _ in range(row.looks):
        assert services.key_state(tenant).status in {"active", "suspended"}
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
    assert (registration.reason, registration.suspended_by, health_of(registration).refused_since) == ("", "", None)
    assert not OnboardingStep.objects.filter(tenant=tenant, status=OnboardingStep.Status.FAILED).exists()
    assert len(datakeys.generate(tenant, [{}], caller="tests", request_id="r")) == 1


@pytest.mark.parametrize("row", SOME, ids=lambda row: row.name)
def test_what_a_process_gets_that_holds_the_branch_key_and_one_that_does_not(
    row: Row, world: World, service: ServiceAccount, probe_now: Probe, api_of: Callable[..., Client]
) -> None:
    path, registration, api = f"/api/v1/tenants/{world.tenant.pk}/data-keys", world.registration, api_of(service)
    wrapped = api.post(path, {}, content_type=JSON).json()["wrapped_key"]
    warm = datakeys.here()

    def gets(operation: str, process: datakeys.Engine | None) -> tuple[int, str]:
        """Ask a process, a new one where none is given, and see that an error is whole and leaves no row."""
        if process is None:
            datakeys.start_anew()
            sessions.forget_all()
        else:
            datakeys._engine = process
        rows = KeyUse.objects.count()
        to, body = (path, {}) if operation == "generate" else (f"{path}/decrypt", {"wrapped_key": wrapped})
        answer = api.post(to, body, content_type=JSON)
        said = answer.json()
        if answer.status_code == 200:
            assert KeyUse.objects.count() == rows + 1
            return 200, ""
        assert KeyUse.objects.count() == rows
        assert "plaintext" not in said
        assert said["whose_turn"] == ("nobody" if said["code"] == "aws_throttled" else "kore")
        assert said["retryable"] is (answer.status_code == 503) is ("Retry-After" in answer)
        return answer.status_code, said["code"]

    status, code = row.uncached
    asks_aws = (status, code or row.reason)
    row.cause(world)
    assert [gets(operation, warm) for operation in ("generate", "decrypt")] == [(200, "")] * 2
    assert gets("decrypt", None) == asks_aws
    if row.reason == "aws_surprise":  # words that nobody knows stop new keys at once
        assert gets("generate", None) == (503, "key_unreachable")
    else:
        assert gets("generate", None) == asks_aws
    for _ in range(row.looks):
        probe_now(registration)
    assert (registration.status, registration.reason) == ("unreachable", row.reason)
    assert gets("decrypt", warm) == (200, "")  # what is in memory runs out by itself
    assert gets("generate", warm) == (503, "key_unreachable")  # new keys fail closed
    assert gets("decrypt", None) == asks_aws
    assert gets("generate", None) == (503, "key_unreachable")
    row.cure(world)
    probe_now(registration)
    assert [gets(operation, process) for process in (warm, None) for operation in ("generate", "decrypt")] == [
        (200, "")
    ] * 4
    assert not RegistrationMove.objects.filter(new_status="suspended").exists()
