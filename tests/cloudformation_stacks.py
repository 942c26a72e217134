"""Makes the resources of a CloudFormation template on the local AWS, as CloudFormation would."""

from __future__ import annotations

import json
from typing import Any

from byokportal.localaws.testing import LocalAws

REGION = "eu-central-1"
NO_VALUE = object()


def resolved(value: Any, known: dict[str, Any], made: dict[str, dict[str, str]]) -> Any:
    """Fill in Ref, Fn::GetAtt, Fn::Sub and conditions; what is AWS::NoValue goes away."""
    if isinstance(value, list):
        return [each for each in (resolved(one, known, made) for one in value) if each is not NO_VALUE]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Ref": name}:
            return known[name] if name in known else made[name]["Ref"]
        case {"Fn::Equals": [one, other]}:
            return resolved(one, known, made) == resolved(other, known, made)
        case {"Fn::Not": [condition]}:
            return not resolved(condition, known, made)
        case {"Fn::If": [name, one, other]}:
            return resolved(one if known[f"condition {name}"] else other, known, made)
        case {"Fn::GetAtt": [name, attribute]}:
            return made[name][attribute]
        case {"Fn::Sub": str(text)}:
            for name, filled in known.items():
                text = text.replace(f"${{{name}}}", str(filled))
            return text
    filled = {name: resolved(each, known, made) for name, each in value.items()}
    return {name: each for name, each in filled.items() if each is not NO_VALUE}


def names_in(value: Any) -> set[str]:
    """Return the resources and parameters that a part of a template names."""
    match value:
        case {"Ref": name}:
            return {name}
        case {"Fn::GetAtt": [name, _]}:
            return {name}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for each in inner for name in names_in(each)}


def deploy(
    aws: LocalAws,
    template: dict[str, Any],
    account: str,
    parameters: dict[str, Any] | None = None,
    s3: Any = None,
) -> dict[str, Any]:
    """Create the resources of a template as CloudFormation would, each after those it names; return the outputs.

    Args:
        s3: a client of a store that speaks S3; the local AWS has none.
    """
    iam, kms = aws.client(account, "iam", "us-east-1"), aws.client(account, "kms", REGION)
    given = parameters or {}
    known = {name: given.get(name, each.get("Default")) for name, each in template.get("Parameters", {}).items()}
    known |= {"AWS::NoValue": NO_VALUE, "AWS::AccountId": account, "AWS::Partition": "aws", "AWS::Region": REGION}
    made: dict[str, dict[str, str]] = {}
    for name, condition in template.get("Conditions", {}).items():
        known[f"condition {name}"] = resolved(condition, known, made)
    waiting = {
        name: each
        for name, each in template["Resources"].items()
        if "Condition" not in each or known[f"condition {each['Condition']}"]
    }
    while waiting:
        name = next(
            name
            for name, each in waiting.items()
            if not [other for other in waiting if other != name and other in names_in(each["Properties"])]
        )
        resource = waiting.pop(name)
        facts = resolved(resource["Properties"], known, made)
        if resource["Type"] == "AWS::IAM::Role":
            more = {name: facts[name] for name in ("Path", "PermissionsBoundary", "Tags") if name in facts}
            role = iam.create_role(
                RoleName=facts["RoleName"],
                AssumeRolePolicyDocument=json.dumps(facts["AssumeRolePolicyDocument"]),
                **more,
            )["Role"]
            for attached in facts.get("ManagedPolicyArns", []):
                iam.attach_role_policy(RoleName=facts["RoleName"], PolicyArn=attached)
            for inline in facts.get("Policies", []):
                iam.put_role_policy(
                    RoleName=facts["RoleName"],
                    PolicyName=inline["PolicyName"],
                    PolicyDocument=json.dumps(inline["PolicyDocument"]),
                )
            made[name] = {"Ref": role["RoleName"], "Arn": role["Arn"]}
        elif resource["Type"] == "AWS::IAM::ManagedPolicy":
            arn = iam.create_policy(
                PolicyName=facts["ManagedPolicyName"], PolicyDocument=json.dumps(facts["PolicyDocument"])
            )["Policy"]["Arn"]
            for role_name in facts.get("Roles", []):
                iam.attach_role_policy(RoleName=role_name, PolicyArn=arn)
            made[name] = {"Ref": arn}
        elif resource["Type"] == "AWS::KMS::Key":
            tags = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in facts.get("Tags", [])]
            kind = {name: facts[name] for name in ("KeySpec", "KeyUsage") if name in facts}
            key = kms.create_key(Policy=json.dumps(facts["KeyPolicy"]), Tags=tags, **kind)["KeyMetadata"]
            if facts.get("EnableKeyRotation"):
                kms.enable_key_rotation(KeyId=key["KeyId"])
            made[name] = {"Ref": key["KeyId"], "Arn": key["Arn"]}
        elif resource["Type"] == "AWS::KMS::Alias":
            kms.create_alias(AliasName=facts["AliasName"], TargetKeyId=facts["TargetKeyId"])
            made[name] = {"Ref": facts["AliasName"]}
        elif resource["Type"] == "AWS::S3::Bucket":
            made[name] = {"Ref": make_bucket(s3, facts)}
        elif resource["Type"] == "AWS::S3::BucketPolicy":
            s3.put_bucket_policy(Bucket=facts["Bucket"], Policy=json.dumps(facts["PolicyDocument"]))
            made[name] = {"Ref": name}
        else:
            raise AssertionError(f"The template has a {resource['Type']}: teach this test to make one.")
    return {name: resolved(each["Value"], known, made) for name, each in template["Outputs"].items()}


def make_bucket(s3: Any, facts: dict[str, Any]) -> str:
    name = str(facts["BucketName"])
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=facts["ObjectLockEnabled"])
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=facts["VersioningConfiguration"])
    s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=facts["ObjectLockConfiguration"])
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=facts["PublicAccessBlockConfiguration"])
    return name
