"""Another role for the same key, by the documents as the portal and the API show them:
whoever pastes them never cuts off the role that serves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Customer
from django.test import Client
from django.utils import timezone

from keys import datakeys, errors
from keys.models import BranchKey, CheckResult, KeyRegistration
from keys.policies import documents
from tenants.models import Member, Tenant

Status = KeyRegistration.Status
Work = Callable[[], None]
Probe = Callable[[KeyRegistration], KeyRegistration]
NEW = "arn:aws:iam::111122223333:role/kore/SecondRole"


class Desk:
    """What the tenant's engineer has open: our pages, our API,
    and the AWS console of a bank that leaves nothing to IAM policies."""

    def __init__(self, tenant: Tenant, browser: Client, api: Client, customer: Customer) -> None:
        self.tenant, self.browser, self.api, self.customer = tenant, browser, api, customer
        self.old = customer.role_arn
        policy = self.key_policy()
        policy["Statement"][0]["Condition"] = {"StringLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/*"}}
        self.put(json.dumps(policy))

    def give(self, step: int, **arns: str) -> None:
        assert self.browser.post(f"/tenants/{self.tenant.pk}/steps/{step}/", arns).status_code == 302

    def document(self, name: str) -> str:
        shown = self.browser.get(f"/tenants/{self.tenant.pk}/documents/{name}").content.decode()
        assert self.api.get(f"/api/v1/tenants/{self.tenant.pk}/documents/{name}").content.decode() == shown
        return shown

    def statement(self) -> dict[str, Any]:
        return dict(json.loads(self.document("key-policy-statement")))

    def principal(self) -> Any:
        return self.statement()["Principal"]["AWS"]

    def paste(self, policy: dict[str, Any], kind: str = "key") -> tuple[str, set[str], str]:
        """Return what the paste box says: verdict, codes, the merged policy."""
        body = {"kind": kind, "policy": json.dumps(policy, indent=2)}
        url = f"/api/v1/tenants/{self.tenant.pk}/policy-checks"
        answer = self.api.post(url, json.dumps(body), content_type="application/json").json()
        return answer["verdict"], {each["code"] for each in answer["findings"]}, answer["corrected"]

    def key_policy(self) -> dict[str, Any]:
        kms, key = self.customer.kms, self.customer.key_arn
        return dict(json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]))

    def put(self, policy: str) -> None:
        self.customer.kms.put_key_policy(KeyId=self.customer.key_arn, PolicyName="default", Policy=policy)

    def make_the_new_role(self) -> None:
        role = {"RoleName": "SecondRole", "Path": "/kore/"}
        self.customer.iam.create_role(**role, AssumeRolePolicyDocument=self.document("trust-policy"))
        self.customer.iam.put_role_policy(
            RoleName="SecondRole", PolicyName="Kore", PolicyDocument=self.document("permissions-policy")
        )


@pytest.fixture
def desk(
    tenant: Tenant, active: KeyRegistration, alice: Member, customer: Customer, browser_of: Any, api_of: Any
) -> Desk:
    return Desk(tenant, browser_of(alice), api_of(alice), customer)


@pytest.fixture
def serves(tenant: Tenant) -> Callable[[], bool]:
    """Return a function that asks the key anew: nothing counts that is still in memory."""
    made: list[bytes] = []

    def ask() -> bool:
        datakeys.start_anew()
        try:
            made.extend(key.wrapped_key for key in datakeys.generate(tenant, [{}], caller="tests", request_id="r"))
            opened = datakeys.open_wrapped(tenant, [(each, {}) for each in made], caller="tests", request_id="r")
        except errors.KeyAccessDenied:
            return False
        return all(isinstance(each, datakeys.OpenedDataKey) for each in opened)

    return ask


def test_the_documents_as_shown_lead_to_the_new_role_and_the_old_one_serves_until_then(
    desk: Desk, tenant: Tenant, active: KeyRegistration, work: Work, probe_now: Probe, serves: Callable[[], bool]
) -> None:
    assert serves() and desk.principal() == desk.old
    desk.give(2, role_arn=NEW)
    assert desk.principal() == [NEW, desk.old]
    assert json.loads(desk.document("permissions-policy")) == documents.permissions_policy(active.key_arn)
    desk.make_the_new_role()
    desk.customer.add_key_statement(desk.statement())  # over the old statement: the Sid is the same
    assert serves() and probe_now(active).status == Status.ACTIVE
    desk.give(6)
    assert serves() and desk.principal() == [NEW, desk.old]
    BranchKey.objects.of(tenant).update(claimed_at=timezone.now())  # a worker has it and is slow
    work()
    now_serving = KeyRegistration.objects.of(tenant).serving().get()
    active.refresh_from_db()
    assert (now_serving.role_arn, now_serving.status, active.status) == (NEW, Status.ACTIVE, Status.RETIRING)
    assert desk.principal() == [NEW, desk.old]  # what is not moved yet opens with the old one alone
    assert serves()
    BranchKey.objects.of(tenant).update(claimed_at=None, due_at=timezone.now())
    work()
    active.refresh_from_db()
    assert active.status == Status.RETIRED and desk.principal() == NEW
    desk.customer.add_key_statement(desk.statement())
    assert serves() and probe_now(now_serving).status == Status.ACTIVE


def test_the_paste_box_says_so_where_the_old_role_is_left_out_and_gives_back_a_policy_that_keeps_it(
    desk: Desk, active: KeyRegistration, probe_now: Probe, serves: Callable[[], bool]
) -> None:
    desk.give(2, role_arn=NEW)
    desk.make_the_new_role()
    verdict, codes, merged = desk.paste(desk.key_policy())  # as it stands, before anything is changed
    assert (verdict, codes) == ("incomplete", {"principal_mismatch"})
    assert json.loads(merged)["Statement"][-1] == desk.statement()
    desk.customer.add_key_statement(documents.key_policy_statement(NEW))
    verdict, codes, merged = desk.paste(desk.key_policy())
    assert (verdict, codes) == ("incomplete", {"replaced_role_missing"})
    assert not serves() and probe_now(active).status == Status.SUSPENDED  # it is true, and the reason for all of this
    assert json.loads(merged)["Statement"][-1] == desk.statement()
    desk.put(merged)
    probe_now(active)
    assert probe_now(active).status == Status.ACTIVE and serves()
    assert desk.paste(desk.key_policy())[:2] == ("ok", set())


def test_what_a_command_of_step_four_printed_is_read_in_the_same_way(desk: Desk) -> None:
    desk.give(2, role_arn=NEW)
    url = f"/tenants/{desk.tenant.pk}/check-output/"
    one = {
        "Version": "2012-10-17",
        "Statement": [desk.key_policy()["Statement"][0], documents.key_policy_statement(NEW)],
    }
    page = desk.browser.post(url, {"output": json.dumps(one)}).content.decode()
    assert f"{desk.old} is left out" in page
    one["Statement"][1] = desk.statement()
    assert "is left out" not in desk.browser.post(url, {"output": json.dumps(one)}).content.decode()


def test_a_test_that_fails_corrects_to_a_statement_that_names_both(
    desk: Desk, tenant: Tenant, active: KeyRegistration, work: Work, probe_now: Probe, serves: Callable[[], bool]
) -> None:
    desk.give(2, role_arn=NEW)
    desk.make_the_new_role()
    desk.give(6)  # the key's policy does not let the new role in yet
    work()
    failed = CheckResult.objects.filter(tenant=tenant, document="key-policy-statement", verdict="fail").first()
    assert failed is not None and json.loads(failed.corrected) == desk.statement()
    assert json.loads(failed.corrected)["Principal"] == {"AWS": [NEW, desk.old]}
    assert f"{NEW} and {desk.old}" in failed.remedy
    desk.customer.add_key_statement(json.loads(failed.corrected))
    assert serves() and probe_now(active).status == Status.ACTIVE


def test_another_role_and_another_key_have_nothing_to_do_with_those_that_serve(
    desk: Desk, customer: Customer, active: KeyRegistration
) -> None:
    new_key = customer.create_key()
    desk.give(1, key_arn=new_key)
    assert json.loads(desk.document("permissions-policy"))["Statement"][0]["Resource"] == [active.key_arn, new_key]
    desk.give(2, role_arn=NEW)
    assert desk.statement() == documents.key_policy_statement(NEW)
    assert json.loads(desk.document("permissions-policy")) == documents.permissions_policy(new_key)
    assert desk.old not in desk.document("cli") and active.key_arn not in desk.document("cli")


def test_the_scripts_make_the_role_that_was_given_and_leave_the_other_alone(desk: Desk) -> None:
    desk.give(2, role_arn=NEW)
    keep = f"Keep {desk.old} until the move"
    template = json.loads(desk.document("cloudformation"))
    assert keep in template["Description"]
    assert template["Parameters"]["RoleName"]["Default"] == "SecondRole"
    assert template["Parameters"]["PolicyName"]["Default"] == f"{documents.POLICY_NAME}-SecondRole"
    assert template["Resources"]["AccessRole"]["Properties"]["Path"] == "/kore/"
    terraform = desk.document("terraform")
    assert keep in terraform and 'path               = "/kore/"' in terraform and '"SecondRole"' in terraform
    script = desk.document("cli")
    assert keep in script and "--role-name SecondRole" in script and "--path /kore/" in script
    assert documents.render(documents.key_policy_statement(NEW, [desk.old])) in script
