"""ARNs that can never work are refused at once, with the reason and the next step, wherever one is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import acting, save_draft
from django.db import DatabaseError, transaction
from django.test import Client

from byokportal.errors import NotFound
from keys import errors, services
from keys.configuration import opening
from keys.models import KeyRegistration, RoleConfiguration
from tenants import audit
from tenants import services as tenant_services
from tenants.models import Member, ServiceRole, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
OURS, CANARY = "999900001111", "999900002222"
RESERVED = "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com"
# What is given → words of the reason.
ROLES = {
    ROLE.replace("arn:aws:", "arn:aws-us-gov:"): "partition aws-us-gov",
    ROLE.replace("arn:aws:", "arn:aws-cn:"): "partition aws-cn",
    ROLE.replace("arn:aws:", "arn:aws-iso:"): "partition aws-iso",
    f"{RESERVED}/AWSReservedSSO_Admin_0123456789abcdef": "aws-reserved",
    "arn:aws:iam::111122223333:role/aws-service-role/es.amazonaws.com/AWSServiceRoleForES": "service-linked",
    f"arn:aws:iam::{OURS}:role/byok/byok-service-1": "Kore.ai's own account",
    f"arn:aws:iam::{CANARY}:role/byok/byok-canary-byok-service-1": "an account of Kore.ai's",
}
KEYS = {
    KEY.replace("arn:aws:", "arn:aws-us-gov:").replace("eu-central-1", "us-gov-west-1"): "partition aws-us-gov",
    KEY.replace("arn:aws:", "arn:aws-cn:").replace("eu-central-1", "cn-north-1"): "partition aws-cn",
    KEY.replace("arn:aws:", "arn:aws-us-gov:"): "none of AWS's partition",
    KEY.replace("eu-central-1", "us-gov-west-1"): "none of AWS's partition",
    KEY.replace("eu-central-1", "eu-central-7"): "no Region eu-central-7",
    KEY.replace("eu-central-1", "moon-north-1"): "no Region moon-north-1",
    KEY.replace("111122223333", OURS): "Kore.ai's own account",
    KEY.replace("111122223333", CANARY): "an account of Kore.ai's",
}
GIVEN = [*(("role_arn", arn, why) for arn, why in ROLES.items()), *(("key_arn", arn, why) for arn, why in KEYS.items())]
each = pytest.mark.parametrize(("field", "arn", "why"), GIVEN, ids=[arn for _, arn, _ in GIVEN])
Sign = Callable[[Any], Client]


def put(api: Client, tenant: Tenant, body: dict[str, str]) -> Any:
    return api.put(f"/api/v1/tenants/{tenant.pk}/registration", json.dumps(body), content_type="application/json")


def is_said(answer: Any, field: str, why: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (400, "arn_refused"), answer.content
    assert answer.json()["whose_turn"] == "tenant"
    (sentence,) = answer.json()["errors"][field]
    assert why in sentence and any(step in sentence for step in ("Create", "Copy", "Give"))


@each
def test_by_the_api_and_in_the_portal_and_nothing_is_kept(
    tenant: Tenant, alice: Member, browser_of: Sign, api_of: Sign, field: str, arn: str, why: str
) -> None:
    is_said(put(api_of(alice), tenant, {field: arn}), field, why)
    other = {"key_arn": KEY, "role_arn": ROLE, field: arn}
    is_said(put(api_of(alice), tenant, other), field, why)
    step = 2 if field == "role_arn" else 1
    page = browser_of(alice).post(f"/tenants/{tenant.pk}/steps/{step}/", {field: arn})
    assert page.status_code == 200
    assert why in page.content.decode().replace("&#x27;", "'")
    assert not KeyRegistration.objects.exists()


@each
def test_what_was_saved_before_is_judged_again_when_it_is_shared(
    tenant: Tenant, alice: Member, browser_of: Sign, api_of: Sign, field: str, arn: str, why: str
) -> None:
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    KeyRegistration.objects.update(**{field: arn})  # by a version that took it
    answer = api_of(alice).post(
        f"/api/v1/tenants/{tenant.pk}/registration/submit", "{}", content_type="application/json"
    )
    is_said(answer, field, why)
    page = browser_of(alice).post(f"/tenants/{tenant.pk}/steps/6/", {})
    assert why in page.content.decode().replace("&#x27;", "'")
    assert not RoleConfiguration.objects.exists()
    assert KeyRegistration.objects.get().status == KeyRegistration.Status.DRAFT


@each
def test_a_replacement_is_judged_like_the_first(
    tenant: Tenant, active: KeyRegistration, alice: Member, api_of: Sign, field: str, arn: str, why: str
) -> None:
    is_said(put(api_of(alice), tenant, {field: arn}), field, why)
    assert KeyRegistration.objects.get() == active


@pytest.mark.parametrize("field", ["role_arn", "key_arn"])
def test_nor_does_a_replacement_inherit_one(tenant: Tenant, active: KeyRegistration, alice: Member, field: str) -> None:
    """What serves since before the rule goes on; shared anew, it is judged."""
    arn = next(iter(ROLES if field == "role_arn" else KEYS))
    KeyRegistration.objects.update(**{field: arn})
    other = {"key_arn": KEY} if field == "role_arn" else {"role_arn": ROLE + "2"}
    save_draft(tenant, **other, actor=acting(alice))  # type: ignore[arg-type]
    with pytest.raises(errors.ArnRefused) as refused:
        services.submit_registration(tenant, actor=acting(alice))
    assert field in refused.value.errors


def test_a_canary_tenant_alone_has_its_role_in_the_canary_account_and_nobody_joins_it(
    service_role: ServiceRole, tenant: Tenant
) -> None:
    opening.open_service_role(service_role.name, with_canary_tenant=True)
    opening.open_service_role(service_role.name, with_canary_tenant=True)
    ours = Tenant.objects.get(is_canary=True)
    save_draft(
        ours, role_arn=f"arn:aws:iam::{CANARY}:role/x", key_arn=KEY.replace("111122223333", CANARY), actor=audit.COMMAND
    )
    with pytest.raises(errors.ArnRefused):
        save_draft(ours, role_arn=f"arn:aws:iam::{OURS}:role/x", actor=audit.COMMAND)
    with pytest.raises(NotFound):
        tenant_services.invite(ours, email="x@acme.example", role="owner", actor=audit.COMMAND)
    assert not ours.members.exists() and not ours.invitations.exists()
    for attempt in ({"is_canary": True}, {"external_id": "byok-other"}):  # both triggers are there
        with pytest.raises(DatabaseError), transaction.atomic():
            Tenant.objects.filter(pk=tenant.pk).update(**attempt)


def test_a_region_that_we_add_is_taken(tenant: Tenant, alice: Member, settings: Any) -> None:
    settings.EXTRA_REGIONS = ["eu-central-7"]
    save_draft(tenant, key_arn=KEY.replace("eu-central-1", "eu-central-7"), actor=acting(alice))


def test_roles_below_service_role_are_the_customers_own(tenant: Tenant, alice: Member) -> None:
    save_draft(tenant, role_arn=ROLE.replace("role/", "role/service-role/"), actor=acting(alice))


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (
            "trust",
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws-us-gov:iam::111122223333:role/x"},
                "Action": "sts:AssumeRole",
            },
        ),
        ("permissions", {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": next(iter(KEYS))}),
        ("key", {"Effect": "Allow", "Principal": {"AWS": next(iter(ROLES))}, "Action": "kms:Decrypt", "Resource": "*"}),
    ],
)
def test_the_paste_box_names_another_partition(
    tenant: Tenant, alice: Member, api_of: Sign, kind: str, statement: dict[str, Any]
) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    answer = api_of(alice).post(
        f"/api/v1/tenants/{tenant.pk}/policy-checks",
        json.dumps({"kind": kind, "policy": text}),
        content_type="application/json",
    )
    assert answer.json()["verdict"] != "ok"
    (finding,) = [found for found in answer.json()["findings"] if found["code"] == "other_partition"]
    assert "aws-us-gov" in finding["text"] and "partition aws" in finding["fix"]
    assert "aws-us-gov" not in answer.json()["corrected"]


def test_the_paste_box_says_why_a_key_would_be_refused(tenant: Tenant) -> None:
    policy = {
        "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": KEY.replace("eu-central-1", "eu-central-7")}]
    }
    reading = services.check_policy(tenant, kind="permissions", text=json.dumps(policy))
    assert any(found.code == "arn_refused" and "no Region" in found.text for found in reading.findings)
