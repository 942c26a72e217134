"""`manage.py customer`: every mistake can be listed and made, and doing the step right mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from conftest import acting, save_draft
from django.core.management import CommandError, call_command

from byokportal.localaws.mistakes import MISTAKES
from byokportal.localaws.testing import LocalAws
from keys import services
from keys.models import KeyRegistration
from tenants.models import Member, Tenant

pytestmark = pytest.mark.django_db


def customer(tenant: Tenant, **options: Any) -> dict[str, Any]:
    out = StringIO()
    call_command("customer", tenant=str(tenant.pk), stdout=out, **options)
    return dict(json.loads(out.getvalue()))


def test_every_mistake_is_listed_with_its_step() -> None:
    out = StringIO()
    call_command("customer", broken="list", stdout=out)
    listed = json.loads(out.getvalue())
    assert set(listed) == set(MISTAKES)
    assert all(text.startswith(f"step {MISTAKES[name].step}: ") for name, text in listed.items())


def test_a_mistake_is_made_and_the_step_done_right_mends_it(
    tenant: Tenant, alice: Member, aws: LocalAws, work: Callable[[], None]
) -> None:
    elsewhere = "444455556666"
    save_draft(tenant, key_arn=customer(tenant, step=1, account=elsewhere)["key_arn"], actor=acting(alice))
    made = customer(tenant, step=2, broken="permissions-without-Decrypt")
    save_draft(tenant, role_arn=made["role_arn"], actor=acting(alice))
    assert customer(tenant, step=3)["key_arn"].split(":")[4] == elsewhere
    services.submit_registration(tenant, actor=acting(alice))
    work()
    registration = KeyRegistration.objects.get(tenant=tenant)
    assert (registration.status, registration.reason) == ("rejected", "kms_access_denied")

    assert customer(tenant, step=2)["role_arn"] == made["role_arn"]
    services.start_test(tenant, actor=acting(alice))
    work()
    registration.refresh_from_db()
    assert registration.status == "active"


def test_while_another_key_or_role_is_in_preparation_the_engineer_pastes_what_the_portal_shows(
    tenant: Tenant, active: KeyRegistration, alice: Member, aws: LocalAws, probe_now: Callable[..., KeyRegistration]
) -> None:
    kms, iam = aws.client("111122223333", "kms", "eu-central-1"), aws.client("111122223333", "iam", "us-east-1")

    def named(policy: str, sid: str, element: str) -> Any:
        return next(each[element] for each in json.loads(policy)["Statement"] if each.get("Sid") == sid)

    def resource() -> Any:
        arn = "arn:aws:iam::111122223333:policy/AIforWorkKMSPolicy"
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return document["Statement"][0]["Resource"]

    new_key = customer(tenant, step=1)["key_arn"]
    save_draft(tenant, key_arn=new_key, actor=acting(alice))
    customer(tenant, step=2, broken="permissions-other-region")
    assert resource() == new_key.replace("eu-central-1", "eu-west-1")
    assert customer(tenant, step=2)["role_arn"] == active.role_arn
    assert resource() == [active.key_arn, new_key]
    assert probe_now(active).status == "active"
    services.withdraw(tenant, reason="not now", actor=acting(alice))

    second = iam.create_role(RoleName="Second", AssumeRolePolicyDocument=services.document(tenant, "trust-policy"))
    save_draft(tenant, role_arn=second["Role"]["Arn"], actor=acting(alice))
    customer(tenant, step=3)
    policy = kms.get_key_policy(KeyId=active.key_arn, PolicyName="default")["Policy"]
    assert named(policy, "AllowYourAppAccess", "Principal") == {"AWS": [second["Role"]["Arn"], active.role_arn]}
    customer(tenant, step=3, broken="key-policy-deny-Decrypt")
    policy = kms.get_key_policy(KeyId=active.key_arn, PolicyName="default")["Policy"]
    assert named(policy, "KeepOut", "Principal") == {"AWS": second["Role"]["Arn"]}


def test_a_mistake_of_another_step_is_refused(tenant: Tenant) -> None:
    with pytest.raises(CommandError, match="disabled-key belongs to step 1: the key is disabled"):
        customer(tenant, step=2, broken="disabled-key")
    with pytest.raises(CommandError, match="--tenant and --step are needed"):
        call_command("customer", step=1)
