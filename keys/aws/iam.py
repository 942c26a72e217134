"""Our service roles in IAM: create them, read their policies,
write versions (IAM API reference; quotas in design.md 6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from django.conf import settings

from keys import errors
from keys.arns import PrincipalArn
from keys.aws import clients, faults, sessions
from keys.policies import principals

REGION = "us-east-1"  # where IAM is answered
Before = Callable[[], None] | None  # is called before each call: renews the lease, or raises because it was lost
VERSIONS = 5  # of a managed policy; one has to go before a sixth comes
# What IAM says of a document that it does not take (IAM API reference, CreatePolicyVersion);
# LimitExceeded where it names the size.
NOT_TAKEN = {"MalformedPolicyDocument", "MalformedPolicyDocumentException", "InvalidInput", "ValidationError"}


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
    trust: dict[str, Any]


def _call(action: str, method: str, *, account: str = "", before: Before = None, **parameters: Any) -> Any:
    if before is not None:
        before()
    try:
        return getattr(_client(account), method)(**parameters)
    except faults.RAISED as error:
        if faults.code_of(error) in {"NoSuchEntity", "EntityAlreadyExists"}:
            raise
        if "PolicyDocument" in parameters and _is_about_the_document(error):
            raise errors.PolicyRefused(
                aws_code=faults.code_of(error), action=f"iam:{action}", aws_request_id=faults.request_id_of(error)
            ) from error
        raise faults.translate(error, f"iam:{action}", denied=errors.OwnAccessBroken) from error


def _client(account: str) -> Any:
    """Return IAM of our account; of the canary's account by the role that may write there."""
    if account and settings.AWS_MODE == "real":
        return clients.client("iam", REGION, sessions.service_role(settings.CANARY_WRITER_ROLE_ARN, REGION))
    return clients.client("iam", REGION, account=account)


def account_summary() -> dict[str, int]:
    """Return what our account has in IAM and may have, by IAM's names (IAM API reference, GetAccountSummary)."""
    return {
        str(name): int(number)
        for name, number in _call("GetAccountSummary", "get_account_summary")["SummaryMap"].items()
    }


def _is_about_the_document(error: Exception) -> bool:
    code = faults.code_of(error)
    return code in NOT_TAKEN or (code == "LimitExceeded" and "PolicySize" in str(error))


def arn_of(name: str, *, partition: str = "aws") -> str:
    """Return the ARN of the managed policy of that name in our account."""
    return f"arn:{partition}:iam::{settings.AWS_ACCOUNT_ID}:policy{principals.PATH}{name}"


def read_policy(policy_arn: str, *, before: Before = None) -> Written | None:
    """Return the default version of one of our managed policies, None when it does not exist."""
    try:
        policy = _call("GetPolicy", "get_policy", before=before, PolicyArn=policy_arn)["Policy"]
        version = policy["DefaultVersionId"]
        answer = _call("GetPolicyVersion", "get_policy_version", before=before, PolicyArn=policy_arn, VersionId=version)
    except ClientError:
        return None
    return Written(policy_arn, version, _document(answer["PolicyVersion"]["Document"]), faults.request_id_in(answer))


def create_policy(name: str, document: str, *, before: Before = None) -> None:
    """Create one of our managed policies; one of that name that stands there already is left as it is."""
    try:
        _call(
            "CreatePolicy",
            "create_policy",
            before=before,
            PolicyName=name,
            Path=principals.PATH,
            PolicyDocument=document,
        )
    except ClientError as error:
        if faults.code_of(error) != "EntityAlreadyExists":
            raise faults.translate(error, "iam:CreatePolicy") from error


def attach(policy_arn: str, *, role_name: str, before: Before = None) -> None:
    """Attach a policy to a service role; twice is once."""
    try:
        _call("AttachRolePolicy", "attach_role_policy", before=before, RoleName=role_name, PolicyArn=policy_arn)
    except ClientError as error:  # the role or the policy is not there, or not visible yet: IAM needs time
        raise errors.AwsUnreachable(
            retry_after=5,
            aws_code=faults.code_of(error),
            action="iam:AttachRolePolicy",
            aws_request_id=faults.request_id_of(error),
        ) from error


