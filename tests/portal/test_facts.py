"""Facts for the customer's own controls: what stands there is so, and the ready texts let through what we do alone."""

from __future__ import annotations

import ast
import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import CUSTOMER, REGION, Customer, acting, save_draft
from django.test import Client

from keys import datakeys, services
from keys.aws.sessions import PURPOSES
from keys.models import BranchKeyLoad, KeyRegistration
from keys.policies import controls
from keys.views import facts as page
from tenants.models import Member, Tenant

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
KEYS = Path(__file__).parents[2] / "keys"


def _facts(api: Client, tenant: Tenant) -> dict[str, Any]:
    answer = api.get(f"/api/v1/tenants/{tenant.pk}/facts")
    assert answer.status_code == 200
    return answer.json()  # type: ignore[no-any-return]


def test_the_api_and_the_page_say_who_calls_and_how(
    alice: Member,
    tenant: Tenant,
    api_of: Callable[[Member], Client],
    browser_of: Callable[[Member], Client],
    settings: Any,
) -> None:
    settings.EGRESS_ADDRESSES = ["192.0.2.0/28", "2001:db8::/56"]
    found = _facts(api_of(alice), tenant)
    assert found["aws_account_id"] == tenant.service_role.account_id
    assert found["external_id"] == tenant.external_id
    assert found["egress_addresses"] == settings.EGRESS_ADDRESSES
    assert found["regions"] == []
    assert {each["text"] for each in found["controls"]} == {""}
    assert {tuple(each["missing"]) for each in found["controls"]} == {("key_arn", "role_arn")}
    assert api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/facts/scp").status_code == 409
    assert api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/facts/nonsense").status_code == 404
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    found = _facts(api_of(alice), tenant)
    assert found["regions"] == ["eu-central-1"]
    text = browser_of(alice).get(f"/tenants/{tenant.pk}/facts/").content.decode()
    for value in (*found["session_names"].values(), *found["encryption_context"], *settings.EGRESS_ADDRESSES, ROLE):
        assert value in text
    for each in found["controls"]:
        assert ROLE.rpartition("/")[2] in each["text"] or KEY in each["text"]
        raw = api_of(alice).get(f"/api/v1/tenants/{tenant.pk}/facts/{each['name']}")
        file = browser_of(alice).get(f"/tenants/{tenant.pk}/facts/{each['name']}")
        assert raw.content == file.content == each["text"].encode()
        assert controls.FILES[each["name"]] in file["Content-Disposition"]


def test_every_purpose_of_a_session_is_named() -> None:
    """A session whose name no customer was told would look like somebody else's."""
    used = set()
    for path in KEYS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.keyword(arg="purpose", value=ast.Constant(value=str(text))):
                    used.add(text)
                case ast.Assign(targets=[ast.Name(id="PURPOSE")], value=ast.Constant(value=str(text))):
                    used.add(text)
    assert used == set(PURPOSES)


def test_every_control_has_its_words_and_its_file() -> None:
    assert set(controls.CONTROLS) == set(controls.FILES) == set(page.WORDS)


