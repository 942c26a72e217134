"""Our service roles in IAM: create them, read their policies, write versions (IAM API reference; quotas in design.md 6)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from keys import errors
from keys.aws import faults, sessions

REGION = "us-east-1"  # where IAM is answered
VERSIONS = 5  # of a managed policy; one has to go before a sixth comes


@dataclass(frozen=True, slots=True)
class Written:
    """A policy as IAM holds it."""

    policy_arn: str
    version: str
    document: dict[str, Any]
    request_id: str


@dataclass(frozen=True, slots=True)
class Role:
    """A role as IAM holds it."""

    arn: str
    unique_id: str


def _call(action: str, method: str, *, account: str = "", **parameters: Any) -> Any:
    try:
        return getattr(sessions.client("iam", REGION, account=account), method)(**parameters)
    except (ClientError, BotoCoreError) as error:
        if faults.code_of(error) in {"NoSuchEntity", "EntityAlreadyExists"}:
            raise
        raise faults.translate(error, f"iam:{action}", denied=errors.OwnAccessBroken) from error


def read_policy(policy_arn: str) -> Written | None:
    """Return the default version of one of our managed policies, None when it does not exist."""
    try:
        version = _call("GetPolicy", "get_policy", PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
        answer = _call("GetPolicyVersion", "get_policy_version", PolicyArn=policy_arn, VersionId=version)
    except ClientError:
        return None
    document = answer["PolicyVersion"]["Document"]
    return Written(
        policy_arn,
        version,
        json.loads(document) if isinstance(document, str) else document,
        answer["ResponseMetadata"]["RequestId"],
    )


def create_policy(name: str, document: str, *, role_name: str) -> Written:
    """Create one of our managed policies and attach it; one that stands there already is attached as it is."""
    arn = f"arn:{partition()}:iam::{settings.AWS_ACCOUNT_ID}:policy/{name}"
    try:
        _call("CreatePolicy", "create_policy", PolicyName=name, PolicyDocument=document)
    except ClientError as error:
        if faults.code_of(error) != "EntityAlreadyExists":
            raise
    attach(arn, role_name=role_name)
    written = read_policy(arn)
    if written is None:
        raise errors.AwsUnreachable(
            retry_after=5, aws_code="NoSuchEntity", action="iam:GetPolicy"
        )  # not visible yet: IAM needs time
    return written


def attach(policy_arn: str, *, role_name: str) -> None:
    """Attach a policy to a service role; twice is once."""
    _call("AttachRolePolicy", "attach_role_policy", RoleName=role_name, PolicyArn=policy_arn)


def attached(role_name: str) -> set[str]:
    """Return the ARNs of the managed policies that are attached to a service role."""
    pages = sessions.client("iam", REGION).get_paginator("list_attached_role_policies").paginate(RoleName=role_name)
    try:
        return {policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]}
    except (ClientError, BotoCoreError) as error:
        raise faults.translate(error, "iam:ListAttachedRolePolicies", denied=errors.OwnAccessBroken) from error


def write_version(policy_arn: str, document: str) -> Written:
    """Write a new default version, after deleting the oldest of five, and read it back."""
    versions = _call("ListPolicyVersions", "list_policy_versions", PolicyArn=policy_arn)["Versions"]
    spare = sorted(
        (v for v in versions if not v["IsDefaultVersion"]), key=lambda v: int(v["VersionId"].removeprefix("v"))
    )
    if len(versions) >= VERSIONS:
        _call("DeletePolicyVersion", "delete_policy_version", PolicyArn=policy_arn, VersionId=spare[0]["VersionId"])
    _call(
        "CreatePolicyVersion", "create_policy_version", PolicyArn=policy_arn, PolicyDocument=document, SetAsDefault=True
    )
    written = read_policy(policy_arn)
    if written is None:
        raise errors.AwsUnreachable(retry_after=5, aws_code="NoSuchEntity", action="iam:GetPolicy")
    return written


def partition() -> str:
    """Return the partition of our own account, from the base principal's ARN."""
    return base_principal().split(":")[1]


def base_principal() -> str:
    """Return the ARN that a service role has to trust: our base principal, a role rather than one of its sessions.

    Raises:
        OwnAccessBroken: it is the account's root, which AWS lets assume no role, or another account.
    """
    who = sessions.identity(None, REGION)
    if who.account != settings.AWS_ACCOUNT_ID or who.arn.endswith(":root"):
        raise errors.OwnAccessBroken(retry_after=60, aws_code="wrong base principal", action="sts:GetCallerIdentity")
    if ":assumed-role/" not in who.arn:
        return who.arn
    name = who.arn.split("/")[1]
    return str(_call("GetRole", "get_role", RoleName=name)["Role"]["Arn"])


def create_role(name: str, trust: dict[str, Any], *, account: str = "") -> Role:
    """Create a role, or return the one of that name; it is never recreated, because trust policies hold its unique id."""
    try:
        role = _call(
            "CreateRole", "create_role", account=account, RoleName=name, AssumeRolePolicyDocument=json.dumps(trust)
        )["Role"]
    except ClientError as error:
        if faults.code_of(error) != "EntityAlreadyExists":
            raise
        role = _call("GetRole", "get_role", account=account, RoleName=name)["Role"]
    return Role(role["Arn"], role["RoleId"])


def put_inline_policy(role_name: str, policy_name: str, document: dict[str, Any]) -> None:
    """Write an inline policy of a service role."""
    _call(
        "PutRolePolicy",
        "put_role_policy",
        RoleName=role_name,
        PolicyName=policy_name,
        PolicyDocument=json.dumps(document),
    )
