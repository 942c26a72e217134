"""What the customer pastes: the guide's documents, filled in with the tenant's own values; pure.

The JSON is the guide's to the letter (docs/guide.md, steps 2 and 3); a test compares every block.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from keys.arns import RoleArn

Document = dict[str, Any]


class Values(TypedDict):
    """What the documents that hold several policies are filled in with."""

    service_role_arn: str
    external_id: str
    key_arn: str
    beside: Sequence[str]


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


def permissions_policy(key_arn: str, beside: Sequence[str] = ()) -> Document:
    """Return the permissions policy of the tenant's role (guide, step 2).

    Args:
        beside: other keys that the role has to reach too while one replaces the other.
    """
    resource = [*beside, key_arn] if beside else key_arn
    return {
        "Version": "2012-10-17",
        "Statement": [{"Sid": "AllowKMSActions", "Effect": "Allow", "Action": list(ACTIONS), "Resource": resource}],
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


def cloudformation(*, service_role_arn: str, external_id: str, key_arn: str, beside: Sequence[str] = ()) -> str:
    """Return a template for step 2 in JSON; the key policy statement of step 3 stays in the customer's hands."""
    trust, permissions = trust_policy(service_role_arn, external_id), permissions_policy(key_arn, beside)
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


def terraform(*, service_role_arn: str, external_id: str, key_arn: str, beside: Sequence[str] = ()) -> str:
    """Return the same as Terraform; the policies are the guide's JSON."""
    trust, permissions = (
        render(trust_policy(service_role_arn, external_id)),
        render(permissions_policy(key_arn, beside)),
    )
    return f"""# The IAM role through which Kore.ai uses your KMS key (guide, step 2).
# Add the key policy statement of step 3 to your key yourself.
locals {{
  byok_trust_policy = <<-JSON
{_indented(trust)}
  JSON

  byok_permissions_policy = <<-JSON
{_indented(permissions)}
  JSON
}}

resource "aws_iam_role" "byok" {{
  name               = "{ROLE_NAME}"
  assume_role_policy = local.byok_trust_policy
}}

resource "aws_iam_policy" "byok" {{
  name   = "{POLICY_NAME}"
  policy = local.byok_permissions_policy
}}

resource "aws_iam_role_policy_attachment" "byok" {{
  role       = aws_iam_role.byok.name
  policy_arn = aws_iam_policy.byok.arn
}}

output "role_arn" {{
  value = aws_iam_role.byok.arn
}}
"""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def cli(*, service_role_arn: str, external_id: str, key_arn: str, account: str, beside: Sequence[str] = ()) -> str:
    """Return steps 2 and 3 as a shell script for the AWS CLI."""
    trust, permissions = (
        render(trust_policy(service_role_arn, external_id)),
        render(permissions_policy(key_arn, beside)),
    )
    _, partition, _, region, key_account, _ = key_arn.split(":", 5)
    statement = render(key_policy_statement(f"arn:{partition}:iam::{account}:role/{ROLE_NAME}"))
    where = (
        ""
        if account == key_account
        else f"\n# The key is in account {key_account}: run what follows with credentials of that account."
    )
    return f"""#!/usr/bin/env bash
set -euo pipefail

# Step 2: the role, its trust policy and its permissions policy. Run this in your account {account}.
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

# Step 3: your key policy with one more statement; what it says already stays.{where}
cat > key-policy-statement.json <<'JSON'
{statement}
JSON
aws kms get-key-policy --region {region} --key-id {key_arn} --policy-name default --query Policy --output text > key-policy.json
python3 - <<'PYTHON'
import json
policy, statement = json.load(open("key-policy.json")), json.load(open("key-policy-statement.json"))
others = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
policy["Statement"] = [each for each in others if each.get("Sid") != statement["Sid"]] + [statement]
json.dump(policy, open("key-policy.json", "w"), indent=2)
PYTHON
# AWS needs some seconds to see a new role everywhere: until then it calls the principal invalid.
for attempt in 1 2 3 4 5 6; do
  aws kms put-key-policy --region {region} --key-id {key_arn} --policy-name default --policy file://key-policy.json && break
  [ "$attempt" -lt 6 ] && sleep 10
done
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


def of(
    name: str,
    *,
    service_role_arn: str,
    external_id: str,
    key_arn: str = "",
    role_arn: str = "",
    beside: Sequence[str] = (),
) -> str:
    """Return the raw text of one document of `NAMES`; the ARNs it needs must be there.

    Args:
        beside: as in `permissions_policy`.
    """
    values = Values(service_role_arn=service_role_arn, external_id=external_id, key_arn=key_arn, beside=beside)
    match name:
        case "trust-policy":
            return render(trust_policy(service_role_arn, external_id))
        case "permissions-policy":
            return render(permissions_policy(key_arn, beside))
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
