"""The customer's engineer on the local AWS: does steps 1 to 3 of the guide, right or broken in a chosen way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keys.policies import documents

Policy = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Break:
    """One misconfiguration: the step it belongs to, what it does in words, and the change that makes it."""

    step: int
    words: str
    change: Callable[[Policy], None] | None = None  # of the document of that step; None: see `Engineer`


def _without_condition(policy: Policy) -> None:
    del policy["Statement"][0]["Condition"]


def _condition(operator: str, value: object) -> Callable[[Policy], None]:
    def change(policy: Policy) -> None:
        policy["Statement"][0]["Condition"] = {operator: {"sts:ExternalId": value}}

    return change


def _principal(value: object) -> Callable[[Policy], None]:
    def change(policy: Policy) -> None:
        policy["Statement"][0]["Principal"] = value

    return change


def _without_action(action: str) -> Callable[[Policy], None]:
    def change(policy: Policy) -> None:
        statement = policy["Statement"][0] if "Statement" in policy else policy
        statement["Action"] = [name for name in statement["Action"] if name != action]

    return change


def _resource(value: str) -> Callable[[Policy], None]:
    def change(policy: Policy) -> None:
        policy["Statement"][0]["Resource"] = value

    return change


OTHER_KEY = "arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-4000-8000-000000000000"
BREAKS: dict[str, Break] = {
    "asymmetric-key": Break(1, "the key is an RSA key"),
    "disabled-key": Break(1, "the key is disabled"),
    "deleted-key": Break(1, "the key is scheduled for deletion"),
    "no-external-id": Break(2, "the trust policy has no External ID condition", _without_condition),
    "wrong-external-id": Break(
        2, "the trust policy names another External ID", _condition("StringEquals", "byok-of-somebody-else")
    ),
    "any-external-id": Break(2, "the trust policy takes any External ID", _condition("StringLike", "*")),
    "optional-external-id": Break(2, "the trust policy takes a missing External ID", None),
    "anybody": Break(2, "the trust policy trusts every principal", _principal("*")),
    "wrong-principal": Break(2, "the trust policy trusts the customer's own account", None),
    **{
        f"permissions-without-{action.removeprefix('kms:').rstrip('*')}": Break(
            2, f"the permissions policy lacks {action}", _without_action(action)
        )
        for action in documents.ACTIONS
    },
    "permissions-other-key": Break(2, "the permissions policy names another key", _resource(OTHER_KEY)),
    "no-permissions": Break(2, "the permissions policy is not attached"),
    "no-key-statement": Break(3, "the key policy lacks our statement"),
    "key-policy-other-principal": Break(3, "the key policy names another role"),
    **{
        f"key-policy-without-{action.removeprefix('kms:').rstrip('*')}": Break(
            3, f"the key policy lacks {action}", _without_action(action)
        )
        for action in documents.ACTIONS
    },
}
TRUST_BREAKS = {
    "no-external-id",
    "wrong-external-id",
    "any-external-id",
    "optional-external-id",
    "anybody",
    "wrong-principal",
}


@dataclass(slots=True)
class Engineer:
    """Acts with the customer account's administrator user; doing a step again mends or breaks what is there."""

    session: Any  # a boto3.Session
    endpoint: str
    account: str
    region: str = "eu-central-1"

    def _client(self, service: str, region: str = "") -> Any:
        return self.session.client(service, endpoint_url=self.endpoint, region_name=region or self.region)

    def create_key(self, *, broken: str = "") -> str:
        """Step 1: return the ARN of a new CMK."""
        kms = self._client("kms")
        options = {"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"} if broken == "asymmetric-key" else {}
        arn: str = kms.create_key(Description="Kore.ai BYOK", **options)["KeyMetadata"]["Arn"]
        if broken == "disabled-key":
            kms.disable_key(KeyId=arn)
        if broken == "deleted-key":
            kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
        return arn

    def create_role(self, *, trust: str, permissions: str, external_id: str, broken: str = "") -> str:
        """Step 2: create the role, or correct the one that is there, with both policies; return its ARN."""
        iam = self._client("iam", "us-east-1")
        trust_policy, permissions_policy = json.loads(trust), json.loads(permissions)
        if broken == "optional-external-id":
            trust_policy["Statement"][0]["Condition"] = {"StringEqualsIfExists": {"sts:ExternalId": external_id}}
        elif broken == "wrong-principal":
            trust_policy["Statement"][0]["Principal"] = {"AWS": f"arn:aws:iam::{self.account}:root"}
        elif broken and (change := BREAKS[broken].change):
            change(trust_policy if broken in TRUST_BREAKS else permissions_policy)
        name = self._role_name(iam, external_id)
        try:
            arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust_policy))["Role"]["Arn"]
        except iam.exceptions.EntityAlreadyExistsException:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust_policy))
            arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        self._attach(iam, name, permissions_policy, attach=broken != "no-permissions")
        return arn

    def _role_name(self, iam: Any, external_id: str) -> str:
        """Return the guide's role name, or one beside it where another tenant's role has that name."""
        marker = [{"Key": "kore-external-id", "Value": external_id}]
        suffix = external_id[-6:].strip("-_")
        for name in (documents.ROLE_NAME, f"{documents.ROLE_NAME}-{suffix}"):
            try:
                policy = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
            except iam.exceptions.NoSuchEntityException:
                return name
            if marker[0]["Value"] in json.dumps(policy):
                return name
        return f"{documents.ROLE_NAME}-{suffix}"

    def _attach(self, iam: Any, role_name: str, policy: Policy, *, attach: bool) -> None:
        name = documents.POLICY_NAME + role_name.removeprefix(documents.ROLE_NAME)
        arn = f"arn:aws:iam::{self.account}:policy/{name}"
        try:
            iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))
        except iam.exceptions.EntityAlreadyExistsException:
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy), SetAsDefault=True)
        attached = {
            found["PolicyArn"] for found in iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]
        }
        if attach and arn not in attached:
            iam.attach_role_policy(RoleName=role_name, PolicyArn=arn)
        if not attach and arn in attached:
            iam.detach_role_policy(RoleName=role_name, PolicyArn=arn)

    def grant(self, *, key_arn: str, statement: str, broken: str = "") -> None:
        """Step 3: add the statement to the key policy, in place of one of the same Sid."""
        kms = self._client("kms", key_arn.split(":")[3])
        wanted = json.loads(statement)
        if broken == "key-policy-other-principal":
            wanted["Principal"] = {"AWS": f"arn:aws:iam::{self.account}:root"}
            wanted["Condition"] = {"StringEquals": {"aws:PrincipalArn": f"arn:aws:iam::{self.account}:role/Other"}}
        elif broken and (change := BREAKS[broken].change):
            change(wanted)
        policy = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
        policy["Statement"] = [found for found in policy["Statement"] if found.get("Sid") != wanted["Sid"]]
        # The console's default statement lets IAM policies decide; without it ours alone does, as in a strict account.
        if broken:
            for found in policy["Statement"]:
                if found.get("Principal") == {"AWS": f"arn:aws:iam::{self.account}:root"}:
                    found["Condition"] = {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{self.account}:user/*"}}
        if broken != "no-key-statement":
            policy["Statement"].append(wanted)
        kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))
