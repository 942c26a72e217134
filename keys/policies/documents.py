"""What the customer pastes: the guide's documents, filled in with the tenant's own values; pure.

The JSON is the guide's to the letter (docs/guide.md, steps 2 and 3); a test compares every block.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from keys.arns import RoleArn

Document = dict[str, Any]

ACTIONS = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
ROLE_NAME = "AIforWorkByokAccessRole"
POLICY_NAME = "AIforWorkKMSPolicy"


def trust_policy(service_role_arn: str, external_id: str) -> Document:
    """Return the trust policy of the tenant's role (guide, step 2)."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": service_role_arn},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
            }
        ],
    }


def permissions_policy(key_arn: str) -> Document:
    """Return the permissions policy of the tenant's role (guide, step 2)."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "AllowKMSActions", "Effect": "Allow", "Action": list(ACTIONS), "Resource": key_arn}],
    }


def key_policy_statement(role_arn: str) -> Document:
    """Return the statement that the tenant adds to its key policy (guide, step 3)."""
    return {
        "Sid": "AllowYourAppAccess",
        "Effect": "Allow",
        "Principal": {"AWS": role_arn},
        "Action": list(ACTIONS),
        "Resource": "*",
    }


def session_policy(key_arns: Sequence[str]) -> Document:
    """Return the inline policy of our sessions in the tenant's role: exactly these keys and the five patterns (design.md 8)."""
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(ACTIONS), "Resource": list(key_arns)}],
    }


def render(document: Document) -> str:
    """Return a document as the guide prints it: two blanks of indentation, the guide's order."""
    return json.dumps(document, indent=2)


def cloudformation(*, service_role_arn: str, external_id: str, key_arn: str) -> str:
    """Return a template for step 2 in JSON; the key policy statement of step 3 stays in the customer's hands."""
    trust, permissions = trust_policy(service_role_arn, external_id), permissions_policy(key_arn)
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The IAM role through which Kore.ai uses your KMS key (guide, step 2). Add the key policy statement of step 3 yourself.",
        "Parameters": {
            "RoleName": {"Type": "String", "Default": ROLE_NAME},
            "PolicyName": {"Type": "String", "Default": POLICY_NAME},
        },
        "Resources": {
            "AccessRole": {
                "Type": "AWS::IAM::Role",
                "Properties": {"RoleName": {"Ref": "RoleName"}, "AssumeRolePolicyDocument": trust},
            },
            "KmsPolicy": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    "ManagedPolicyName": {"Ref": "PolicyName"},
                    "PolicyDocument": permissions,
                    "Roles": [{"Ref": "AccessRole"}],
                },
            },
        },
        "Outputs": {"RoleArn": {"Value": {"Fn::GetAtt": ["AccessRole", "Arn"]}}},
    }
    return json.dumps(template, indent=2)


def terraform(*, service_role_arn: str, external_id: str, key_arn: str) -> str:
    """Return the same as Terraform; the policies are the guide's JSON."""
    trust, permissions = render(trust_policy(service_role_arn, external_id)), render(permissions_policy(key_arn))
    return f"""# The IAM role through which Kore.ai uses your KMS key (guide, step 2).
# Add the key policy statement of step 3 to your key yourself.
resource "aws_iam_role" "byok" {{
  name               = "{ROLE_NAME}"
  assume_role_policy = <<-JSON
{trust}
  JSON
}}

resource "aws_iam_policy" "byok" {{
  name   = "{POLICY_NAME}"
  policy = <<-JSON
{permissions}
  JSON
}}

resource "aws_iam_role_policy_attachment" "byok" {{
  role       = aws_iam_role.byok.name
  policy_arn = aws_iam_policy.byok.arn
}}

output "role_arn" {{
  value = aws_iam_role.byok.arn
}}
"""


def cli(*, service_role_arn: str, external_id: str, key_arn: str, account: str) -> str:
    """Return the same as AWS CLI commands."""
    trust, permissions = render(trust_policy(service_role_arn, external_id)), render(permissions_policy(key_arn))
    partition = key_arn.split(":")[1]
    return f"""# Step 2: the role, its trust policy and its permissions policy. Run this in your account {account}.
cat > trust-policy.json <<'JSON'
{trust}
JSON
cat > permissions-policy.json <<'JSON'
{permissions}
JSON
aws iam create-role --role-name {ROLE_NAME} --assume-role-policy-document file://trust-policy.json
aws iam create-policy --policy-name {POLICY_NAME} --policy-document file://permissions-policy.json
aws iam attach-role-policy --role-name {ROLE_NAME} --policy-arn arn:{partition}:iam::{account}:policy/{POLICY_NAME}
aws iam get-role --role-name {ROLE_NAME} --query Role.Arn --output text

# Step 3: read your key policy, add the statement of step 3 to it in an editor, put it back.
aws kms get-key-policy --region {key_arn.split(":")[3]} --key-id {key_arn} --policy-name default --query Policy --output text > key-policy.json
aws kms put-key-policy --region {key_arn.split(":")[3]} --key-id {key_arn} --policy-name default --policy file://key-policy.json
"""


# Name in the API and portal → the ARNs it cannot do without.
NAMES: dict[str, tuple[str, ...]] = {
    "trust-policy": (),
    "permissions-policy": ("key_arn",),
    "key-policy-statement": ("role_arn",),
    "cloudformation": ("key_arn",),
    "terraform": ("key_arn",),
    "cli": ("key_arn",),
}


def of(name: str, *, service_role_arn: str, external_id: str, key_arn: str = "", role_arn: str = "") -> str:
    """Return the raw text of one document of `NAMES`; the ARNs it needs must be there."""
    values = {"service_role_arn": service_role_arn, "external_id": external_id, "key_arn": key_arn}
    match name:
        case "trust-policy":
            return render(trust_policy(service_role_arn, external_id))
        case "permissions-policy":
            return render(permissions_policy(key_arn))
        case "key-policy-statement":
            return render(key_policy_statement(role_arn))
        case "cloudformation":
            return cloudformation(**values)
        case "terraform":
            return terraform(**values)
        case "cli":
            account = RoleArn.parse(role_arn).account if role_arn else key_arn.split(":")[4]
            return cli(**values, account=account)
    raise KeyError(name)
