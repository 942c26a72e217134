"""Step 2 as CloudFormation: the role, its policy and, if chosen, the key; the template of quick-create links; pure.

A key survives its stack (`Retain`), and KMS waits the longest time there is before it deletes one
(https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html).
CloudFormation cannot add to a key policy that exists, so step 3 stays a statement to add by hand or by the AWS CLI. A
managed policy takes no tags there (schema of AWS::IAM::ManagedPolicy). Another name or path makes another role, with
another unique id, which the key policy does not know (createOnlyProperties of AWS::IAM::Role).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from keys.policies import guide
from keys.policies.guide import Document
from keys.policies.values import ALIAS, KEY_DESCRIPTION, PENDING_DAYS, Values

STACK_NAME = "kore-byok-access"
ABOUT = "The IAM role through which Kore.ai uses your KMS key (guide, step 2)."
STEP_3 = "Add the key policy statement of step 3 yourself."
ROOT = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}
ROLE_ARN = {"Fn::GetAtt": ["AccessRole", "Arn"]}
MADE_KEY = {"Fn::GetAtt": ["Key", "Arn"]}
# The host of the console in each partition (IAM guide, "Amazon Resource Names", Partition).
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


def template(values: Values) -> str:
    """Return the template of one tenant in JSON, with its values written out."""
    access, choices = values.access, values.choices
    key = MADE_KEY if values.makes_key else str(access.key)
    parameters: Document = {
        "RoleName": {"Type": "String", "Default": values.role_name},
        "PolicyName": {"Type": "String", "Default": values.policy_name},
    }
    tags = [{"Key": name, "Value": value} for name, value in choices.tags]
    role: Document = {
        "RoleName": {"Ref": "RoleName"},
        **({"Path": values.role_path} if values.role_path != "/" else {}),
        **({"PermissionsBoundary": choices.permissions_boundary} if choices.permissions_boundary else {}),
        "AssumeRolePolicyDocument": values.trust,
        **({"Tags": tags} if tags else {}),
    }
    resources = _role_and_policy(role, values.permissions(key))
    if values.makes_key:
        parameters["KeyAliasName"] = {"Type": "String", "Default": ALIAS}
        resources |= _key(values.statement(ROLE_ARN), tags)
    made = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": " ".join(filter(None, (ABOUT, "" if values.makes_key else STEP_3, values.keeps))),
        "Parameters": parameters,
        "Resources": resources,
        "Outputs": {"RoleArn": {"Value": ROLE_ARN}, "KeyArn": {"Value": key}},
    }
    return json.dumps(made, indent=2)


def hosted_template() -> str:
    """Return the template for CFN_TEMPLATE_URL: the same for every tenant, which comes in by parameters."""
    texts = {
        "ServiceRoleArn": "Our role, which may become yours",
        "ExternalId": "Yours alone; your role refuses us without it",
        "KeyArn": "Your key; leave it empty and a new key is made",
        "RoleName": "Of the new role",
        "RolePath": "Of the new role",
        "PolicyName": "Of the new policy",
        "PermissionsBoundary": "ARN of a managed policy that bounds the role; empty for none",
        "KeyAliasName": "Of a key that is made",
    }
    defaults = {
        "KeyArn": "",
        "RoleName": guide.ROLE_NAME,
        "RolePath": "/",
        "PolicyName": guide.POLICY_NAME,
        "PermissionsBoundary": "",
        "KeyAliasName": ALIAS,
    }
    parameters = {
        name: {"Type": "String", "Description": text} | ({"Default": defaults[name]} if name in defaults else {})
        for name, text in texts.items()
    }
    key: Document = {"Fn::If": ["MakesKey", MADE_KEY, {"Ref": "KeyArn"}]}
    boundary = {"Fn::If": ["IsBounded", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}
    role = {
        "RoleName": {"Ref": "RoleName"},
        "Path": {"Ref": "RolePath"},
        "PermissionsBoundary": boundary,
        "AssumeRolePolicyDocument": guide.trust_policy({"Ref": "ServiceRoleArn"}, {"Ref": "ExternalId"}),
    }
    of_key = _key(guide.key_policy_statement(ROLE_ARN), [])
    made = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"{ABOUT} {STEP_3} A key that is made here has it already.",
        "Parameters": parameters,
        "Conditions": {
            "MakesKey": {"Fn::Equals": [{"Ref": "KeyArn"}, ""]},
            "IsBounded": {"Fn::Not": [{"Fn::Equals": [{"Ref": "PermissionsBoundary"}, ""]}]},
        },
        "Resources": {
            **_role_and_policy(role, guide.permissions_policy(key)),
            **{name: {"Type": each.pop("Type"), "Condition": "MakesKey", **each} for name, each in of_key.items()},
        },
        "Outputs": {"RoleArn": {"Value": ROLE_ARN}, "KeyArn": {"Value": key}},
    }
    return json.dumps(made, indent=2)


def quick_create_link(values: Values, template_url: str, *, region: str = "") -> str:
    """Return the address that opens the console with the hosted template filled in; it carries the External ID.

    CloudFormation guide, "Create quick-create links for stacks"
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-console-create-stacks-quick-create-links.html).

    Args:
        template_url: where `hosted_template` lies in S3.
        region: of the stack; "" lets the console choose, where the key is made.

    Returns:
        "" where a link cannot say it: in another partition than the three with a public console, while two
        registrations share the role or the key, and of narrower actions: the hosted template has the guide's.
    """
    host = CONSOLES.get(values.access.service_role.partition, "")
    is_alone = not values.beside.keys and not values.beside.roles
    if not template_url or not host or not is_alone or values.access.is_narrow:
        return ""
    filled = {
        "ServiceRoleArn": str(values.access.service_role),
        "ExternalId": values.access.external_id,
        "KeyArn": "" if values.makes_key else str(values.access.key),
        "RoleName": values.role_name,
        "RolePath": values.role_path,
        "PolicyName": values.policy_name,
        "PermissionsBoundary": values.choices.permissions_boundary,
    }
    given = {"templateURL": template_url, "stackName": STACK_NAME} | {f"param_{k}": v for k, v in filled.items() if v}
    where = f"?region={region}" if region else ""
    return f"https://{host}/cloudformation/home{where}#/stacks/create/review?{urlencode(given, quote_via=quote)}"


def _role_and_policy(role: Document, permissions: Document) -> Document:
    return {
        "AccessRole": {"Type": "AWS::IAM::Role", "Properties": role},
        "KmsPolicy": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {
                "ManagedPolicyName": {"Ref": "PolicyName"},
                "PolicyDocument": permissions,
                "Roles": [{"Ref": "AccessRole"}],
            },
        },
    }


def _key(statement: Document, tags: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    return {
        "Key": {
            "Type": "AWS::KMS::Key",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "Description": KEY_DESCRIPTION,
                "EnableKeyRotation": True,
                "PendingWindowInDays": PENDING_DAYS,
                "KeyPolicy": guide.whole_key_policy(ROOT, statement),
                **({"Tags": tags} if tags else {}),
            },
        },
        "KeyAlias": {
            "Type": "AWS::KMS::Alias",
            "Properties": {"AliasName": {"Ref": "KeyAliasName"}, "TargetKeyId": {"Ref": "Key"}},
        },
    }