@pytest.fixture
def controlled(
    tenant: Tenant, alice: Member, customer: Customer, work: Callable[[], None], settings: Any
) -> KeyRegistration:
    """Acme Bank in service, with every control of ours in force from the beginning."""
    settings.EGRESS_ADDRESSES = ["127.0.0.0/8"]
    customer.follow_the_guide(tenant, acting(alice))
    texts = {each.name: each.text for each in services.facts_of(tenant).controls}
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    customer.aws.organization(CUSTOMER, scps=[[everything, json.loads(texts["scp"])]], rcps=[json.loads(texts["rcp"])])
    held = json.loads(customer.kms.get_key_policy(KeyId=customer.key_arn, PolicyName="default")["Policy"])
    held["Statement"] = [one for one in held["Statement"] if one.get("Sid") != "AllowYourAppAccess"]
    # Without the account's default statement the role is in by our two statements alone.
    held["Statement"][0]["Condition"] = {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{CUSTOMER}:user/*"}}
    held["Statement"] += json.loads(texts["key-policy-conditions"])
    customer.kms.put_key_policy(KeyId=customer.key_arn, PolicyName="default", Policy=json.dumps(held))
    reading = services.check_policy(tenant, kind="key", text=json.dumps(held))
    assert reading.verdict == "ok", reading.findings
    services.submit_registration(tenant, actor=acting(alice))
    work()
    return KeyRegistration.objects.get(tenant=tenant)


def test_all_that_we_do_goes_on_under_every_control(
    controlled: KeyRegistration,
    tenant: Tenant,
    alice: Member,
    work: Callable[[], None],
    probe_now: Callable[[KeyRegistration], KeyRegistration],
) -> None:
    """The test with all its checks, data keys, a rotation, a probe."""
    test = controlled.tests.get()
    assert (controlled.status, test.verdict) == ("active", "pass"), [
        (check.code, check.verdict, check.evidence) for check in test.checks.exclude(verdict="pass")
    ]
    (wrapped,) = datakeys.generate(tenant, [{"object": "1"}], caller="tests", request_id="r")
    services.rotate_branch_key(tenant, reason="because", actor=acting(alice))
    work()
    datakeys.start_anew()
    (opened,) = datakeys.open_wrapped(tenant, [(wrapped.wrapped_key, {"object": "1"})], caller="tests", request_id="r")
    assert not isinstance(opened, Exception)
    assert probe_now(controlled).status == "active"
    names = set(services.facts_of(tenant).session_names.values())
    assert set(BranchKeyLoad.objects.values_list("session_name", flat=True)) <= names


def test_what_we_do_not_do_is_refused(controlled: KeyRegistration, tenant: Tenant, customer: Customer) -> None:
    aws = customer.aws
    # The role with everything that an administrator could give it by mistake.
    customer.iam.put_role_policy(
        RoleName=customer.role_name,
        PolicyName="Everything",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        ),
    )
    service = aws.client(tenant.service_role.account_id, "sts", REGION).assume_role(
        RoleArn=tenant.service_role.arn, RoleSessionName="byok-x"
    )["Credentials"]

    def client(name: str, keys: dict[str, str]) -> Any:
        session = boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
        return session.client(name, endpoint_url=aws.endpoint, region_name=REGION)

    sts = client("sts", service)
    role = sts.assume_role(RoleArn=customer.role_arn, RoleSessionName="byok-x", ExternalId=tenant.external_id)[
        "Credentials"
    ]
    kms = client("kms", role)
    other = customer.kms.create_key()["KeyMetadata"]["Arn"]
    context = {"tenant": str(tenant.pk)}
    assert kms.encrypt(KeyId=customer.key_arn, Plaintext=b"x", EncryptionContext=context)
    for refused in (
        lambda: kms.encrypt(KeyId=other, Plaintext=b"x", EncryptionContext=context),  # SCP: another key
        lambda: kms.disable_key(KeyId=customer.key_arn),  # SCP: another action
        lambda: client("iam", role).list_roles(),
        lambda: kms.encrypt(
            KeyId=customer.key_arn, Plaintext=b"x", EncryptionContext={"tenant": "another"}
        ),  # key policy
        lambda: kms.encrypt(KeyId=customer.key_arn, Plaintext=b"x"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()
    # RCP: a trust policy that was loosened lets in nobody else, and nobody without the External ID.
    customer.set_trust(
        json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
            }
        )
    )
    administrator = aws.client(CUSTOMER, "sts", REGION)
    for caller, given in (
        (sts, {}),
        (sts, {"ExternalId": "byok-x"}),
        (administrator, {"ExternalId": tenant.external_id}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            caller.assume_role(RoleArn=customer.role_arn, RoleSessionName="byok-x", **given)
    assert sts.assume_role(RoleArn=customer.role_arn, RoleSessionName="byok-x", ExternalId=tenant.external_id)


def test_a_fixed_address_is_asked_for_only_where_there_is_one(alice: Member, tenant: Tenant, settings: Any) -> None:
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    for egress in ([], ["192.0.2.0/28"]):
        settings.EGRESS_ADDRESSES = egress
        texts = {each.name: each.text for each in services.facts_of(tenant).controls}
        for name in ("rcp", "key-policy-conditions"):
            assert ("aws:SourceIp" in texts[name]) is bool(egress)
    assert ipaddress.ip_network(egress[0])


def test_event_patterns_match_an_event_of_cloudtrail(alice: Member, tenant: Tenant) -> None:
    """By EventBridge's own rule: a list is met by one of its values, an object by its fields; arrays by an element."""
    save_draft(tenant, key_arn=KEY, role_arn=ROLE, actor=acting(alice))
    texts = {
        each.name: json.loads(each.text) for each in services.facts_of(tenant).controls if "eventbridge" in each.name
    }

    def met(pattern: Any, event: Any) -> bool:
        if isinstance(pattern, list):
            return event in pattern
        if isinstance(event, list):
            return any(met(pattern, each) for each in event)
        return isinstance(event, dict) and all(met(inner, event.get(name)) for name, inner in pattern.items())

    def event(service: str, **detail: Any) -> dict[str, Any]:
        return {
            "source": f"aws.{service}",
            "detail-type": "AWS API Call via CloudTrail",
            "detail": {"eventSource": f"{service}.amazonaws.com", **detail},
        }

    key = event("kms", eventName="ScheduleKeyDeletion", resources=[{"ARN": KEY, "type": "AWS::KMS::Key"}])
    role = event("iam", eventName="UpdateAssumeRolePolicy", requestParameters={"roleName": "AIforWorkByokAccessRole"})
    assert met(texts["eventbridge-key"], key)
    assert met(texts["eventbridge-role"], role)
    for other in (
        event("kms", eventName="Decrypt", resources=[{"ARN": KEY}]),
        event("kms", eventName="DisableKey", resources=[{"ARN": KEY + "x"}]),
        event("iam", eventName="DeleteRole", requestParameters={"roleName": "Another"}),
    ):
        assert not met(texts["eventbridge-key"], other)
        assert not met(texts["eventbridge-role"], other)