def attached(role_name: str, *, before: Before = None) -> set[str]:
    """Return the ARNs of the managed policies that are attached to a service role."""
    if before is not None:
        before()
    pages = clients.client("iam", REGION).get_paginator("list_attached_role_policies").paginate(RoleName=role_name)
    try:
        return {policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]}
    except faults.RAISED as error:
        raise faults.translate(error, "iam:ListAttachedRolePolicies", denied=errors.OwnAccessBroken) from error


def inline_policies(role_name: str) -> set[str]:
    """Return the names of the inline policies of a service role."""
    return set(_call("ListRolePolicies", "list_role_policies", RoleName=role_name)["PolicyNames"])


def restore_version(policy_arn: str, is_good: Callable[[dict[str, Any]], bool], *, before: Before = None) -> bool:
    """Make the newest version the default whose document is good; False when none of the five is."""
    try:
        versions = _call("ListPolicyVersions", "list_policy_versions", before=before, PolicyArn=policy_arn)["Versions"]
        for version_id in sorted((one["VersionId"] for one in versions), key=lambda one: -int(one.removeprefix("v"))):
            answer = _call(
                "GetPolicyVersion",
                "get_policy_version",
                before=before,
                PolicyArn=policy_arn,
                VersionId=version_id,
            )
            if is_good(_document(answer["PolicyVersion"]["Document"])):
                _call(
                    "SetDefaultPolicyVersion",
                    "set_default_policy_version",
                    before=before,
                    PolicyArn=policy_arn,
                    VersionId=version_id,
                )
                return True
    except ClientError:  # it is not there (any more)
        pass
    return False


def takes(policy_arn: str, document: str, *, before: Before = None) -> bool:
    """Ask IAM whether it would take a document, by a version that never becomes the default and goes again."""
    try:
        version_id = write_version(policy_arn, document, is_default=False, before=before)
    except errors.PolicyRefused:
        return False
    try:
        _call("DeletePolicyVersion", "delete_policy_version", before=before, PolicyArn=policy_arn, VersionId=version_id)
    except ClientError as error:
        if faults.code_of(error) != "NoSuchEntity":
            raise
    return True


def write_version(policy_arn: str, document: str, *, is_default: bool = True, before: Before = None) -> str:
    """Write a new version, after deleting the oldest of five, and return its id.

    Raises:
        PolicyRefused: IAM does not take the document; what stood there stands.
    """
    try:
        versions = _call("ListPolicyVersions", "list_policy_versions", before=before, PolicyArn=policy_arn)["Versions"]
        if len(versions) >= VERSIONS:
            oldest = min(
                (version["VersionId"] for version in versions if not version["IsDefaultVersion"]),
                key=lambda version_id: int(version_id.removeprefix("v")),
            )
            _call("DeletePolicyVersion", "delete_policy_version", before=before, PolicyArn=policy_arn, VersionId=oldest)
        written = _call(
            "CreatePolicyVersion",
            "create_policy_version",
            before=before,
            PolicyArn=policy_arn,
            PolicyDocument=document,
            SetAsDefault=is_default,
        )
        return str(written["PolicyVersion"]["VersionId"])
    except ClientError as error:  # it was there a moment ago: another IAM host answered, or somebody deletes it now
        raise errors.AwsUnreachable(
            retry_after=5,
            aws_code=faults.code_of(error),
            action="iam:CreatePolicyVersion",
            aws_request_id=faults.request_id_of(error),
        ) from error


def _document(text: Any) -> dict[str, Any]:
    return dict(json.loads(text) if isinstance(text, str) else text)


def partition() -> str:
    """Return the partition of our own account, from the base principal's ARN."""
    return _identity()[0].partition


