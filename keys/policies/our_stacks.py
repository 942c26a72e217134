"""Our own side in AWS as CloudFormation: principals, boundaries, first service roles, the key that signs heads; pure.

The documents are those of `keys.policies.principals`, with CloudFormation's own words for account and partition in
place of values. What tenants' trust policies, the log or copies hang on survives its stack (`Retain`): a role that is
made again under its name is another one
(https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html).
`deploy/aws` holds what `manage.py our_stack` prints; a test compares them.
"""

from __future__ import annotations

import json
from typing import Any

from keys.policies import principals
from keys.policies.principals import Document

ACCOUNT, PARTITION = "${AWS::AccountId}", "${AWS::Partition}"
KEEP = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
FIRST = ("byok-service-1", "byok-service-2")  # further ones are opened by themselves (keys.configuration.room)
BASE, CONFIGURATION = "byok-base", "byok-configuration"
RUNS_ON = ("ecs-tasks.amazonaws.com", "ec2.amazonaws.com", "pods.eks.amazonaws.com")
ESCROW_PREFIX = "branch-keys/"


def our_account() -> str:
    """Return the template of AWS_ACCOUNT_ID, in JSON."""
    canary = "${CanaryAccountId}"
    resources: Document = {
        "Boundary": _policy(principals.BOUNDARY, principals.boundary(ACCOUNT, partition=PARTITION), keep=True),
        "Base": _role(
            BASE,
            _runs(),
            ["BasePolicy", "ReadBackPolicy", "SignHeadsPolicy"],
            maybe={"HasPlatformKey": "PlatformKeyPolicy", "HasEscrow": "EscrowPolicy"},
        ),
        "BasePolicy": _policy(BASE, principals.base_principal(ACCOUNT, partition=PARTITION)),
        "ReadBackPolicy": _policy("byok-read-back", principals.read_back(ACCOUNT, partition=PARTITION)),
        "SignHeadsPolicy": _policy("byok-sign-heads", principals.sign_heads({"Fn::GetAtt": ["HeadsKey", "Arn"]})),
        "PlatformKeyPolicy": _policy("byok-platform-key", principals.platform_key({"Ref": "PlatformKeyArn"}))
        | {"Condition": "HasPlatformKey"},
        "EscrowPolicy": _policy("byok-escrow", principals.escrow("${EscrowBucket}", ESCROW_PREFIX, partition=PARTITION))
        | {"Condition": "HasEscrow"},
        "Configuration": _role(CONFIGURATION, _runs(), ["ConfigurationPolicy"]),
        "ConfigurationPolicy": _policy(
            CONFIGURATION, principals.configuration_worker(ACCOUNT, canary, partition=PARTITION)
        ),
        "HeadsKey": _key_of_heads(),
        "HeadsKeyAlias": {
            "Type": "AWS::KMS::Alias",
            **KEEP,
            "Properties": {"AliasName": "alias/byok-log-heads", "TargetKeyId": {"Ref": "HeadsKey"}},
        },
    }
    for role in ("Base", "Configuration"):
        # EC2 hands a role to a machine by an instance profile alone (EC2 guide, "IAM roles for Amazon EC2").
        resources[f"{role}Profile"] = {
            "Type": "AWS::IAM::InstanceProfile",
            **KEEP,
            "Condition": "RunsOnEc2",
            "Properties": {"InstanceProfileName": {"Ref": role}, "Roles": [{"Ref": role}]},
        }
    for number, name in enumerate(FIRST, start=1):
        resources[f"ServiceRole{number}"] = _service_role(name)
    return _template(
        "Our own side of bring-your-own-key in the account of the service roles.",
        {
            "CanaryAccountId": _parameter("CANARY_ACCOUNT_ID, another account of ours", pattern="[0-9]{12}"),
            "RunsOn": _parameter("What gives our processes their role", default=RUNS_ON[0], one_of=RUNS_ON),
            "PlatformKeyArn": _parameter("PLATFORM_KEY_ARN, or empty", default=""),
            "EscrowBucket": _parameter("ESCROW_BUCKET of the escrow template, or empty", default=""),
        },
        resources,
        {
            "BasePrincipalArn": ("BASE_PRINCIPAL_ARN", {"Fn::GetAtt": ["Base", "Arn"]}),
            "ConfigurationPrincipalArn": ("Of the canary account's template", {"Fn::GetAtt": ["Configuration", "Arn"]}),
            "SealKmsKeyArn": ("SEAL_KMS_KEY_ARN", {"Fn::GetAtt": ["HeadsKey", "Arn"]}),
        },
        {name: _is_given(of) for name, of in {"HasPlatformKey": "PlatformKeyArn", "HasEscrow": "EscrowBucket"}.items()}
        | {"RunsOnEc2": {"Fn::Equals": [{"Ref": "RunsOn"}, "ec2.amazonaws.com"]}},
    )


def canary_account() -> str:
    """Return the template of CANARY_ACCOUNT_ID, in JSON."""
    who = {"Ref": "ConfigurationPrincipalArn"}
    resources = {
        "Boundary": _policy(principals.BOUNDARY, principals.canary_boundary(ACCOUNT, partition=PARTITION), keep=True),
        "Writer": _role(principals.WRITER, principals.trust_of_canary_writer(who), ["WriterPolicy"]),
        "WriterPolicy": _policy(principals.WRITER, principals.canary_writer(ACCOUNT, partition=PARTITION)),
    }
    return _template(
        "Our own side of bring-your-own-key in the account of the canaries.",
        {"ConfigurationPrincipalArn": _parameter("As the template of our account puts it out", pattern="arn:.+")},
        resources,
        {"CanaryWriterRoleArn": ("CANARY_WRITER_ROLE_ARN", {"Fn::GetAtt": ["Writer", "Arn"]})},
    )


