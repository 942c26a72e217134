"""What our own principals may do in IAM: the configuration worker's rights, which make it no administrator; pure.

It makes and changes roles and policies under one path only, and roles only with one permissions boundary: whatever it
writes into a policy, a role of ours can do no more than the boundary says (IAM guide, "Permissions boundaries for IAM
entities", the section on delegating). Which condition key counts where: Service Authorization Reference, "Actions,
resources, and condition keys for AWS IAM".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PATH = "/byok/"
# Outside the path: who may write below it must not be able to write the boundary.
BOUNDARY = "byok-service-boundary"
WRITER = "byok-canary-writer"
PROBES = "byok-canary"  # the one inline policy of a service role
KMS = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")  # the guide's five

Document = dict[str, Any]


def boundary_arn(account: str, *, partition: str = "aws") -> str:
    """Return the ARN of the boundary of our roles in an account of ours."""
    return f"arn:{partition}:iam::{account}:policy/{BOUNDARY}"


def boundary(our_account: str, *, partition: str = "aws") -> Document:
    """Return the most that a service role may do, whatever its policies say: assume roles of other accounts, and ask
    for keys that must not answer."""
    return _document(
        _allow("RolesOfOthers", ["sts:AssumeRole"], "*"),
        _allow("KeysFromOutside", ["kms:DescribeKey"], "*"),
        _deny("NeverOurOwnRoles", ["sts:AssumeRole"], f"arn:{partition}:iam::{our_account}:role/*"),
    )


def canary_boundary(canary_account: str, *, partition: str = "aws") -> Document:
    """Return the most that a role in the canary's account may do: try to assume roles, use that account's keys."""
    return _document(
        _allow("Knock", ["sts:AssumeRole"], "*"),
        _allow("OwnKeys", KMS, f"arn:{partition}:kms:*:{canary_account}:key/*"),
        _deny("NeverOurOwnRoles", ["sts:AssumeRole"], f"arn:{partition}:iam::{canary_account}:role/*"),
    )


def configuration_worker(
    our_account: str, canary_account: str, *, partition: str = "aws", older: Sequence[str] = ()
) -> Document:
    """Return the permissions policy of the configuration worker's principal.

    Args:
        older: ARNs of service roles and policies of ours from before they had a path; it goes on writing their
            policies, and attaches what stands under the path.
    """
    iam = f"arn:{partition}:iam::{our_account}"
    roles, policies = f"{iam}:role{PATH}byok-service-*", f"{iam}:policy{PATH}byok-service-*"
    edge = boundary_arn(our_account, partition=partition)
    older_roles = [arn for arn in older if ":role/" in arn]
    older_policies = [arn for arn in older if ":policy/" in arn]
    bounded = {"StringEquals": {"iam:PermissionsBoundary": edge}}
    ours_only = {"ArnLike": {"iam:PolicyARN": [policies, *older_policies]}}
    statements = [
        _allow(
            "WriteOurPolicies",
            [f"iam:{each}" for each in ("CreatePolicy", "CreatePolicyVersion", "DeletePolicyVersion")]
            + ["iam:SetDefaultPolicyVersion"],
            [policies, *older_policies],
        ),
        _allow(
            "ReadOurPolicies",
            [f"iam:{each}" for each in ("GetPolicy", "GetPolicyVersion", "ListPolicyVersions")],
            [policies, edge, *older_policies],
        ),
        _allow(
            "ReadServiceRoles",
            [f"iam:{each}" for each in ("GetRole", "ListAttachedRolePolicies", "ListRolePolicies")],
            [roles, *older_roles],
        ),
        _allow("ReadQuotas", ["iam:GetAccountSummary"], "*"),
        _allow("OpenServiceRoles", ["iam:CreateRole", "iam:PutRolePolicy"], roles) | {"Condition": bounded},
        _allow("AttachOurPolicies", ["iam:AttachRolePolicy"], roles) | {"Condition": bounded | ours_only},
        _allow("MakeCanaries", ["sts:AssumeRole"], f"arn:{partition}:iam::{canary_account}:role/{WRITER}"),
        _deny("NoWayOut", [f"iam:{each}" for each in NO_WAY_OUT], "*"),
    ]
    if older_roles:
        statements.append(
            _allow("AttachToOlderRoles", ["iam:AttachRolePolicy"], older_roles) | {"Condition": ours_only}
        )
    return _document(*statements)


# What would lead out of the boundary, or break customers' trust policies, which hold the unique id of our role.
NO_WAY_OUT = (
    "PassRole",
    "UpdateAssumeRolePolicy",
    "DeleteRole",
    "PutRolePermissionsBoundary",
    "DeleteRolePermissionsBoundary",
    "PutUserPermissionsBoundary",
    "DeleteUserPermissionsBoundary",
)


def canary_writer(canary_account: str, *, partition: str = "aws") -> Document:
    """Return the permissions policy of the role in the canary's account by which the configuration worker makes
    canaries: roles under our path with that account's boundary, and their keys."""
    iam = f"arn:{partition}:iam::{canary_account}"
    canaries, edge = f"{iam}:role{PATH}byok-canary-*", boundary_arn(canary_account, partition=partition)
    bounded = {"StringEquals": {"iam:PermissionsBoundary": edge}}
    key = f"arn:{partition}:kms:*:{canary_account}:key/*"
    return _document(
        _allow("ReadCanaries", ["iam:GetRole"], canaries),
        _allow("MakeCanaries", ["iam:CreateRole", "iam:PutRolePolicy"], canaries) | {"Condition": bounded},
        _allow("TrustOfCanaries", ["iam:UpdateAssumeRolePolicy"], canaries),
        _allow("MakeKeys", ["kms:CreateKey"], "*"),
        _allow("KeysOfCanaries", ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"], key),
        _deny("NoWayOut", [f"iam:{each}" for each in NO_WAY_OUT if each != "UpdateAssumeRolePolicy"], "*"),
    )


def trust_of_canary_writer(configuration_principal_arn: str | Document) -> Document:
    """Return who may become the writer in the canary's account: the configuration worker alone."""
    who = {"AWS": configuration_principal_arn}
    return _document({"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"})


def base_principal(our_account: str, *, partition: str = "aws", older: Sequence[str] = ()) -> Document:
    """Return the permissions policy of web and workers: service roles, and nothing in IAM."""
    service = f"arn:{partition}:iam::{our_account}:role{PATH}byok-service-*"
    return _document(_allow("UseServiceRoles", ["sts:AssumeRole"], [service, *(a for a in older if ":role/" in a)]))


def trust_of_service_role(base_principal_arn: str | Document) -> Document:
    """Return who may become a service role: our base principal alone. It never asks for an External ID:
    that would void the probes."""
    return _document({"Effect": "Allow", "Principal": {"AWS": base_principal_arn}, "Action": "sts:AssumeRole"})


def probes_of_service_role(canary_role_arn: str) -> Document:
    """Return what the probes of a service role need beside its tenants:
    the canary, and to ask for keys that must not answer."""
    canary = {"Sid": "Canary", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": canary_role_arn}
    outside = {"Sid": "KeysFromOutside", "Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"}
    return _document(canary, outside)


def read_back(our_account: str, *, partition: str = "aws") -> Document:
    """Return what workers that test and probe need to read our own policies back before they blame anybody."""
    iam = f"arn:{partition}:iam::{our_account}"
    return _document(
        _allow(
            "ReadServiceRoles",
            ["iam:ListAttachedRolePolicies", "iam:ListRolePolicies"],
            f"{iam}:role{PATH}byok-service-*",
        ),
        _allow("ReadOurPolicies", ["iam:GetPolicy", "iam:GetPolicyVersion"], f"{iam}:policy{PATH}byok-service-*"),
    )


def sign_heads(key_arn: str | Document) -> Document:
    """Return what signing with the key of the seal needs (SEAL_KMS_KEY_ARN)."""
    return _document(_allow("SignHeads", ["kms:Sign", "kms:GetPublicKey"], key_arn))


def platform_key(key_arn: str | Document) -> Document:
    """Return what tenants without a key of their own need (PLATFORM_KEY_ARN)."""
    actions = ["kms:GenerateDataKeyWithoutPlaintext", "kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"]
    return _document(_allow("UsePlatformKey", actions, key_arn))


def escrow(bucket: str, prefix: str, *, partition: str = "aws") -> Document:
    """Return what writing copies of branch keys needs: neither read nor delete."""
    return _document(_allow("WriteCopies", ["s3:PutObject"], f"arn:{partition}:s3:::{bucket}/{prefix}*"))


def bucket_of_escrow(bucket: str, prefix: str, base_principal_arn: str | Document, partition: str = "aws") -> Document:
    """Return the policy of the bucket for copies: our base principal may add one, by TLS."""
    arn = f"arn:{partition}:s3:::{bucket}"
    write = _allow("WriteCopies", ["s3:PutObject"], f"{arn}/{prefix}*") | {"Principal": {"AWS": base_principal_arn}}
    plain = _deny("NeverWithoutTls", ["s3:*"], [arn, f"{arn}/*"]) | {
        "Principal": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return _document(write, plain)


def _allow(sid: str, actions: Sequence[str], resource: str | Sequence[str] | Document) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resource}


def _deny(sid: str, actions: Sequence[str], resource: str | Sequence[str]) -> Document:
    return {"Sid": sid, "Effect": "Deny", "Action": list(actions), "Resource": resource}


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}