def base_principal() -> str:
    """Return the ARN that a service role has to trust: our base principal, a role rather than one of its sessions.

    It is BASE_PRINCIPAL_ARN, or else who asks: the configuration worker is another principal.

    Raises:
        OwnAccessBroken: it is the account's root, which AWS lets assume no role, or another account.
    """
    if settings.BASE_PRINCIPAL_ARN:
        return str(settings.BASE_PRINCIPAL_ARN)
    principal, arn = _identity()
    if principal.kind != "assumed-role":
        return arn
    return str(_call("GetRole", "get_role", RoleName=principal.name)["Role"]["Arn"])


def is_base_principal(arn: str) -> bool:
    """Tell whether who has this ARN is BASE_PRINCIPAL_ARN or a session of it; where that is not set, anybody is."""
    base = str(settings.BASE_PRINCIPAL_ARN)
    return not base or arn == base or sessions.is_session_of(base, arn)


def role(name: str) -> Role:
    """Return a role of our account as IAM holds it.

    Raises:
        OwnAccessBroken: we may not read it, or there is none of that name.
        AwsThrottled, AwsUnreachable: it cannot be told.
    """
    try:
        found = _call("GetRole", "get_role", RoleName=name)["Role"]
    except ClientError as error:
        raise errors.OwnAccessBroken(
            retry_after=60,
            aws_code=faults.code_of(error),
            action="iam:GetRole",
            aws_request_id=faults.request_id_of(error),
        ) from error
    return Role(found["Arn"], found["RoleId"], _document(found["AssumeRolePolicyDocument"]))


def _identity() -> tuple[PrincipalArn, str]:
    who = sessions.identity(None, REGION)
    principal = PrincipalArn.parse(who.arn)
    if principal is None or principal.account != settings.AWS_ACCOUNT_ID or principal.kind == "root":
        raise errors.OwnAccessBroken(retry_after=60, aws_code="wrong base principal", action="sts:GetCallerIdentity")
    return principal, who.arn


def create_role(name: str, trust: dict[str, Any], *, account: str = "", partition: str = "aws") -> Role:
    """Create a role under our path and within our boundary, or return the one of that name;
    it is never recreated, because trust policies hold its unique id."""
    try:
        role = _call(
            "CreateRole",
            "create_role",
            account=account,
            RoleName=name,
            Path=principals.PATH,
            AssumeRolePolicyDocument=json.dumps(trust),
            PermissionsBoundary=principals.boundary_arn(account or settings.AWS_ACCOUNT_ID, partition=partition),
        )["Role"]
    except ClientError as error:
        if faults.code_of(error) != "EntityAlreadyExists":
            raise faults.translate(error, "iam:CreateRole") from error
        role = _call("GetRole", "get_role", account=account, RoleName=name)["Role"]
    return Role(role["Arn"], role["RoleId"], _document(role["AssumeRolePolicyDocument"]))


def create_boundary(document: dict[str, Any], *, account: str = "") -> None:
    """Create the permissions boundary of our roles in an account, once.

    On the local AWS only: elsewhere no principal of ours may write it."""
    name, whose = principals.BOUNDARY, account or settings.AWS_ACCOUNT_ID
    try:
        _call("GetPolicy", "get_policy", account=account, PolicyArn=principals.boundary_arn(whose))
    except ClientError:
        _call("CreatePolicy", "create_policy", account=account, PolicyName=name, PolicyDocument=json.dumps(document))


def set_trust(name: str, trust: dict[str, Any], *, account: str) -> None:
    """Write the trust policy of a canary role that was created before."""
    _call(
        "UpdateAssumeRolePolicy",
        "update_assume_role_policy",
        account=account,
        RoleName=name,
        PolicyDocument=json.dumps(trust),
    )


def put_inline_policy(role_name: str, policy_name: str, document: dict[str, Any], *, account: str = "") -> None:
    """Write an inline policy of a service role or, in the canary account, of its canary."""
    _call(
        "PutRolePolicy",
        "put_role_policy",
        account=account,
        RoleName=role_name,
        PolicyName=policy_name,
        PolicyDocument=json.dumps(document),
    )