def escrow() -> str:
    """Return the template of the bucket for copies of branch keys (docs/escrow.md), in JSON; in an account of its own,
    where nobody of the other two can remove one."""
    bucket: Document = {
        "Type": "AWS::S3::Bucket",
        **KEEP,
        "Properties": {
            "BucketName": {"Ref": "BucketName"},
            "VersioningConfiguration": {"Status": "Enabled"},
            "ObjectLockEnabled": True,
            "ObjectLockConfiguration": {
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": {"Ref": "KeepDays"}}},
            },
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "PublicAccessBlockConfiguration": dict.fromkeys(
                ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
            ),
        },
    }
    policy = principals.bucket_of_escrow("${BucketName}", ESCROW_PREFIX, {"Ref": "BasePrincipalArn"}, PARTITION)
    return _template(
        "The bucket for copies of wrapped branch keys, written by our base principal and removed by nobody of ours.",
        {
            "BucketName": _parameter("ESCROW_BUCKET", pattern="[a-z0-9.-]{3,63}"),
            "BasePrincipalArn": _parameter("As the template of our account puts it out", pattern="arn:.+"),
            "KeepDays": {
                "Type": "Number",
                "Description": "For how many days nobody removes a copy",
                "Default": 400,
                "MinValue": 35,
                "MaxValue": 36_500,
            },
        },
        {
            "Bucket": bucket,
            "BucketPolicy": {
                "Type": "AWS::S3::BucketPolicy",
                **KEEP,
                "Properties": {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": _filled(policy)},
            },
        },
        {
            "EscrowBucket": ("ESCROW_BUCKET", {"Ref": "Bucket"}),
            "EscrowRetentionDays": ("ESCROW_RETENTION_DAYS", {"Ref": "KeepDays"}),
        },
    )


STACKS = {"our-account": our_account, "canary-account": canary_account, "escrow": escrow}


def _template(
    about: str,
    parameters: Document,
    resources: Document,
    outputs: dict[str, tuple[str, Any]],
    conditions: Document | None = None,
) -> str:
    made = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"{about} Printed by manage.py our_stack (docs/deploy.md).",
        "Parameters": parameters,
        **({"Conditions": conditions} if conditions else {}),
        "Resources": resources,
        "Outputs": {name: {"Description": text, "Value": value} for name, (text, value) in outputs.items()},
    }
    return json.dumps(made, indent=2) + "\n"


def _parameter(about: str, *, default: str | None = None, pattern: str = "", one_of: tuple[str, ...] = ()) -> Document:
    return {
        "Type": "String",
        "Description": about,
        **({} if default is None else {"Default": default}),
        **({"AllowedPattern": pattern} if pattern else {}),
        **({"AllowedValues": list(one_of)} if one_of else {}),
    }


def _is_given(parameter: str) -> Document:
    return {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}


def _runs() -> Document:
    """Return who may become a principal of ours: the service that runs our processes (Pod Identity of EKS tags its
    sessions). Who gives a process that role needs iam:PassRole, which nobody of ours has."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": {"Ref": "RunsOn"}},
                "Action": ["sts:AssumeRole", "sts:TagSession"],
            }
        ],
    }


def _role(name: str, trust: Document, policies: list[str], *, maybe: dict[str, str] | None = None) -> Document:
    """Return a principal of ours: outside our path, so that none of them writes another.

    Args:
        maybe: condition → policy that it brings.
    """
    attached: list[Any] = [{"Ref": each} for each in policies]
    attached += [{"Fn::If": [when, {"Ref": each}, {"Ref": "AWS::NoValue"}]} for when, each in (maybe or {}).items()]
    return {
        "Type": "AWS::IAM::Role",
        **KEEP,
        "Properties": {
            "RoleName": name,
            "AssumeRolePolicyDocument": _filled(trust),
            "ManagedPolicyArns": attached,
        },
    }


def _service_role(name: str) -> Document:
    canary = f"arn:{PARTITION}:iam::${{CanaryAccountId}}:role{principals.PATH}byok-canary-{name}"
    return {
        "Type": "AWS::IAM::Role",
        **KEEP,
        "Properties": {
            "RoleName": name,
            "Path": principals.PATH,
            "PermissionsBoundary": {"Ref": "Boundary"},
            "AssumeRolePolicyDocument": principals.trust_of_service_role({"Fn::GetAtt": ["Base", "Arn"]}),
            "Policies": [
                {"PolicyName": principals.PROBES, "PolicyDocument": _filled(principals.probes_of_service_role(canary))}
            ],
        },
    }


def _policy(name: str, document: Document, *, keep: bool = False) -> Document:
    return {
        "Type": "AWS::IAM::ManagedPolicy",
        **(KEEP if keep else {}),
        "Properties": {"ManagedPolicyName": name, "PolicyDocument": _filled(document)},
    }


def _key_of_heads() -> Document:
    """Return the key that signs heads: its own account's IAM decides, and no stack deletes it."""
    root = f"arn:{PARTITION}:iam::{ACCOUNT}:root"
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}],
    }
    return {
        "Type": "AWS::KMS::Key",
        **KEEP,
        "Properties": {
            "Description": "Signs the heads of the logs and copies of branch keys",
            "KeySpec": "ECC_NIST_EDWARDS25519",
            "KeyUsage": "SIGN_VERIFY",
            "PendingWindowInDays": 30,
            "KeyPolicy": _filled(policy),
        },
    }


def _filled(value: Any) -> Any:
    """Let CloudFormation fill in account, partition and parameters where a text names them."""
    if isinstance(value, dict):
        return {name: _filled(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(each) for each in value]
    return {"Fn::Sub": value} if isinstance(value, str) and "${" in value else value
